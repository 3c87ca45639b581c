"""The layout of a database, as numbered steps that are taken once each, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from huaxiang.errors import StoreError
from huaxiang.store.database import Database

# What SQL must say differently: a step writes {blob}, {serial} and {integer}.
_WORDS = {
    "sqlite": {"blob": "BLOB", "serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "integer": "INTEGER", "by_key": " WITHOUT ROWID"},
    "postgres": {"blob": "BYTEA", "serial": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "integer": "BIGINT", "by_key": ""},
}  # fmt: skip


@dataclass(frozen=True)
class Migration:
    """One step. number: rising from 1 within its part; statements: SQL"""

    number: int
    statements: tuple[str, ...]


def migrate(database: Database, part: str, steps: Sequence[Migration]) -> int:
    """Takes the steps of `part` that were not taken yet, all or none; gives the number the database stands at.

    raises: StoreError where the database was written by a newer huaxiang
    """
    words, newest = _WORDS[database.kind], max(step.number for step in steps)
    with database.transaction() as write:
        if database.kind == "postgres":  # two processes that start at once
            write.rows("SELECT pg_advisory_xact_lock(7310)")
        write.run(f"CREATE TABLE IF NOT EXISTS layout (part TEXT PRIMARY KEY, number {words['integer']} NOT NULL)")
        found = write.rows("SELECT number FROM layout WHERE part = ?", (part,))
        at = int(found[0][0]) if found else 0
        if at > newest:
            raise StoreError("store.newer", part=part, found=at, known=newest)
        for step in sorted(steps, key=lambda one: one.number):
            if step.number > at:
                for statement in step.statements:
                    write.run(statement.format(**words))
        write.run(
            "INSERT INTO layout VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET number = excluded.number", (part, newest)
        )
    return newest
