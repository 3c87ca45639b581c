"""One SQLite file: readers never wait, writers wait for one another."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from huaxiang.errors import StoreError
from huaxiang.store.database import Row

WAIT_S = 30.0
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_sqlite(path: Path) -> bool:
    """Whether the file says that it is a SQLite database."""
    with path.open("rb") as content:
        return content.read(16) == b"SQLite format 3\0"


def copy_sqlite(path: Path, to: Path) -> None:
    """Writes a copy of the database at `path` as it is at one moment, while others write on; raises StoreError where it is damaged."""
    to.touch(mode=0o600)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=WAIT_S)) as source, contextlib.closing(sqlite3.connect(to)) as copy:  # fmt: skip
            source.backup(copy)
    except sqlite3.OperationalError as error:
        raise StoreError("store.unreachable", path=path, detail=error) from error
    except sqlite3.DatabaseError as error:
        raise StoreError("store.damaged", path=path) from error


class _Writer:
    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._file.execute(sql, values).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        return self._file.executemany(sql, rows).rowcount

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._file.execute(sql, values).fetchall()

    def insert(self, sql: str, values: Sequence[Any]) -> int:
        return int(self._file.execute(sql, values).lastrowid or 0)


class Sqlite:
    """The file at `path`, made (owner-only) where it is absent."""

    kind: Literal["sqlite"] = "sqlite"

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._durable = durable
        self._here = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._guard, self._writing = threading.Lock(), threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with self._told():
            self._connection().execute("SELECT count(*) FROM sqlite_master").fetchone()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with self._told():
            return self._connection().execute(sql, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[_Writer]:
        with self._told(), self._writing:
            file = self._connection()
            file.execute("BEGIN IMMEDIATE")
            try:
                yield _Writer(file)
                file.execute("COMMIT")
            except BaseException:
                if file.in_transaction:  # a full disk has rolled it back by itself
                    file.execute("ROLLBACK")
                raise

    def lead(self, part: int) -> bool:
        return True

    def let_lead(self, part: int) -> None:
        pass

    def close(self) -> None:
        with self._guard:
            for file in self._open:
                file.close()
            self._open.clear()
            self._here = threading.local()

    def _connection(self) -> sqlite3.Connection:
        """This thread's own."""
        found: sqlite3.Connection | None = getattr(self._here, "file", None)
        if found is None:
            found = sqlite3.connect(self.path, isolation_level=None, timeout=WAIT_S, check_same_thread=False)
            found.execute("PRAGMA journal_mode = WAL")
            found.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            found.execute("PRAGMA cache_size = -65536")  # KiB
            found.execute("PRAGMA wal_autocheckpoint = 8000")  # pages, 32 MB: a checkpoint waits for the disk
            self._here.file = found
            with self._guard:
                self._open.append(found)
        return found

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as ours: what happened, and the mend."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_FULL:
                raise StoreError("store.full", path=self.path.parent) from error
            if code in _DAMAGED:
                raise StoreError("store.damaged", path=self.path) from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StoreError("store.busy", path=self.path, seconds=int(WAIT_S)) from error
            if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise StoreError("store.unreachable", path=self.path, detail=error) from error
            raise
