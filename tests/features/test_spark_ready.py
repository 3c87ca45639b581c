"""The ready tables on Spark against DuckDB's, column by column: late events, ties, zones, leap days, sessions, links, merged users."""

from __future__ import annotations

import json
import math
import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.features.conftest import Bench, Row, clean_table
from tests.features.test_oracle import stream

from huaxiang.engine.spark import SparkEngine
from huaxiang.engine.spark_tables import Places
from huaxiang.features.spark_build import write_ready
from huaxiang.identity import link_users
from huaxiang.settings import Settings
from huaxiang.tables import LINEAGE, TABLES, arrow_schema

# What DuckDB alone keeps: codes, and what its incremental build needs.
CODES = ("part", "listed", "user_no", "item_no", "category_no", "category_top_no", "category_2_no", "brand_no")
TITLES = [f"Thing {n}" for n in range(6)]


def odd_stream(seed: int) -> list[Row]:
    """Events with ties to the microsecond, the source's own sessions, visitors who log in later, and a leap day."""
    chance, events = random.Random(seed), []
    for row in stream(seed, users=9, count=350, late=0.2):
        more: Row = {"session_id": chance.choice([None, None, "s1", "s2"])}
        if chance.random() < 0.4:
            more["anonymous_id"] = f"v{chance.randrange(5)}"
            if chance.random() < 0.6:
                more["user_id"] = None
        if chance.random() < 0.3:
            more["ts"] = row["ts"] + timedelta(microseconds=chance.randrange(1_000_000))
            more["received_at"] = row["received_at"] + timedelta(seconds=1)
        events.append(row | more)
    leap = {
        "event_id": "leap",
        "user_id": "u1",
        "event": "purchase",
        "ts": datetime(2024, 2, 29, 23, 59, 59),
        "item_id": "i1",
        "price": 3.0,
        "amount": 3.0,
    }
    return [*events, leap, leap | {"event_id": "leap2", "item_id": "not listed", "order_id": "o1"}]


ITEMS: list[Row] = [
    {"item_id": f"i{n % 12}", "title": TITLES[n % 6], "category": [f"T{n % 3} > M{n % 5} > L{n}", "Alone", None, "  > X", "A (b|c) > D.*"][n % 5],
     "brand": f"b{n % 4}", "price": float(n), "third_party": n > 15, "collected_at": datetime(2025, 1, 1 + n % 3)}
    for n in range(20)
]  # fmt: skip
USERS: list[Row] = [
    {"user_id": f"u{n % 11}", "gender": ["female", None, "male"][n % 3], "birth_year": 1970 + n, "city": "杭州" if n % 2 else None,
     "registered_at": datetime(2023, 10, 29, 0, 30) + timedelta(hours=n), "source": ["crm", "geo"][n % 2], "third_party": n % 2 == 1,
     "filled": ["gender"] if n % 4 == 0 else [], "collected_at": datetime(2025, 1, 1 + n % 2),
     "extra": [None, '{"pets": "two", "n": 1.5}', '{"pets": "none", "a \\"b\\"": [1, null]}', "[1]"][n % 4]}
    for n in range(30)
]  # fmt: skip


def like(one: Any, other: Any, place: str) -> None:
    if isinstance(one, float) and isinstance(other, float):
        assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9), f"{place}: {one} is not {other}"
    else:
        assert one == other, f"{place}: {one!r} is not {other!r}"


def assert_alike(found: list[Row], wanted: list[Row], key: str, apart: tuple[str, ...] = ()) -> None:
    by_key = {row[key]: row for row in found}
    assert len(by_key) == len(found)
    assert sorted(by_key) == sorted(row[key] for row in wanted)
    assert set(found[0]) == set(wanted[0]) - set(CODES)
    for row in wanted:
        for name in set(row) - set(CODES) - set(apart):
            like(by_key[row[key]][name], row[name], f"{row[key]} {name}")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
def test_ready_tables_equal_those_of_duckdb(shop: Bench, spark: SparkEngine, zone: str) -> None:
    settings = Settings.model_validate(
        {"shop": {"timezone": zone}, "collect": [{"name": "crm", "from": "x.csv", "to": []}]}
    )
    events = odd_stream(seed=len(zone))
    with shop.lake.step("clean") as step:
        step.replace("clean.events", clean_table("events", events))
        step.replace("clean.items", clean_table("items", ITEMS))
        step.replace("clean.users", clean_table("users", USERS))
        link_users(step, settings)
    from huaxiang.features.ready import write_ready as write_on_duckdb
    from huaxiang.identity import canonical_events

    with shop.lake.step("build") as step:
        span = write_on_duckdb(step, settings, shop.lake.engine.sql(canonical_events(step)))
    wanted = {name: shop.rows(f"ready.{name}") for name in ("users", "items", "events")}
    with shop.lake.step("build") as step:
        assert write_ready(Places(spark, step, settings.spark), settings)[0] == span
    found = {name: shop.rows(f"ready.{name}") for name in ("users", "items", "events")}
    assert_alike(found["items"], wanted["items"], "item_id")
    assert_alike(found["events"], wanted["events"], "event_id", apart=("order_key",))
    assert_alike(found["users"], wanted["users"], "user_id", apart=("sources", "extra"))
    assert sum(row["price_ratio"] is not None for row in found["events"]) > 50
    said = {row["user_id"]: row for row in found["users"]}
    for row in wanted["users"]:
        for name in ("sources", "extra"):
            like(
                json.loads(said[row["user_id"]][name] or "{}"),
                json.loads(row[name] or "{}"),
                f"{row['user_id']} {name}",
            )
    keys = {row["event_id"]: row["order_key"] for row in found["events"]}
    pairs = {(row["order_key"], keys[row["event_id"]]) for row in wanted["events"]}
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs}), (
        "orders are the same orders"
    )


def test_links_made_on_spark_equal_those_of_duckdb(shop: Bench, spark: SparkEngine, tmp_path: Any) -> None:
    identifiers = [
        {"kind": "email", "value": f"m{n % 4}", "user_id": f"u{n % 3}" if n % 2 else None, "anonymous_id": f"v{n % 5}" if n % 3 else None, "ts": datetime(2024, 1, 1 + n)}
        for n in range(20)
    ]  # fmt: skip
    columns = TABLES["identifiers"].stored + LINEAGE
    import pyarrow as pa

    full = [{column.name: ({"source": "crm"} | row).get(column.name) for column in columns} for row in identifiers]
    with shop.lake.step("clean") as step:
        step.replace("clean.events", clean_table("events", odd_stream(3)))
        step.replace("clean.identifiers", pa.Table.from_pylist(full, arrow_schema(columns)))
    with shop.lake.step("build") as step:
        link_users(step, Settings())
        wanted = {tuple(row.values()) for row in shop.lake.engine.rows(step.table("identity.links"))}
        from huaxiang.features.spark_build import find_links

        made = spark.rows(find_links(Places(spark, step, Settings().spark)))
    assert {tuple(row.values()) for row in made} == wanted
    assert len(wanted) > 10
