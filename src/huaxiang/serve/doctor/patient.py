"""The shop as far as it can be opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huaxiang.serve.log import Log
from huaxiang.shop import Shop
from huaxiang.store import Database


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
