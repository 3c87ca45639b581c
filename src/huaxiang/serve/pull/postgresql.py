"""Rows of a PostgreSQL table (or SELECT) by a column that rises with what is new.

Rows become visible when their transaction ends, not in the order of their numbers: one that took number 5 may end after number 6 was
read. So each look begins `settle_s` back, at what was the highest cursor then; what it has met since it skips.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from huaxiang.collect.databases import address_of, expand
from huaxiang.errors import SourceError, StoreError
from huaxiang.serve.pull.sender import ROWS, Row, Sender
from huaxiang.settings import PullSettings

if TYPE_CHECKING:
    import psycopg

AGAIN_S = (
    72_000  # within the day for which the log knows ids at least; after a longer rest it goes on at the highest cursor
)
CURSOR, KEY, ABOVE = "huaxiang_cursor", "huaxiang_key", "huaxiang_above"
OURS = (CURSOR, KEY, ABOVE)


class Mark(NamedTuple):
    """A cursor and its key as PostgreSQL writes them, so that any type that has an order will do."""

    cursor: str
    key: str


class Postgresql:
    """One table. ended: whether the process is about to end"""

    def __init__(
        self, settings: PullSettings, environ: Mapping[str, str], sender: Sender, ended: Callable[[], bool]
    ) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise StoreError("store.no_psycopg") from error
        self._psycopg = psycopg
        self._settings, self._sender, self._ended = settings, sender, ended
        self._url = expand(settings.url, environ, sender.name)
        self._connection: psycopg.Connection[Any] | None = None
        self._types: tuple[str, str] | None = None
        self._settled: Mark | None = None  # below it nothing new becomes visible any more
        self._highest: Mark | None = None
        self._met: set[int] = set()  # hashes of the rows above the settled mark
        self._marks: deque[tuple[float, Mark, list[int]]] = (
            deque()
        )  # when a mark was the highest, and the rows met until then
        self._loaded = False

    def step(self) -> float:
        """Reads all that is new; gives the seconds to rest."""
        try:
            self._load()
            self._settle()
            at, more = self._settled, True
            while more and not self._ended():
                rows = self._read(at)
                if rows:
                    at = Mark(rows[-1][CURSOR], rows[-1][KEY])
                    self._send(rows, at)
                more = len(rows) == ROWS
                self._sender.counts.behind = None if more else 0
        except (self._psycopg.Error, OSError) as error:
            state = getattr(error, "sqlstate", None)
            raise SourceError(
                "serve.pull_database",
                name=self._sender.name,
                address=address_of(self._settings.url),
                detail=type(error).__name__ + (f" {state}" if state else ""),
            ) from None  # its own text may hold values of the rows
        return self._settings.every_s

    def reset(self) -> None:
        """Begins at the stored position again."""
        self._loaded = False
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _load(self) -> None:
        if self._loaded:
            return
        self._met.clear()
        self._marks.clear()
        self._settled = self._highest = None
        if position := self._sender.positions().get(""):
            self._highest = Mark(*position["highest"])
            rested = time.time() - position["at"]
            settled = position["settled"]
            self._settled = self._highest if rested > AGAIN_S else Mark(*settled) if settled else None
            self._marks.append((time.monotonic(), self._highest, []))
        self._loaded = True

    def _settle(self) -> None:
        """Moves the settled mark on to where the highest one stood `settle_s` ago."""
        before = time.monotonic() - self._settings.settle_s
        while self._marks and self._marks[0][0] <= before:
            _, self._settled, met = self._marks.popleft()
            self._met.difference_update(met)

    def _read(self, after: Mark | None) -> list[dict[str, Any]]:
        from psycopg import sql
        from psycopg.rows import dict_row

        settings, connection = self._settings, self._connected()
        cursor = sql.Identifier(settings.cursor)
        key = sql.Identifier(settings.key) if settings.key else sql.SQL("''::text")
        source = sql.SQL("({})").format(sql.SQL(settings.query.rstrip().rstrip(";").replace("%", "%%"))) if settings.query else sql.Identifier(*settings.table.split("."))  # fmt: skip
        cursor_type, key_type = self._types = self._types or self._look_up_types(connection, cursor, key, source)
        mark = sql.SQL("(%s::{}, %s::{})").format(sql.SQL(cursor_type), sql.SQL(key_type))
        above = sql.SQL("({}, {}) > {}").format(cursor, key, mark) if self._highest else sql.SQL("true")
        where = (
            sql.SQL("({}, {}) > {}").format(cursor, key, mark) if after else sql.SQL("{} IS NOT NULL").format(cursor)
        )
        asked = sql.SQL(
            "SELECT source.*, {0}::text AS {3}, {1}::text AS {4}, {6} AS {5} FROM {2} AS source WHERE {7} ORDER BY {0}, {1} LIMIT {8}"
        ).format(cursor, key, source, *map(sql.Identifier, OURS), above, where, sql.Literal(ROWS))
        with connection.cursor(row_factory=dict_row) as found:
            return found.execute(asked, (*(self._highest or ()), *(after or ()))).fetchall()

    @staticmethod
    def _look_up_types(connection: psycopg.Connection[Any], *parts: Any) -> tuple[str, str]:
        """The types of cursor and key, as SQL names them."""
        from psycopg import sql

        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT {}, {} FROM {} AS source LIMIT 0").format(*parts), ())
            oids = [column.type_code for column in cursor.description or ()]
            names = [cursor.execute("SELECT format_type(%s::oid, NULL)", (oid,)).fetchall()[0][0] for oid in oids]
        return str(names[0]), str(names[1])

    def _send(self, rows: list[dict[str, Any]], at: Mark) -> None:
        hashes = [hash((row[CURSOR], row[KEY])) for row in rows]
        fresh = [(row, one) for row, one in zip(rows, hashes, strict=True) if one not in self._met]
        if not fresh:
            return
        highest = at if self._highest is None or rows[-1][ABOVE] else self._highest
        place = self._settings.table or "query"
        made = [
            Row(
                f"{place}-{row[CURSOR]}-{row[KEY]}"[:500],
                {name: value for name, value in row.items() if name not in OURS},
            )
            for row, _ in fresh
        ]
        self._sender.send(made, {"": {"settled": self._settled, "highest": highest, "at": time.time()}})
        self._highest = highest
        self._met.update(one for _, one in fresh)
        self._marks.append((time.monotonic(), highest, [one for _, one in fresh]))

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = self._psycopg.connect(
                self._url, autocommit=True, connect_timeout=10, application_name="huaxiang"
            )
            for name, value in _SESSION.items():
                self._connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        return self._connection


_SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "statement_timeout": "120s",
    "default_transaction_read_only": "on",
}
