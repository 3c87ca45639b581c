"""One fixture, four answers: every aggregation on DuckDB, on Spark (executors in processes of their own), folded live, and in
plain Python, at every as-of date."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from tests.features.conftest import Bench
from tests.features.everything import BATCH_ONLY, answers, prepared
from tests.features.streams import ITEMS, repeated, wild_stream
from tests.features.test_algebra import OUTCOMES, SECTION, by_known_day
from tests.features.test_oracle import assert_like

from huaxiang.engine.spark import SparkEngine
from huaxiang.engine.spark_tables import Places
from huaxiang.features.live import Fold, live_features
from huaxiang.features.live.store import LiveStore
from huaxiang.features.mine import declared_features
from huaxiang.features.spark_build import build_on_spark


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York"])
def test_duckdb_equals_spark_equals_live_equals_plain_python(
    shop: Bench, spark: SparkEngine, tmp_path: Path, zone: str
) -> None:
    events = wild_stream(len(zone), users=12, count=900)
    shop.build(
        events, items=list(ITEMS.values()), users=[{"user_id": "nobody"}], shop={"timezone": zone},
        features=SECTION.model_dump(), outcomes=OUTCOMES,
    )  # fmt: skip
    duckdb = {(row["user_id"], row["as_of"]): row for row in shop.rows("training") + shop.rows("features")}
    with shop.lake.step("build") as step:
        build_on_spark(Places(spark, step, shop.settings.spark), shop.settings)
    on_spark = {(row["user_id"], row["as_of"]): row for row in shop.rows("training") + shop.rows("features")}
    assert duckdb.keys() == on_spark.keys()
    assert len({as_of for _, as_of in duckdb}) >= 5
    arriving = list(by_known_day(repeated(events, 1), zone))
    items = shop.lake.engine.sql(shop.lake.table("ready.items"))
    fold = Fold(live_features(declared_features(SECTION)))
    with LiveStore(tmp_path / "live.db", fold, shop.lake.engine, zone=zone, items=items) as store:
        for user, as_of in sorted(duckdb, key=lambda place: place[1]):
            while arriving and arriving[0][0] < as_of:
                store.apply(pa.Table.from_pylist(arriving.pop(0)[1]))
            wanted = answers(prepared(events, ITEMS, user, as_of, zone), as_of)
            live = store.values(user, as_of)
            for name, value in wanted.items():
                place = f"{user} {as_of} {name}"
                assert_like(duckdb[user, as_of][name], value, f"DuckDB: {place}")
                assert_like(on_spark[user, as_of][name], value, f"Spark: {place}")
                if name not in BATCH_ONLY:
                    assert_like(live[name], value, f"live: {place}")
