"""A shop's backup, taken while it lives, and brought back.

What is taken first may be older than what is taken last, never newer: the states before the log that they are folded from, so that
the restored shop folds on where its states are; personal values after the states that point to them.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from huaxiang import __version__
from huaxiang.collect.databases import address_of
from huaxiang.engine.snapshot import copy_lake, held
from huaxiang.errors import ShopError
from huaxiang.serve.archive import Contents, read_archive, write_archive
from huaxiang.shop import SETTINGS, Shop
from huaxiang.store import copy_sqlite, is_sqlite

LEFT = (".lock", "-wal", "-shm", "-journal", ".ids", ".new", ".tmp")  # what a start makes anew


@dataclass(frozen=True)
class Backup:
    """contents: of the archive; elsewhere: the live store, where it does not lie in the shop's folder and must be saved by its own means"""

    contents: Contents
    elsewhere: str


def back_up(shop: Shop, out: Path, *, keys: bool = True) -> Backup:
    """Writes all that the shop needs to live into `out`, which only its owner may read; servers and steps may run meanwhile.

    keys: with the keys, without which neither the vault nor the log can be opened
    raises: ShopError, StoreError
    """
    folder = shop.folder
    copy = folder / f".backup-{os.getpid()}"
    for left in folder.glob(".backup-*"):  # of a backup that was killed
        if left == copy or not Path(f"/proc/{left.name.removeprefix('.backup-')}").exists():
            shutil.rmtree(left, ignore_errors=True)
    copy.mkdir(mode=0o700)
    try:
        where = shop.settings.live.store
        store = None if "://" in where else (folder / where).resolve()
        inside = store is not None and store.is_relative_to(folder.resolve() / "live")
        _copy_databases(folder, copy, but={store, folder.resolve() / "vault.db"})
        with held(shop.lake):
            copy_lake(shop.lake, copy / "lake")
            for part in ("models", "reports"):
                _copy_files(folder / part, copy / part)
        _copy_one(folder / "vault.db", copy / "vault.db")
        if store is not None and inside:
            _copy_one(store, copy / store.relative_to(folder.resolve()))
        _copy_files(folder / "live", copy / "live")
        _copy_one(folder / SETTINGS, copy / SETTINGS)
        if keys:
            _copy_files(folder / "keys", copy / "keys")
        contents = write_archive(copy, out, version=__version__, keys=keys)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return Backup(contents, "" if inside else address_of(where) if "://" in where else str(store))


def restore(file: Path, folder: Path) -> Contents:
    """Brings a backup back into `folder`, which must be empty or absent: all of it is there at once, or nothing; raises ShopError."""
    if not file.is_file():
        raise ShopError("serve.no_backup", path=file)
    folder = folder.expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ShopError("serve.restore_not_empty", folder=folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.restore-{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    try:
        contents = read_archive(file, beside)
        if (beside / "keys").is_dir():
            (beside / "keys").chmod(0o700)
        beside.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return contents


def _copy_databases(folder: Path, copy: Path, *, but: set[Path | None]) -> None:
    """The SQLite files beside the lake but for the last two: above all the states."""
    for path in (folder / "live.db", *(folder / "live").glob("**/*.db")):
        if path.resolve() not in but:
            _copy_one(path, copy / path.relative_to(folder))


def _copy_files(folder: Path, to: Path) -> None:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        home = to / path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and not path.name.endswith(LEFT) and not home.exists():
            _copy_one(path, home)


def _copy_one(path: Path, to: Path) -> None:
    if not path.is_file():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    if is_sqlite(path):
        copy_sqlite(path, to)
    else:
        shutil.copyfile(path, to)
