"""The audit: who looked at whom. A look is kept with pseudonyms alone, so that the audit itself holds nothing personal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from huaxiang.store import Database, Migration

PART = "audit"
MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE look (id {serial}, at {integer} NOT NULL, key TEXT NOT NULL, scope TEXT NOT NULL, what TEXT NOT NULL, "
            "user_id TEXT, count {integer} NOT NULL, personal {integer} NOT NULL, status {integer} NOT NULL)",
            "CREATE INDEX look_user ON look (user_id, id)",
            "CREATE INDEX look_at ON look (at)",
            "CREATE TABLE look_at_many (user_id TEXT NOT NULL, look {integer} NOT NULL, PRIMARY KEY (user_id, look)){by_key}",
            "CREATE INDEX look_at_many_look ON look_at_many (look)",
        ),
    ),
)
DAY_US = 86_400_000_000
BITE = 200  # looks forgotten in one transaction: who writes waits no longer than that
_INSERT = "INSERT INTO look (at, key, scope, what, user_id, count, personal, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(slots=True)
class Look:
    """What a request looks at, filled in while it is answered. users: pseudonyms; count: customers told of"""

    key: str
    what: str
    scope: str = ""
    users: list[str] = field(default_factory=list)
    count: int = 0
    personal: bool = False
    status: int = 0
    at: int = 0  # µs since 1970
    kept: bool = True  # False: nothing about a customer


def write_looks(database: Database, looks: Sequence[Look]) -> None:
    """Keeps them, in one transaction."""
    with database.transaction() as write:
        write.run_many(_INSERT, [_row(look) for look in looks if len(look.users) < 2])
        for look in looks:
            if len(look.users) > 1:
                number = write.insert(_INSERT, _row(look))
                listed = [(user, number) for user in sorted(set(look.users))]
                write.run_many("INSERT INTO look_at_many VALUES (?, ?)", listed)


def forget(database: Database, before: int) -> int:
    """Drops the looks older than `before` (µs since 1970); gives how many."""
    dropped = 0
    while True:
        old = database.rows("SELECT id FROM look WHERE at < ? ORDER BY at LIMIT ?", (before, BITE))
        if not old:
            return dropped
        with database.transaction() as write:
            write.run_many("DELETE FROM look_at_many WHERE look = ?", old)
            write.run_many("DELETE FROM look WHERE id = ?", old)
        dropped += len(old)


def find_looks(
    database: Database, names: Sequence[str] = (), *, since: int = 0, limit: int = 1_000, before: int | None = None
) -> list[dict[str, Any]]:
    """The looks, newest first. names: at one of these pseudonyms (none: at anybody); since: µs since 1970; before: a smaller `id`"""
    where, values = ["at >= ?"], [since]
    if before is not None:
        where, values = [*where, "id < ?"], [*values, before]
    if names:
        marks = ", ".join("?" * len(names))
        where.append(f"(user_id IN ({marks}) OR id IN (SELECT look FROM look_at_many WHERE user_id IN ({marks})))")
    sql = f"SELECT id, at, key, scope, what, user_id, count, personal, status FROM look WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"
    rows = database.rows(sql, (*values, *names, *names, limit))
    titles = ("id", "at", "key", "scope", "what", "user_id", "count", "personal", "status")
    return [dict(zip(titles, row, strict=True)) | {"personal": bool(row[7])} for row in rows]


def _row(look: Look) -> tuple[Any, ...]:
    one = look.users[0] if len(look.users) == 1 else None
    return look.at, look.key, look.scope, look.what, one, look.count, int(look.personal), look.status
