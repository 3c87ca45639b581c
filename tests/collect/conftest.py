"""A small shop to collect into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from huaxiang.collect import CollectReport, collect_sources
from huaxiang.engine import Engine, Lake
from huaxiang.settings import Settings
from huaxiang.trust import Pseudonyms, Vault

NOW = datetime(2024, 6, 1)


class SmallShop:
    """A folder with an engine, a lake, a vault and a key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = Engine(memory_gb=0.5, threads=2, temp=folder / "lake" / "tmp")
        self.lake = Lake(folder / "lake", self.engine)
        self.pseudonyms = Pseudonyms(b"p" * 32)
        self.vault = Vault(folder / "vault.db", b"v" * 32)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def collect(
        self, *sources: dict[str, Any], now: datetime = NOW, environ: dict[str, str] | None = None, **door: Any
    ) -> CollectReport:
        settings = Settings.model_validate({"collect": list(sources), "door": door})
        with self.lake.step("collect") as step:
            return collect_sources(
                step,
                settings,
                folder=self.folder,
                pseudonyms=self.pseudonyms,
                vault=self.vault,
                now=now,
                environ=environ or {},
            )

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """The rows of a raw table, sorted."""
        found = self.engine.rows(
            f"SELECT {', '.join(columns)} FROM ({self.engine.sql(self.lake.table(f'raw.{table}'))}) ORDER BY ALL"
        )
        return [tuple(row.values()) for row in found]

    def of(self, user: str) -> str:
        return self.pseudonyms.of(user)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SmallShop]:
    made = SmallShop(tmp_path / "shop")
    made.folder.mkdir()
    yield made
    made.engine.close()


@pytest.fixture
def events() -> Callable[..., dict[str, Any]]:
    """Settings of a source of events from orders.csv: user, item, when, what, n, paid."""

    def source(**over: Any) -> dict[str, Any]:
        columns: dict[str, Any] = {"user_id": "user", "item_id": "item", "ts": "at", "event": "what"}
        return {
            "name": "orders",
            "from": "orders.csv",
            "to": [{"table": "events", "map": columns | over.pop("map", {}), **over.pop("to", {})}],
        } | over

    return source
