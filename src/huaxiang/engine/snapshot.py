"""A copy of the lake as its manifest has it, taken while no step runs; reading goes on, and a step waits as long as links are made."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from huaxiang.engine.lake import Lake
from huaxiang.errors import ShopError

WAIT_S = 600.0  # for a step that runs; training takes minutes


@contextlib.contextmanager
def held(lake: Lake, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """No step runs within; raises ShopError where one did not end in `wait_s`."""
    lake.folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + wait_s
    with contextlib.ExitStack() as holding:
        while True:
            try:
                holding.enter_context(lake._lock())
                break
            except ShopError as error:
                if error.key != "lake.busy" or time.monotonic() > end:
                    raise
                time.sleep(0.02)
        yield


def copy_lake(lake: Lake, to: Path) -> None:
    """Copies what the manifest names into the folder `to`; within `held`. Data files, which never change, are linked where that can be."""
    named = {path for name in lake.names() for path in lake.files(name)}
    for folder, below, files in os.walk(lake.folder):
        place = Path(folder)
        if place == lake.folder:
            below[:] = [name for name in below if name != "tmp"]
        table = (place / "_delta_log").is_dir()
        for name in files:
            path = place / name
            if name.startswith(".") or (table and name.endswith(".parquet") and path not in named):
                continue
            home = to / path.relative_to(lake.folder)
            home.parent.mkdir(parents=True, exist_ok=True)
            if path in named:
                _link(path, home)
            else:
                shutil.copyfile(path, home)


def lost_files(lake: Lake) -> dict[str, int]:
    """Table → files that its log names and that are gone, or have another size (0: the table itself is gone)."""
    found: dict[str, int] = {}
    for name in lake.names():
        try:
            actions = lake._delta(name, lake.manifest().tables[name].version).get_add_actions(flatten=True)
        except ShopError:
            found[name] = 0
            continue
        folder = lake._folder(name)
        rows = zip(actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist(), strict=True)
        bad = sum(1 for path, size in rows if not _has_size(folder / path, size))
        if bad:
            found[name] = bad
    return found


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _link(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except OSError:  # another file system, or one without links
        shutil.copyfile(path, to)
