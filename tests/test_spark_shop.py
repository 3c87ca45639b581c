"""A whole shop on Spark: the journey's second half over tables of the cluster, and what an executor's death does to it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from tests.models import onnx_files

from huaxiang.engine.spark import SparkEngine
from huaxiang.engine.spark_tables import Places
from huaxiang.errors import ShopError
from huaxiang.models.brought import brought_grids
from huaxiang.models.labelled import read_labelled
from huaxiang.models.outcomes import LakeScorer
from huaxiang.models.predictor import finish_predictor
from huaxiang.models.spark_scoring import SparkScorer
from huaxiang.models.zoo import grids
from huaxiang.settings import SparkSettings, SparkTables
from huaxiang.shop import Shop


def on_spark(shop: Shop, tables: SparkTables, spark_settings: SparkSettings) -> Shop:
    """The same shop, its settings turned to Spark."""
    settings = shop.settings
    shop.settings = settings.model_copy(
        update={
            "shop": settings.shop.model_copy(update={"engine": "spark"}),
            "spark": spark_settings.model_copy(update={"tables": tables}),
        }
    )
    return shop


@pytest.fixture
def copied(small_shop: Path, tmp_path: Path) -> Iterator[Shop]:
    shutil.copytree(small_shop, tmp_path / "shop")
    with Shop.open(tmp_path / "shop", environ={}) as shop:
        yield shop


def by_user(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["user_id"], row.get("outcome", "")): row for row in rows}


def like(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float):
        return bool(found == pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True))
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(like, found, wanted))
    return (
        all(like(found[key], value) for key, value in wanted.items()) if isinstance(wanted, dict) else found == wanted
    )


def test_every_customer_is_scored_as_on_duckdb(copied: Shop, spark: SparkEngine) -> None:
    """A model is fitted whether or not it would win; both engines then score with it."""
    outcome = next(one for one in copied.lake.note("build")["outcomes"] if one["name"] == "churn_30d")
    with copied.lake.step("train") as step:
        data = read_labelled(step, "churn_30d", "binary", max_rows=10_000, seed=1)
        config = grids("binary")["lightgbm"][0]
        predictor = finish_predictor(
            "churn_30d", "lightgbm", config, data, method="sigmoid", threshold=0.3, folds=2, level=0.9, seed=1
        )
        here = LakeScorer(step, copied.settings)
        here.add(outcome, predictor, "v1")
        here.finish()
        wanted = by_user(copied.lake.engine.rows(step.table("predictions")))
        there = SparkScorer(Places(spark, step, SparkSettings()), copied.settings)
        there.add(outcome, predictor, "v1")
        there.finish()
        found = by_user(copied.lake.engine.rows(step.table("predictions")))
    assert len(wanted) > 10
    assert found.keys() == wanted.keys()
    for key, row in wanted.items():
        assert like(found[key], row), f"{key}: {found[key]} is not {row}"


def test_brought_file_travels_to_the_executors(copied: Shop, spark: SparkEngine, tmp_path: Path) -> None:
    """They have no models folder: the file goes with the predictor."""
    content = onnx_files.from_keras({"recency_days": 0.05, "orders_90d": -0.4})
    (tmp_path / "mine.onnx").write_bytes(content)
    copied.add_model(tmp_path / "mine.onnx", "churn_30d")
    outcome = next(one for one in copied.lake.note("build")["outcomes"] if one["name"] == "churn_30d")
    with copied.lake.step("train") as step:
        data = read_labelled(step, "churn_30d", "binary", max_rows=10_000, seed=1)
        entered = brought_grids(data, "churn_30d", copied.settings.models, copied.folder / "models")
        predictor = finish_predictor(
            "churn_30d", "mine", entered["mine"][0], data, method="none", threshold=0.3, folds=2, level=0.9, seed=1
        )
        here = LakeScorer(step, copied.settings)
        here.add(outcome, predictor, "v1")
        wanted = by_user(copied.lake.engine.rows(step.table("predictions")))
        there = SparkScorer(Places(spark, step, SparkSettings()), copied.settings)
        there.add(outcome, predictor, "v1")
        there.finish()
        found = by_user(copied.lake.engine.rows(step.table("predictions")))
    assert len(wanted) > 10
    assert {key: row["value"] for key, row in found.items()} == pytest.approx(
        {key: row["value"] for key, row in wanted.items()}, abs=1e-6
    )
    assert all(row["reasons"] and row["model"] == "mine" for row in found.values())


def test_the_journey_runs_over_tables_of_the_cluster(
    copied: Shop, spark: SparkEngine, spark_settings: SparkSettings, tmp_path: Path
) -> None:
    """Events from a folder, the rest of the input from the lake; written into a catalog, into folders, and into the lake."""
    wanted = {name: copied.lake.engine.rows(copied.lake.table(name)) for name in ("features", "profiles")}
    events = copied.lake.engine.sql(copied.lake.table("clean.events"))
    copied.lake.engine.write(events, tmp_path / "events")
    name = f"of_{tmp_path.name}"
    out = str(tmp_path / "out")
    tables = SparkTables(
        events=str(tmp_path / "events"),
        training=f"{out}/training",
        labels=f"labels_{name}",
        predictions=f"predictions_{name}",
        profiles=f"{out}/profiles",
    )
    shop = on_spark(copied, tables, spark_settings)
    built = shop.build()
    cards = shop.train()
    report = shop.profiles()
    assert built.users == report.users == len(wanted["features"])
    features = by_user(shop.lake.engine.rows(shop.lake.table("features")))
    assert all(like(features[key], row) for key, row in by_user(wanted["features"]).items())
    assert spark.session.table(f"predictions_{name}").count() == sum(
        spark.session.table(f"predictions_{name}").where(f"outcome = '{card.outcome}'").count() for card in cards
    )
    made = by_user(shop.lake.engine.rows(f"FROM read_parquet('{out}/profiles/*.parquet')"))
    for key, row in by_user(wanted["profiles"]).items():
        same = {
            name for name in row if name in shop.lake.table("features").columns or name in ("lifecycle", "value_tier")
        }
        assert like({name: made[key][name] for name in same}, {name: row[name] for name in same})


def executors() -> list[psutil.Process]:
    """The executor JVMs of this process's cluster."""
    mine = psutil.Process().children(recursive=True)
    alive = [one for one in mine if one.name() == "java" and one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if "CoarseGrainedExecutorBackend" in " ".join(one.cmdline())]


