"""A real Spark with two executor processes: what goes in and out of it, and what it says when something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import ibis
import pyarrow as pa
import pytest

from huaxiang.engine import Engine, Lake
from huaxiang.engine.java import check_java
from huaxiang.engine.spark import CONSTANTS, SparkEngine
from huaxiang.engine.spark_tables import Places
from huaxiang.errors import ShopError, SourceError, TableError
from huaxiang.settings import SparkSettings, SparkTables
from huaxiang.tables import EVENTS


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=2, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "shop" / "lake", engine)


def numbers(spark: SparkEngine, *values: int) -> ibis.Table:
    rows = " UNION ALL ".join(f"SELECT {value} AS n" for value in values) or "SELECT 0 AS n WHERE false"
    return spark.view(rows)


def test_importing_huaxiang_and_its_engine_loads_no_pyspark() -> None:
    code = "import huaxiang.shop, huaxiang.engine.spark, huaxiang.engine.spark_tables, sys; print('pyspark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_java_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match="Spark needs Java 17 or newer; PATH has none") as found:
        check_java({"PATH": str(tmp_path)})
    assert "openjdk-17-jre-headless" in found.value.mend("zh")


def test_a_java_home_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match=f"JAVA_HOME={tmp_path} has none"):
        check_java({"JAVA_HOME": str(tmp_path), "PATH": os.environ["PATH"]})


def test_an_old_java_is_refused_with_its_version(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_392\"' >&2\n")
    java.chmod(0o755)
    with pytest.raises(ShopError, match="is Java 8"):
        check_java({"JAVA_HOME": str(tmp_path)})


def test_without_java_a_build_says_so(tmp_path: Path) -> None:
    """In a process of its own, as a user runs it: Spark is not even tried."""
    code = (
        "from huaxiang.engine.spark import SparkEngine\nfrom huaxiang.settings import SparkSettings\n"
        f"SparkEngine.of(SparkSettings(), {{'PATH': {str(tmp_path)!r}}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "huaxiang.errors.ShopError: Spark needs Java 17" in done.stderr
    assert "py4j" not in done.stderr


def test_a_master_that_does_not_answer_is_named_within_seconds() -> None:
    code = (
        "import os\nfrom huaxiang.engine.spark import SparkEngine\nfrom huaxiang.settings import SparkSettings\n"
        "SparkEngine.of(SparkSettings(master='spark://127.0.0.1:9'), os.environ)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert "nothing answers at the Spark master spark://127.0.0.1:9" in done.stderr


def test_a_missing_table_is_named_with_its_mend(spark: SparkEngine, lake: Lake) -> None:
    settings = SparkSettings(tables=SparkTables(events="shop.no_events", items="/no/such/folder"))
    with lake.step("build") as step:
        places = Places(spark, step, settings)
        with pytest.raises(SourceError, match=r"no table .*no_events.*\n?.*\[spark.tables\]"):
            places.read("events")
        with pytest.raises(SourceError, match=r"no table .*/no/such/folder"):
            places.read("items")
        with pytest.raises(SourceError, match=r"no users to read: the shop.s lake has no clean\.users"):
            places.read("users")


def test_a_table_without_a_needed_column_is_refused_by_name(spark: SparkEngine, lake: Lake, tmp_path: Path) -> None:
    spark.session.sql("SELECT 'u' AS user_id").write.parquet(str(tmp_path / "events"))
    settings = SparkSettings(tables=SparkTables(events=str(tmp_path / "events")))
    with lake.step("build") as step, pytest.raises(TableError, match="lacks event_id, ts; it has user_id"):
        Places(spark, step, settings).contract("events", EVENTS.stored, ("event_id", "user_id", "ts"))


def test_two_tables_in_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match=r"profiles and features are both .shop\.x."):
        SparkTables(features="shop.x", profiles="shop.x")


def test_more_rows_than_constants_are_refused(spark: SparkEngine) -> None:
    many = spark.view(f"SELECT id FROM range({CONSTANTS + 1})")
    with pytest.raises(AssertionError, match="these are no constants"):
        spark.rows(many)
    assert spark.value(many.count().as_table()) == CONSTANTS + 1


def test_times_stay_naive_utc_in_and_out(spark: SparkEngine, lake: Lake) -> None:
    moment = datetime(2024, 3, 31, 1, 30, 0, 123456)
    with lake.step("clean") as step:
        step.replace("clean.events", pa.table({"ts": pa.array([moment], pa.timestamp("us"))}))
    with lake.step("build") as step:
        places = Places(spark, step, SparkSettings())
        read = places.read("events")
        assert spark.rows(read) == [{"ts": moment}]
        places.write("features", read.mutate(later=read.ts + ibis.interval(hours=1)))
    found = lake.engine.arrow(lake.table("features"))
    assert found.schema.field("ts").type == pa.timestamp("us")
    assert found.to_pylist() == [{"ts": moment, "later": datetime(2024, 3, 31, 2, 30, 0, 123456)}]


def test_a_failed_step_leaves_the_last_good_lake_table(spark: SparkEngine, lake: Lake) -> None:
    with lake.step("build") as step:
        assert Places(spark, step, SparkSettings()).write("features", numbers(spark, 1, 2)) == 2
    with pytest.raises(RuntimeError, match="stop"), lake.step("build") as step:
        Places(spark, step, SparkSettings()).write("features", numbers(spark, 3))
        raise RuntimeError("stop")
    assert sorted(lake.engine.arrow(lake.table("features"))["n"].to_pylist()) == [1, 2]
    assert not list((lake.folder / "tmp").glob("spark-*"))


@pytest.mark.parametrize("kind", ["folder", "catalog"])
def test_a_table_changes_only_when_the_step_ends(spark: SparkEngine, lake: Lake, tmp_path: Path, kind: str) -> None:
    place = str(tmp_path / "out" / "features") if kind == "folder" else f"out_{tmp_path.name}"
    settings = SparkSettings(tables=SparkTables(features=place))
    with lake.step("build") as step:
        places = Places(spark, step, settings)
        assert places.write("features", numbers(spark, 1, 2)) == 2
        places.publish()
    with lake.step("build") as step:
        places = Places(spark, step, settings)
        assert places.write("features", numbers(spark, 3)) == 1
        assert [row["n"] for row in spark.rows(places.read("features"))] == [3], "a step sees its own writes"
        before = Places(spark, step, settings)
        assert sorted(row["n"] for row in spark.rows(before.read("features"))) == [1, 2]
        places.publish()
        assert [row["n"] for row in spark.rows(before.read("features"))] == [3]


@pytest.mark.parametrize("kind", ["folder", "catalog"])
def test_a_swap_cut_off_in_the_middle_is_mended_at_the_next_read(
    spark: SparkEngine, lake: Lake, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "features") if kind == "folder" else f"cut_{tmp_path.name}"
    settings = SparkSettings(tables=SparkTables(features=place))
    with lake.step("build") as step:
        places = Places(spark, step, settings)
        places.write("features", numbers(spark, 1))
        places.publish()
        places.write("features", numbers(spark, 2))
        if kind == "folder":
            (tmp_path / "features").rename(tmp_path / "features.old")  # the first rename done, then the power fails
        else:
            spark.session.sql(f"ALTER TABLE {place} RENAME TO {place}__old")
        assert [row["n"] for row in spark.rows(Places(spark, step, settings).read("features"))] == [1]


def test_a_delta_folder_is_read_as_its_log_says_whatever_its_name(spark: SparkEngine, tmp_path: Path) -> None:
    with Engine(memory_gb=0.5, threads=2) as engine:
        lake = Lake(tmp_path / "my shop 店铺" / "lake", engine)
        for numbers_now in ([1, 2], [3]):  # files of both versions lie in the folder
            with lake.step("clean") as step:
                step.replace("clean.events", pa.table({"n": numbers_now}))
        with lake.step("build") as step:
            settings = SparkSettings(tables=SparkTables(events=str(lake.folder / "clean" / "events")))
            assert spark.rows(Places(spark, step, settings).read("events")) == [{"n": 3}]
            assert Places(spark, step, SparkSettings()).write("features", numbers(spark, 4)) == 1


def test_arrow_functions_run_in_the_executors(spark: SparkEngine) -> None:
    here = os.getpid()

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.record_batch({"n": batch.column("id"), "elsewhere": [os.getpid() != here] * batch.num_rows})

    schema = pa.schema([("n", pa.int64()), ("elsewhere", pa.bool_())])
    made = spark.map_arrow(spark.view("SELECT id FROM range(10)"), work, schema)
    assert spark.rows(made.aggregate(n=made.n.sum(), all=made.elsewhere.all())) == [{"n": 45, "all": True}]


def test_errors_of_a_job_tell_their_kind_and_no_value(spark: SparkEngine) -> None:
    wrong = spark.view("SELECT CAST(concat('secret', id) AS INT) AS n FROM range(3)")
    with pytest.raises(ShopError, match="a Spark job failed: CAST_INVALID_INPUT") as found:
        spark.rows(wrong)
    assert "secret" not in str(found.value)
