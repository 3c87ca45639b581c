"""Small raw tables, and a lake to clean them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from huaxiang.clean import QualityReport, clean_tables
from huaxiang.engine import Engine, Lake
from huaxiang.settings import CleanSettings, Settings
from huaxiang.tables import TABLES, arrow_schema, raw_columns

NOW = datetime(2024, 6, 1)
Rows = list[dict[str, Any]]


class Cleaner:
    """A lake whose raw tables are written from dicts; `clean` cleans them and gives the report."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.lake = Lake(folder, engine)

    def collect(self, **tables: Rows) -> None:
        with self.lake.step("collect") as step:
            for name, rows in tables.items():
                step.replace(f"raw.{name}", raw_table(name, rows))

    def clean(self, now: datetime = NOW, **settings: Any) -> QualityReport:
        with self.lake.step("clean") as step:
            return clean_tables(step, Settings(clean=CleanSettings(**settings)), now=now)

    def rows(self, name: str, order: str = "row_id") -> Rows:
        return self.lake.engine.rows(self.lake.table(name).order_by(order.split(",")))

    def reasons(self) -> dict[str, str]:
        """row_id -> reason of every quarantined row."""
        return {row["row_id"]: row["reason"] for row in self.rows("quarantine")}


def raw_table(name: str, rows: Rows) -> pa.Table:
    """`rows` as the raw table `name`; row ids r0, r1, …, source "shop" and a collection time where none are given."""
    assert name in TABLES
    full = [
        {"source": "shop", "third_party": False, "row_id": f"r{number}", "collected_at": NOW, "is_test": False} | row
        for number, row in enumerate(rows)
    ]
    schema = arrow_schema(raw_columns(name))
    return pa.Table.from_pylist([{field: row.get(field) for field in schema.names} for row in full], schema)


def event(**values: Any) -> dict[str, Any]:
    """A plain purchase, with `values` instead."""
    plain = {
        "user_id": "ada",
        "event": "purchase",
        "item_id": "tea",
        "order_id": "o1",
        "quantity": 1.0,
        "price": 5.0,
        "amount": 5.0,
    }
    return plain | {"ts": datetime(2024, 5, 1, 12)} | values


@pytest.fixture
def make_event() -> Callable[..., dict[str, Any]]:
    return event


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Cleaner]:
    with Engine(memory_gb=0.5, threads=2, temp=tmp_path / "tmp") as engine:
        yield Cleaner(tmp_path / "lake", engine)