def kill_soon(seconds: float) -> threading.Thread:
    def kill() -> None:
        time.sleep(seconds)
        os.kill(executors()[0].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_killed_executor_costs_time_and_nothing_else(copied: Shop, spark: SparkEngine) -> None:
    def slowly(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            time.sleep(1.0)
            yield batch

    rows = spark.view("SELECT id, id % 7 AS n FROM range(0, 4000, 1, 8)")
    slow = spark.map_arrow(rows, slowly, pa.schema([("id", pa.int64()), ("n", pa.int64())]))
    held = spark.deal(slow, "n")
    with copied.lake.step("build") as step:
        killer = kill_soon(2.5)
        assert Places(spark, step, SparkSettings()).write("features", held) == 4000
        killer.join()
    assert (
        copied.lake.engine.value(f"SELECT sum(id) FROM ({copied.lake.engine.sql(copied.lake.table('features'))})")
        == 7998000
    )


def test_a_job_that_kills_every_executor_fails_and_leaves_the_last_good_table(copied: Shop, spark: SparkEngine) -> None:
    before = copied.lake.engine.rows(copied.lake.table("features"))

    def die(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            os.kill(
                os.getppid(), signal.SIGKILL
            )  # the daemon that starts Python workers: the task is lost each time it is tried
            os.kill(os.getpid(), signal.SIGKILL)
        yield pa.record_batch({"id": pa.array([], pa.int64())})

    dying = spark.map_arrow(spark.view("SELECT id FROM range(10)"), die, pa.schema([("id", pa.int64())]))
    with pytest.raises(ShopError, match="a Spark job failed"), copied.lake.step("build") as step:
        Places(spark, step, SparkSettings()).write("features", dying)
    assert copied.lake.engine.rows(copied.lake.table("features")) == before
