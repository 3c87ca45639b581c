"""The lake: all of a step or nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from huaxiang.engine import Engine, Lake
from huaxiang.errors import ShopError


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=2, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


FIVE = pa.table(
    {
        "user": ["a", "b", "c", "d", None],
        "ts": pa.array([datetime(2024, 1, day) for day in range(1, 6)], pa.timestamp("us")),
        "tags": [["x"], [], None, ["y", "z"], ["w"]],
    }
)


def test_what_a_step_wrote_comes_back_equal(lake: Lake) -> None:
    with lake.step("one") as step:
        assert step.replace("raw.events", FIVE) == 5
    back = lake.engine.arrow(lake.table("raw.events").order_by("ts"))
    assert back.to_pylist() == FIVE.to_pylist()
    assert lake.rows("raw.events") == 5


def test_append_adds_and_replace_replaces(lake: Lake) -> None:
    with lake.step("one") as step:
        step.append("raw.events", FIVE)
    with lake.step("two") as step:
        step.append("raw.events", FIVE.slice(0, 2))
        assert step.rows("raw.events") == 7
    assert lake.engine.value(lake.table("raw.events").count().as_table()) == 7
    with lake.step("three") as step:
        step.replace("raw.events", FIVE.slice(0, 1))
    assert lake.engine.value(lake.table("raw.events").count().as_table()) == 1


def test_failed_step_leaves_every_table_as_it_was(lake: Lake) -> None:
    with lake.step("one") as step:
        step.replace("a", FIVE)
    with pytest.raises(RuntimeError, match="midway"), lake.step("two") as step:
        step.append("a", FIVE)
        step.replace("b", FIVE)
        raise RuntimeError("midway")
    assert lake.names() == ["a"]
    assert lake.engine.value(lake.table("a").count().as_table()) == 5
    with lake.step("three") as step:
        step.append("a", FIVE.slice(0, 1))
        step.append("b", FIVE.slice(0, 2))
    assert lake.engine.value(lake.table("a").count().as_table()) == 6
    assert lake.engine.value(lake.table("b").count().as_table()) == 2


def test_empty_table_keeps_its_columns(lake: Lake) -> None:
    with lake.step("one") as step:
        step.replace("a", FIVE.slice(0, 0))
    assert lake.table("a").columns == ("user", "ts", "tags")
    assert lake.engine.value(lake.table("a").count().as_table()) == 0


def test_second_writer_is_told_the_shop_is_busy(lake: Lake) -> None:
    with lake.step("one"), pytest.raises(ShopError, match="another huaxiang"), lake.step("two"):
        pass


def test_table_no_step_wrote_names_the_mend(lake: Lake) -> None:
    with pytest.raises(ShopError, match="huaxiang run"):
        lake.table("clean.events")


def test_any_delta_reader_opens_the_tables(lake: Lake) -> None:
    with lake.step("one") as step:
        step.replace("raw.events", FIVE)
    found = DeltaTable(lake.folder / "raw" / "events").to_pyarrow_table()
    assert sorted(found.to_pylist(), key=lambda row: row["ts"]) == FIVE.to_pylist()


def test_damaged_manifest_is_named(lake: Lake) -> None:
    with lake.step("one") as step:
        step.replace("a", FIVE)
    (lake.folder / "manifest.json").write_text("{")
    with pytest.raises(ShopError, match="damaged"):
        lake.names()


def test_replace_may_change_the_columns(lake: Lake) -> None:
    with lake.step("one") as step:
        step.replace("a", FIVE)
    with lake.step("two") as step:
        step.replace("a", pa.table({"other": [1, 2]}))
    assert lake.engine.arrow(lake.table("a").order_by("other")).to_pylist() == [{"other": 1}, {"other": 2}]


def test_old_files_are_swept_but_the_version_before_stays_readable(lake: Lake) -> None:
    for value in range(4):
        with lake.step("one") as step:
            step.replace("a", pa.table({"n": [value]}))
    assert len(list((lake.folder / "a").glob("*.parquet"))) == 2


def test_shop_named_by_a_relative_path_keeps_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Engine(memory_gb=0.5) as engine:
        lake = Lake(Path("shop/lake"), engine)
        for _ in range(3):
            with lake.step("one") as step:
                step.replace("a", FIVE)
        assert engine.value(lake.table("a").count().as_table()) == 5


def test_shop_behind_a_link_keeps_its_files(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with Engine(memory_gb=0.5) as engine:
        lake = Lake(tmp_path / "link" / "lake", engine)
        with lake.step("one") as step:
            step.replace("a", FIVE)
        assert engine.value(lake.table("a").count().as_table()) == 5


def test_shop_folder_may_have_a_space_and_chinese_in_its_name(tmp_path: Path) -> None:
    with Engine(memory_gb=0.5, threads=1) as engine:
        lake = Lake(tmp_path / "my shop 店铺" / "lake", engine)
        with lake.step("clean") as step:
            step.replace("clean.events", pa.table({"n": [1]}))
        assert engine.rows(lake.table("clean.events")) == [{"n": 1}]
