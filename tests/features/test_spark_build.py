"""The build on Spark against DuckDB: every feature of every customer at every date, the scores, the labels, the note."""

from __future__ import annotations

import math
import random
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from tests.features.conftest import Bench, Row, clean_table
from tests.features.test_oracle import ITEMS, assert_like, stream
from tests.features.test_spark_ready import USERS

from huaxiang.engine.spark import SparkEngine
from huaxiang.engine.spark_tables import Places
from huaxiang.errors import DefinitionError
from huaxiang.features import BuildReport, spark_ranks, spark_scores
from huaxiang.features.fakes import FAKES, everything_sql
from huaxiang.features.spark_build import build_on_spark

OUTCOMES = {
    "churn": {"agg": "none", "where": "event == 'purchase'", "within": "30d", "among": "orders_90d > 0"},
    "spend": {"agg": "sum", "column": "amount", "where": "event == 'purchase'", "within": "14d"},
    "visits": {"agg": "count", "within": "7d"},
    "next_brand": {"agg": "first", "column": "brand", "where": "event == 'purchase'", "within": "30d"},
    "next_amount": {"agg": "first", "column": "amount * 2", "where": "event == 'purchase'", "within": "30d"},
    "next_band": {"agg": "first", "column": "amount", "within": "30d", "bands": [10, 25.5]},
    "spend_band": {"agg": "sum", "column": "amount", "within": "30d", "bands": [20]},
    "sex": {"attribute": "users.gender"},
    "year": {"attribute": "users.birth_year"},
    "pets": {"attribute": "users.pets"},
}
# One of each kind of aggregation that the standard set has none of.
MINE = {
    "middle_price": {"agg": "median", "column": "price", "where": "event == 'purchase'"},
    "last_item": {"agg": "last", "column": "item_id"},
    "first_amount": {"agg": "first", "column": "amount", "where": "amount is not null", "window": "90d"},
    "big": {"agg": "count", "where": "event == 'purchase' and amount > 20 or rating >= 4"},
    "least": {"agg": "min", "column": "amount - 1"},
}


def tables(shop: Bench) -> dict[str, list[Row]]:
    return {name: shop.rows(name) for name in ("features", "training", "labels") if shop.lake.has(name)}


def build_on_both(
    bench: Bench, spark: SparkEngine, events: list[Row], users: list[Row], as_of: date | None = None, **settings: Any
) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    """The tables on Spark, then on DuckDB."""
    wanted_report = bench.build(events, items=list(ITEMS.values()), users=users, as_of=as_of, **settings)
    wanted, note = tables(bench), bench.lake.note("build")
    with bench.lake.step("build") as step:
        report: BuildReport = build_on_spark(Places(spark, step, bench.settings.spark), bench.settings, as_of=as_of)
    apart = {"seconds": 0, "full": ""}
    assert vars(report) | apart == vars(wanted_report) | apart
    # ready and training: what the next build on DuckDB may keep; after one on Spark it may keep nothing
    timed = {"seconds": 0, "finished_at": "", "ready": None, "training": None}
    assert bench.lake.note("build") | timed == note | timed
    return tables(bench), wanted


def test_orders_held_fake_are_kept_out_as_on_duckdb(shop: Bench, spark: SparkEngine) -> None:
    events = stream(seed=8, users=6, count=300)
    shop.build(events, items=list(ITEMS.values()), as_of=date(2024, 6, 1))
    orders = [row for row in orders_of(shop) if row["order_id"]][::3] + [
        row for row in orders_of(shop) if not row["order_id"]
    ][::3]
    with shop.lake.step("guard") as step:
        step.replace(FAKES, pa.Table.from_pylist(orders))
    settings = {"features": {"standard": False, "mine": MINE | {"sessions": {"agg": "sessions"}}}}
    found, wanted = build_on_both(shop, spark, events, USERS, **settings)
    assert shop.lake.note("build")["fakes"]["orders"] == len(orders) and {
        row["order_id"] is None for row in orders
    } == {True, False}
    for name, rows in wanted.items():
        assert_same(found[name], rows, *(("user_id", "as_of") if name != "labels" else ("user_id", "as_of", "outcome")))


def orders_of(shop: Bench) -> list[Row]:
    return shop.lake.engine.rows(
        f"SELECT DISTINCT order_id, order_key, user_id, day FROM ({everything_sql(shop.lake)}) WHERE event = 'purchase' ORDER BY ALL"
    )


