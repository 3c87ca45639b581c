"""Who remembers the ids met: the process that alone writes a SQLite file (an index beside it), or the PostgreSQL that many write to.

Both answer for ids of one transaction before it ends, and forget what a transaction that failed had brought.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from huaxiang.errors import StoreError
from huaxiang.serve.log.ids import DIGEST, Ids
from huaxiang.store import Database, Migration, Writer, migrate

AT_ONCE = 5_000  # requests of one read at the start
MOST = 20_000  # ids that PostgreSQL deletes at a time: what waits to be written waits no longer for it
PART = "met"
# PostgreSQL alone: the second statement brings in the ids of requests that an earlier version wrote.
MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE met (id {blob} PRIMARY KEY, at {integer} NOT NULL)",
            "INSERT INTO met SELECT substring(ids FROM place * 16 + 1 FOR 16), max(received_at) FROM request, "
            "generate_series(0, length(ids) / 16 - 1) AS place GROUP BY 1",
            "CREATE INDEX met_at ON met USING brin (at)",  # ids come in the order of their times
        ),
    ),
)


class Met(Protocol):
    def find(self, write: Writer, ids: Sequence[bytes], at: int) -> set[int]:
        """The places in `ids` (none twice) of those met before. at: µs since 1970"""

    def add(self, ids: Sequence[bytes], *, offset: int, at: int) -> None:
        """Called once the transaction that keeps them has ended well."""

    def forget(self, before: int) -> int:
        """Lets go of ids that came before (µs); gives how many (MOST or more: perhaps not all)."""


class NotMet:
    """Of a log that is only read."""

    def find(self, write: Writer, ids: Sequence[bytes], at: int) -> set[int]:
        raise StoreError("serve.only_read")

    def add(self, ids: Sequence[bytes], *, offset: int, at: int) -> None:
        raise StoreError("serve.only_read")

    def forget(self, before: int) -> int:
        return 0


class MetOnDisk:
    """The index of ids in `folder`, brought up to what the log has. keep_us: how long ids are remembered"""

    def __init__(self, database: Database, folder: Path, run: int, keep_us: int) -> None:
        self._database = database
        self._ids = Ids(folder, run=run)
        self._catch_up(time.time_ns() // 1000 - keep_us)

    def find(self, write: Writer, ids: Sequence[bytes], at: int) -> set[int]:
        return self._ids.find(ids)

    def add(self, ids: Sequence[bytes], *, offset: int, at: int) -> None:
        self._ids.add(ids, offset=offset, at=at)

    def forget(self, before: int) -> int:
        return self._ids.forget(before)

    def _catch_up(self, since: int) -> None:
        """The ids that the index does not know yet, from the first request on that came after `since` (µs).

        By offsets, not by each request's own time: those that came while the clock had fallen back are as new as their neighbours.
        """
        ask = self._database.rows
        if self._ids.upto > int(
            ask("SELECT coalesce(max(id), 0) FROM request")[0][0]
        ):  # another database took its place
            self._ids.clear()
        first = ask("SELECT coalesce(min(id), 0) FROM request WHERE received_at >= ?", (since,))[0][0]
        after = max(self._ids.upto, int(first) - 1) if first else None
        while after is not None:
            sql = "SELECT id, received_at, ids FROM request WHERE id > ? ORDER BY id LIMIT ?"
            found = ask(sql, (after, AT_ONCE))
            for offset, received, packed in found:
                packed = bytes(packed)
                ids = [packed[start : start + DIGEST] for start in range(0, len(packed), DIGEST)]
                self._ids.add(ids, offset=offset, at=received)
            after = found[-1][0] if len(found) == AT_ONCE else None


class MetTogether:
    """A table of the PostgreSQL that several collectors write to; an id stands in it as soon as its request does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        migrate(database, PART, MIGRATIONS)
        self._newest = int(database.rows("SELECT coalesce(max(at), 0) FROM met")[0][0])

    def find(self, write: Writer, ids: Sequence[bytes], at: int) -> set[int]:
        if not ids:
            return set()
        self._newest = max(self._newest, at)  # a clock that falls back makes no id old
        # Asked, then kept, as one value each: nobody writes in between (Log.append holds a lock), and little goes over the wire.
        all_of = "SELECT substring(?::bytea FROM place * 16 + 1 FOR 16) AS id FROM generate_series(0, ?) AS place"
        sql = f"SELECT met.id FROM met JOIN ({all_of}) AS asked ON met.id = asked.id"
        known = {bytes(one) for (one,) in write.rows(sql, (b"".join(ids), len(ids) - 1))}
        new = [one for one in ids if one not in known]
        if new:
            write.run(
                f"INSERT INTO met SELECT id, ? FROM ({all_of}) AS new", (self._newest, b"".join(new), len(new) - 1)
            )
        return {place for place, one in enumerate(ids) if one in known} if known else set()

    def add(self, ids: Sequence[bytes], *, offset: int, at: int) -> None:
        pass  # `find` has kept them

    def forget(self, before: int) -> int:
        with self._database.transaction() as write:
            sql = "DELETE FROM met WHERE id IN (SELECT id FROM met WHERE at < ? LIMIT ?)"
            return write.run(sql, (before, MOST))
