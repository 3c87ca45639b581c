"""One PostgreSQL database, by psycopg."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from huaxiang.errors import StoreError
from huaxiang.store.database import Row

if TYPE_CHECKING:
    import psycopg


class _Writer:
    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(_marks(sql), values).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        with self._connection.cursor() as cursor:
            cursor.executemany(_marks(sql), list(rows))
            return cursor.rowcount

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(_marks(sql), values).fetchall()

    def insert(self, sql: str, values: Sequence[Any]) -> int:
        return int(self._connection.execute(_marks(f"{sql} RETURNING id"), values).fetchone()[0])  # type: ignore[index]


class Postgres:
    """The database at `url`. A connection that broke is made anew for the next call; what was in flight is told as lost."""

    kind: Literal["postgres"] = "postgres"

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise StoreError("store.no_psycopg") from error
        self._psycopg = psycopg
        self._url = url
        self._here = threading.local()
        self._open: list[psycopg.Connection[Row]] = []
        self._guard = threading.Lock()
        self.rows("SELECT 1")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with self._told():
            connection = self._connection()
            try:
                return connection.execute(_marks(sql), values).fetchall()
            except (self._psycopg.OperationalError, self._psycopg.InterfaceError):
                if not connection.broken:
                    raise
            # The server was restarted since this thread last asked: nothing was in flight, so a new connection answers.
            return self._connection().execute(_marks(sql), values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[_Writer]:
        with self._told():
            connection = self._connection()
            with connection.transaction():
                yield _Writer(connection)

    def lead(self, part: int) -> bool:
        with self._told():
            connection = self._connection()
            if getattr(self._here, "leads", None) == (connection, part):
                connection.execute("SELECT 1")  # it may be gone, and the lock with it
                return True
            found = connection.execute("SELECT pg_try_advisory_lock(%s)", (part,)).fetchone()
            if found is not None and found[0]:
                self._here.leads = (connection, part)
                return True
            return False

    def let_lead(self, part: int) -> None:
        if getattr(self._here, "leads", None) is not None:
            self._here.leads = None
            with self._told():
                self._connection().execute("SELECT pg_advisory_unlock(%s)", (part,))

    def close(self) -> None:
        with self._guard:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._here = threading.local()

    def _connection(self) -> psycopg.Connection[Row]:
        """This thread's own, made anew where the last one broke."""
        found: psycopg.Connection[Row] | None = getattr(self._here, "connection", None)
        if found is None or found.closed or found.broken:
            found = self._psycopg.connect(self._url, autocommit=True, connect_timeout=10)
            self._here.connection = found
            with self._guard:
                self._open = [one for one in self._open if not one.closed] + [found]
        return found

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.errors.DiskFull as error:
            raise StoreError("store.full", path="PostgreSQL") from error
        except (self._psycopg.OperationalError, self._psycopg.InterfaceError) as error:
            raise StoreError("store.away", kind=type(error).__name__) from error


@lru_cache(maxsize=1024)
def _marks(sql: str) -> str:
    """psycopg's marks for values; our SQL holds neither `?` nor `%` otherwise."""
    return sql.replace("?", "%s")