def assert_same(found: list[Row], wanted: list[Row], *keys: str) -> None:
    rows = {tuple(row[key] for key in keys): row for row in found}
    assert len(rows) == len(found) == len(wanted)
    for row in wanted:
        place = tuple(row[key] for key in keys)
        assert list(rows[place]) == list(row)
        for name, value in row.items():
            assert_like(rows[place][name], value, f"{place} {name}")
            assert (rows[place][name] is None) == (value is None), f"{place} {name}"


def test_features_training_and_labels_equal_those_of_duckdb(shop: Bench, spark: SparkEngine) -> None:
    zone = "America/New_York"
    events = stream(seed=5, users=12, count=700, late=0.15)
    found, wanted = build_on_both(
        shop,
        spark,
        events,
        USERS,
        shop={"timezone": zone},
        outcomes=OUTCOMES,
        train={"as_of_count": 3},
        features={"mine": MINE},
    )
    assert len({row["as_of"] for row in wanted["training"]}) >= 5
    assert {row["outcome"] for row in wanted["labels"]} == set(OUTCOMES)
    assert len({row["rfm"] for row in wanted["features"]}) > 4
    assert_same(found["features"], wanted["features"], "user_id", "as_of")
    assert_same(found["training"], wanted["training"], "user_id", "as_of")
    assert_same(found["labels"], wanted["labels"], "outcome", "user_id", "as_of")


def test_scores_found_band_by_band_are_the_ranks(spark: SparkEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    values = [(day, float(chance.choice([0, 1, 1, 2, chance.randrange(400)]))) for day in (10, 20) for _ in range(90)]
    rows = " UNION ALL ".join(f"SELECT 'm {day}' AS key, {value}D AS value" for day, value in values)
    monkeypatch.setattr(spark_ranks, "BAND", 20)  # so that the distinct values fall into several bands
    least = spark_scores.find_least(spark, spark.view(rows))
    for day in (10, 20):
        mine = [value for at, value in values if at == day]
        for value in mine:
            wanted = 1 + math.floor(5.0 * sum(other < value for other in mine) / len(mine))
            assert max(at + 1 for at, edge in enumerate(least[f"m {day}"]) if value >= edge) == wanted


def test_quantiles_are_those_of_duckdb(shop: Bench, spark: SparkEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(6)
    values = [float(chance.choice([1, 2, 2, chance.randrange(300)])) for _ in range(101)]
    rows = " UNION ALL ".join(f"SELECT 'a' AS key, {value}D AS value" for value in values)
    monkeypatch.setattr(spark_ranks, "BAND", 20)
    ranks = spark_ranks.rank_values(spark, spark.view(rows))
    shares = {f"q{share}": ("a", share) for share in (0.0, 0.2, 0.55, 0.9, 1.0)} | {"none": ("b", 0.5)}
    listed = ", ".join(map(str, values))
    wanted = {
        name: shop.lake.engine.value(f"SELECT quantile_cont(v::DOUBLE, {share}) FROM (SELECT unnest([{listed}]) AS v)")
        for name, (_, share) in shares.items()
        if name != "none"
    }
    assert spark_ranks.quantiles(spark, ranks, shares) == pytest.approx(wanted, rel=1e-12)


def test_everything_of_a_plain_shop_without_purchases_is_built(shop: Bench, spark: SparkEngine) -> None:
    """No items, no users, no money: nothing to score, no outcome with a label; the tables are there and equal all the same."""
    events = [
        {"user_id": f"u{n % 3}", "event": "view", "ts": datetime(2024, 1, 1) + timedelta(days=n)} for n in range(9)
    ]
    found, wanted = build_on_both(shop, spark, events, [])
    assert_same(found["features"], wanted["features"], "user_id", "as_of")
    assert {row["rfm"] for row in found["features"]} == {None}


def test_no_event_at_all_is_an_error_and_changes_nothing(shop: Bench, spark: SparkEngine) -> None:
    shop.build([{"user_id": "u", "event": "view", "ts": datetime(2024, 1, 1)}])
    before = shop.rows("features")
    with shop.lake.step("clean") as step:
        step.replace("clean.events", clean_table("events", []))
    with pytest.raises(DefinitionError), shop.lake.step("build") as step:
        build_on_spark(Places(spark, step, shop.settings.spark), shop.settings)
    assert shop.rows("features") == before
