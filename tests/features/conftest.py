"""A small shop whose clean tables are written by the test, built in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from huaxiang.engine import Engine, Lake
from huaxiang.features import BuildReport, build_features
from huaxiang.settings import Settings
from huaxiang.tables import LINEAGE, TABLES, Column, arrow_schema

NOW = datetime(2025, 1, 1)
MORE = (Column("filled", "strings", "", ""),)
EVENT_MORE = (Column("refund_of", "string", "", ""), Column("refunded", "float", "", ""))
Row = dict[str, Any]


def clean_table(name: str, rows: list[Row]) -> pa.Table:
    """Rows as the table clean.NAME, what is not written left unknown."""
    columns = TABLES[name].stored + LINEAGE + MORE + (EVENT_MORE if name == "events" else ())
    filled = []
    for number, row in enumerate(rows):
        base: Row = {"source": "shop", "third_party": False, "row_id": f"r{number}", "collected_at": NOW, "filled": []}
        if name == "events":
            base |= {"event_id": f"e{number:05d}", "received_at": row["ts"]}
        filled.append({column.name: (base | row).get(column.name) for column in columns})
    return pa.Table.from_pylist(filled, arrow_schema(columns))


class Bench:
    """One shop folder and what a build left in it."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.settings = Settings()

    def build(
        self,
        events: list[Row],
        *,
        items: list[Row] = [],
        users: list[Row] = [],
        as_of: date | None = None,
        **settings: Any,
    ) -> BuildReport:
        self.settings = Settings.model_validate(settings)
        with self.lake.step("clean") as step:
            step.replace("clean.events", clean_table("events", events))
            step.replace("clean.items", clean_table("items", items))
            step.replace("clean.users", clean_table("users", users))
        with self.lake.step("build") as step:
            return build_features(step, self.settings, as_of=as_of, now=NOW)

    def rows(self, table: str) -> list[Row]:
        return self.lake.engine.rows(self.lake.table(table))

    def features(self) -> dict[str, Row]:
        return {row["user_id"]: row for row in self.rows("features")}

    def feature(self, name: str, user: str = "u") -> Any:
        return self.features()[user][name]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Bench]:
    with Engine(memory_gb=0.6, threads=2, temp=tmp_path / "tmp") as engine:
        yield Bench(Lake(tmp_path / "lake", engine))


@pytest.fixture
def new_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Bench]]:
    """Makes shops, one for each example of a property test."""
    opened: list[Engine] = []

    def make() -> Bench:
        folder = tmp_path_factory.mktemp("shop")
        opened.append(Engine(memory_gb=0.6, threads=2, temp=folder / "tmp"))
        return Bench(Lake(folder / "lake", opened[-1]))

    yield make
    for engine in opened:
        engine.close()
