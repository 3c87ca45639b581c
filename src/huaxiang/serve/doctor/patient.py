"""The shop as far as it can be opened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huaxiang.serve.log import Log
from huaxiang.shop import Shop
from huaxiang.store import Database, open_database


@dataclass
class Patient:
    """quick: leave out what reads every file. store: None where there is none yet, or none that opens; log: None without a key"""

    shop: Shop
    quick: bool
    now: int  # µs since 1970
    store: Database | None = None
    log: Log | None = None

    @property
    def folder(self) -> Path:
        return self.shop.folder

    @property
    def store_path(self) -> Path | None:
        """The SQLite file (None: PostgreSQL)."""
        where = self.shop.settings.live.store
        return None if "://" in where else self.folder / where


@contextlib.contextmanager
def states_of(patient: Patient) -> Iterator[Database | None]:
    """Where the live states are: a file of their own beside a SQLite store, else the store (None: there are none yet)."""
    where = patient.shop.live_states()
    if isinstance(where, str):
        yield patient.store if patient.store is not None and has_table(patient.store, "applied") else None
    elif not where.exists():
        yield None
    else:
        with contextlib.closing(open_database(where)) as states:
            yield states if has_table(states, "applied") else None


def has_table(database: Database, name: str) -> bool:
    return bool(database.rows(_HAS_TABLE[database.kind], (name,)))


_HAS_TABLE = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
    "postgres": "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?",
}
