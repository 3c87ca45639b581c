"""How far each pull has come, in the live store, sealed (a cursor may be a customer's number); and which process may pull.

A SQLite store has one server. Of several on one PostgreSQL, the one that holds the lease pulls; one that was away for so long that
another took over finds it out in its next transaction, which then changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from huaxiang.errors import StoreError
from huaxiang.serve.log.seal import Seal
from huaxiang.store import Database, Migration, Writer, migrate

PART = "pull"
LEASE_S = 30
MIGRATIONS = (
    Migration(
        1,
        (
            # part: a file, a partition; content: sealed JSON
            "CREATE TABLE pull_position (pull TEXT NOT NULL, part TEXT NOT NULL, content {blob} NOT NULL, at {integer} NOT NULL, PRIMARY KEY (pull, part)){by_key}",
            "CREATE TABLE pull_lease (pull TEXT PRIMARY KEY, holder TEXT NOT NULL, until {integer} NOT NULL){by_key}",
            # What doctor reads: the last error of each pull, as a key and values of words/ ("": none since it went well).
            "CREATE TABLE pull_state (pull TEXT PRIMARY KEY, error TEXT NOT NULL, at {integer} NOT NULL){by_key}",
        ),
    ),
)
Position = dict[str, Any]


class Positions:
    """Those of all pulls of one process."""

    def __init__(self, database: Database, seal: Seal) -> None:
        migrate(database, PART, MIGRATIONS)
        self._database, self._seal = database, seal
        self._holder = secrets.token_hex(8)

    def of(self, pull: str) -> dict[str, Position]:
        """part → position."""
        found = self._database.rows("SELECT part, content FROM pull_position WHERE pull = ?", (pull,))
        return {part: msgspec.json.decode(self._seal.open(content)) for part, content in found}

    def write(self, write: Writer, pull: str, positions: Mapping[str, Position], now: int) -> None:
        """Inside the transaction that writes what was pulled; raises StoreError where another process pulls now. now: µs since 1970"""
        if self._database.kind == "postgres" and not write.run(
            "UPDATE pull_lease SET until = ? WHERE pull = ? AND holder = ?",
            (now + LEASE_S * 1_000_000, pull, self._holder),
        ):
            raise StoreError("serve.pull_elsewhere", name=pull)
        write.run_many(
            "INSERT INTO pull_position VALUES (?, ?, ?, ?) ON CONFLICT (pull, part) DO UPDATE SET content = excluded.content, at = excluded.at",
            [(pull, part, self._seal.close(msgspec.json.encode(one)), now) for part, one in positions.items()],
        )

    def may_pull(self, pull: str, now: int) -> bool:
        """Takes the lease, or keeps it; False while another process has it."""
        if self._database.kind == "sqlite":
            return True
        with self._database.transaction() as write:
            sql = (
                "INSERT INTO pull_lease VALUES (?, ?, ?) ON CONFLICT (pull) DO UPDATE SET holder = excluded.holder, until = excluded.until "
                "WHERE pull_lease.holder = excluded.holder OR pull_lease.until < ?"
            )
            return write.run(sql, (pull, self._holder, now + LEASE_S * 1_000_000, now)) > 0

    def let_go(self, pull: str) -> None:
        """Another process may pull at once."""
        with self._database.transaction() as write:
            write.run("DELETE FROM pull_lease WHERE pull = ? AND holder = ?", (pull, self._holder))

    def tell(self, pull: str, error: str, now: int) -> None:
        """Keeps what went wrong last ("": nothing does)."""
        with self._database.transaction() as write:
            sql = "INSERT INTO pull_state VALUES (?, ?, ?) ON CONFLICT (pull) DO UPDATE SET error = excluded.error, at = excluded.at"
            write.run(sql, (pull, error, now))
