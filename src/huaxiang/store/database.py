"""What the live store asks of a database. SQL is written once: `?` for values, `ON CONFLICT` for "or replace"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from huaxiang.errors import StoreError

Row = tuple[Any, ...]


class Writer(Protocol):
    """Inside one transaction: all of it happens, or nothing."""

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Gives the rows changed."""

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """The same statement for many rows; gives the rows changed."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]: ...

    def insert(self, sql: str, values: Sequence[Any]) -> int:
        """Inserts one row into a table with a serial `id`, and gives that id. sql: ends before RETURNING"""


class Database(Protocol):
    """One database. May be used from several threads; a transaction belongs to the thread that opened it."""

    @property
    def kind(self) -> Literal["sqlite", "postgres"]: ...

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a SELECT finds, outside of any transaction; raises StoreError where the database is away or damaged."""

    def transaction(self) -> AbstractContextManager[Writer]:
        """A transaction that holds the write lock from its start, durable when it ends; raises StoreError."""

    def lead(self, part: int) -> bool:
        """Whether this thread is the one that does `part`, of all threads and processes on this database that ask; it stays so until its
        connection ends. A SQLite file has one process, and one thread that asks."""

    def let_lead(self, part: int) -> None:
        """Lets another do `part`, which this thread did."""

    def close(self) -> None: ...


def open_database(where: str | Path, *, durable: bool = True) -> Database:
    """The database at a path (SQLite) or a postgresql:// URL.

    durable: whether a transaction that has ended survives a power cut (SQLite without: the last ones may be undone, in order)
    raises: StoreError where it cannot be opened, or the package psycopg is missing
    """
    text = str(where)
    if text.startswith(("postgresql://", "postgres://")):
        from huaxiang.store.postgres import Postgres

        return Postgres(text)
    if "://" in text:
        raise StoreError("store.unknown_url", scheme=text.partition("://")[0])
    from huaxiang.store.sqlite import Sqlite

    return Sqlite(Path(text), durable=durable)
