"""Files that arrive in a folder. A file is taken when neither size nor time changed between two looks; it stays where it is.

What is done is known by name, size, time and content: the same content under another name is not read again, and of a text file that has
grown only what was added. Any other change makes it a new file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huaxiang.engine import Engine
from huaxiang.errors import ShopError
from huaxiang.serve.pull.positions import Position
from huaxiang.serve.pull.reading import FileError, kind_of, read_rows
from huaxiang.serve.pull.sender import BYTES, ROWS, Row, Sender
from huaxiang.serve.wire.message import Refused, encode
from huaxiang.settings import PullSettings

GROWS = (".csv", ".tsv", ".jsonl")  # not when packed


@dataclass(frozen=True)
class Seen:
    """A file as a look found it."""

    size: int
    at: int  # its time, ns


class Folder:
    """One folder. engine: of this thread; ended: whether the process is about to end"""

    def __init__(
        self, settings: PullSettings, shop: Path, engine: Engine, sender: Sender, ended: Callable[[], bool]
    ) -> None:
        self._folder = shop / settings.path
        self._encoding = settings.encoding
        self._every_s = settings.every_s
        self._engine, self._sender, self._ended = engine, sender, ended
        self._before: dict[str, Seen] = {}
        self._denied: set[str] = set()
        engine.run("SET threads = 1")
        engine.run("SET preserve_insertion_order = true")  # a file is gone on with at a row

    def step(self) -> float:
        """Reads what is whole and new; gives the seconds to rest."""
        if not self._folder.is_dir():
            raise ShopError("serve.pull_no_folder", folder=self._folder)
        positions, found = self._sender.positions(), self._look()
        waiting = [name for name, seen in found.items() if _is_new(seen, positions.get(name))]
        self._sender.counts.behind = len(waiting)
        for name in waiting:
            if self._before.get(name) == found[name] and not self._ended():
                self._take(self._folder / name, found[name], positions)
                self._sender.counts.behind -= 1
        self._before = found
        return self._every_s

    def _look(self) -> dict[str, Seen]:
        """The files that may be read. One that may not is named in the quarantine, and taken once it may."""
        found: dict[str, Seen] = {}
        for path in sorted(self._folder.iterdir()):
            if not kind_of(path) or not path.is_file():
                continue
            if os.access(path, os.R_OK):
                self._denied.discard(path.name)
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    found[path.name] = _seen(path)
            elif path.name not in self._denied:
                self._denied.add(path.name)
                self._sender.send([], {}, failed=Refused(0, "denied", encode({"file": path.name}), "file"))
        return found

    def reset(self) -> None:
        pass  # positions are read at each step

    def close(self) -> None:
        self._engine.close()

    def _take(self, path: Path, seen: Seen, positions: dict[str, Position]) -> None:
        before = positions.get(path.name)
        digest, prefix = _hash(path, before["size"] if before else 0)
        if digest in {one["hash"] for name, one in positions.items() if one["state"] == "done" and name != path.name}:
            start: Position = {"first": digest, "rows": 0, "state": "done"}  # a copy
        elif before and digest == before["hash"]:
            start = {key: before[key] for key in ("first", "rows", "state")}
        elif before and prefix == before["hash"] and _may_grow(path, before):
            start = {"first": before["first"], "rows": before["rows"], "state": "reading"}
        else:
            start = {"first": digest, "rows": 0, "state": "reading"}
        position = {"size": seen.size, "at": seen.at, "hash": digest, "ended": _ends_with_newline(path)} | start
        positions[path.name] = position
        if position["state"] != "reading":
            self._sender.send([], {path.name: position})
            return
        self._read(path, position)
        positions[path.name] = position

    def _read(self, path: Path, position: Position) -> None:
        rows: list[Row] = []
        size, failed = 0, None
        try:
            for content, fault in read_rows(path, self._engine, self._encoding, after=position["rows"]):
                rows.append(Row(f"{position['first'][:32]}-{position['rows'] + len(rows)}", content, fault))
                size += len(content) if isinstance(content, bytes) else 40 * len(content)
                if len(rows) >= ROWS or size >= BYTES:
                    position["rows"] += len(rows)
                    self._sender.send(rows, {path.name: position})
                    rows, size = [], 0
                    if self._ended():
                        return  # the rest comes at the next start
            position["state"] = "done"
        except FileError as error:
            position["state"] = "failed"
            said = encode({"file": path.name, "reason": error.reason, "rows_read": position["rows"] + len(rows)})
            failed = Refused(0, error.reason, said, "file")
        position["rows"] += len(rows)
        self._sender.send(rows, {path.name: position}, failed=failed)


def _seen(path: Path) -> Seen:
    found = path.stat()
    return Seen(found.st_size, found.st_mtime_ns)


def _is_new(seen: Seen, position: Position | None) -> bool:
    return (
        position is None or position["state"] == "reading" or (seen.size, seen.at) != (position["size"], position["at"])
    )


def _may_grow(path: Path, before: Position) -> bool:
    """Whether what was read of a file is whole rows, so that what was added begins with one."""
    whole = before["state"] == "reading" or (before["state"] == "done" and before["ended"])
    return kind_of(path) in GROWS and not path.name.lower().endswith(".gz") and whole


def _hash(path: Path, first: int) -> tuple[str, str]:
    """SHA-256 of the file, and of its first `first` bytes."""
    whole, prefix = hashlib.sha256(), ""
    with path.open("rb") as content:
        left = first
        while part := content.read(min(1 << 20, left) if left > 0 else 1 << 20):
            whole.update(part)
            left -= len(part)
            if first and left == 0:
                prefix = whole.copy().hexdigest()
    return whole.hexdigest(), prefix


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as content:
        content.seek(max(0, path.stat().st_size - 1))
        return content.read(1) == b"\n"
