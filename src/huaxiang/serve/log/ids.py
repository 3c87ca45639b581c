"""Which message ids were met lately: exact to 126 bits and more, in memory that a day of them does not fill.

The newest ids are a set; when it is large it becomes a sorted run on disk, read by memory mapping; eight runs of one size are merged into
one. A look-up of a request's ids is one binary search a run, of all ids at once. The runs are only an index: ids stand in the log
too, and what a crash left out of the runs is read from there.

source: O'Neil et al. 1996 (log-structured merge tree); differs: no deletes, whole runs expire
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

DIGEST = 16  # bytes
RUN = 1 << 18  # ids of the smallest run
FAN = 8  # runs of one size that are merged


@dataclass(frozen=True)
class Run:
    """ids: (2, n) uint64, the two halves of each id, by the first; upto: the last offset of the log that it covers; newest: µs of its newest id"""

    path: Path
    ids: NDArray[Any]
    first: int
    upto: int
    newest: int


class Ids:
    """The ids in `folder` (made where it is absent). Used by one thread."""

    def __init__(self, folder: Path, *, run: int = RUN) -> None:
        self._folder, self._run = folder, run
        folder.mkdir(parents=True, exist_ok=True)
        self._fresh: set[bytes] = set()
        self._first = 0  # the offset from which on ids are in `_fresh`
        self._runs = self._open_runs()
        self._newest = max((run.newest for run in self._runs), default=0)  # a clock that falls back makes no id old

    @property
    def upto(self) -> int:
        """The offset of the log up to which the runs know every id."""
        return max((run.upto for run in self._runs), default=0)

    def __len__(self) -> int:
        return len(self._fresh) + sum(run.ids.shape[1] for run in self._runs)

    def find(self, ids: Sequence[bytes]) -> set[int]:
        """The places in `ids` of those met before."""
        fresh = self._fresh
        found = {place for place, one in enumerate(ids) if one in fresh}
        if self._runs and ids:
            keys = _halves(ids)
            for run in self._runs:
                found.update(_search(run.ids, keys))
        return found

    def add(self, ids: Iterable[bytes], *, offset: int, at: int) -> None:
        """Remembers the ids that the log keeps at `offset`. at: µs since 1970"""
        if not self._fresh:
            self._first = offset
        self._fresh.update(ids)
        self._newest = max(self._newest, at)
        if len(self._fresh) >= self._run:
            try:
                self._seal(offset)
            except OSError as error:  # the log has them; they stay in memory until the disk has room
                log.warning("the index of message ids could not be written: %s", error)

    def clear(self) -> None:
        """Forgets everything: the index is of another log."""
        for run in self._runs:
            run.path.unlink(missing_ok=True)
        self._runs, self._fresh = [], set()

    def forget(self, before: int) -> int:
        """Lets go of runs whose every id is older than `before` (µs); gives the ids let go."""
        old = [run for run in self._runs if run.newest < before and run.upto < self.upto]
        self._runs = [run for run in self._runs if run not in old]
        for run in old:
            run.path.unlink(missing_ok=True)
        return sum(run.ids.shape[1] for run in old)

    def _open_runs(self) -> list[Run]:
        """Those on disk; none, and none left there, where one is damaged: the log brings all of them back."""
        paths = list(self._folder.glob("*.ids"))
        try:
            return _covering([_open_run(path) for path in paths])
        except (ValueError, EOFError) as error:
            log.warning("the index of message ids is damaged (%s); it is made anew from the log", type(error).__name__)
            for path in paths:
                path.unlink(missing_ok=True)
            return []

    def _seal(self, offset: int) -> None:
        self._runs.append(self._write(_halves(self._fresh), self._first, offset, self._newest))
        self._fresh = set()
        while merged := self._alike():
            both = np.concatenate([run.ids for run in merged], axis=1)
            first, upto = min(run.first for run in merged), max(run.upto for run in merged)
            made = self._write(both, first, upto, max(run.newest for run in merged))
            self._runs = [run for run in self._runs if run not in merged] + [made]
            for run in merged:
                run.path.unlink(missing_ok=True)

    def _alike(self) -> list[Run]:
        """The newest runs of one size, where there are enough to merge."""
        sizes: dict[int, list[Run]] = {}
        for run in self._runs:
            sizes.setdefault(int(np.log(run.ids.shape[1] / self._run * 1.5) / np.log(FAN)), []).append(run)
        return next((runs for _, runs in sorted(sizes.items()) if len(runs) >= FAN), [])

    def _write(self, ids: NDArray[Any], first: int, upto: int, newest: int) -> Run:
        ids = ids[:, np.argsort(ids[0], kind="stable")]
        path = self._folder / f"{first}-{upto}-{newest}.ids"
        beside = path.with_suffix(".new")
        with beside.open("wb") as out:
            np.save(out, ids, allow_pickle=False)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
        return _open_run(path)


def hash_id(source: str, number: str | int) -> bytes:
    """What a message is known by: a hash of its source and id."""
    return hashlib.blake2b(f"{source}\0{number}".encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()


def _halves(ids: Iterable[bytes]) -> NDArray[Any]:
    """(2, n) uint64"""
    return np.frombuffer(b"".join(ids), dtype=">u8").reshape(-1, 2).T.astype(np.uint64)


def _search(ids: NDArray[Any], keys: NDArray[Any]) -> list[int]:
    """The columns of `keys` that stand in `ids`."""
    first, second = ids
    places = np.searchsorted(first, keys[0])
    hits = np.flatnonzero(first[np.minimum(places, len(first) - 1)] == keys[0])
    found = []
    for column in hits.tolist():  # few
        place = int(places[column])
        while place < len(first) and first[place] == keys[0, column]:
            if second[place] == keys[1, column]:
                found.append(column)
                break
            place += 1
    return found


def _open_run(path: Path) -> Run:
    first, upto, newest = (int(part) for part in path.stem.split("-"))
    return Run(path, np.load(path, mmap_mode="r", allow_pickle=False), first, upto, newest)


def _covering(runs: Iterable[Run]) -> list[Run]:
    """Without runs that another covers: a crash between a merge and the deletion of its parts leaves both."""
    kept: list[Run] = []
    for run in sorted(runs, key=lambda one: (one.first, -one.upto)):
        if any(other.first <= run.first and run.upto <= other.upto for other in kept):
            run.path.unlink(missing_ok=True)
        else:
            kept.append(run)
    return kept
