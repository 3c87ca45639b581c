"""The live fold on Spark's own streaming: the same values as the fold here and as a batch build, through restarts and repeats."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.features.conftest import Bench, Row
from tests.features.streams import ITEMS, repeated, wild_stream
from tests.features.test_oracle import assert_like

from huaxiang.engine.spark import SparkEngine
from huaxiang.engine.spark_tables import Places
from huaxiang.errors import SourceError
from huaxiang.features.spark_stream import stream_on_spark
from huaxiang.settings import SparkSettings


def write_json(path: Path, events: list[Row]) -> None:
    """As a source would drop it into the folder: written beside, then renamed."""
    lines = [
        {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in event.items()}
        for event in events
    ]
    beside = path.with_suffix(".part")
    beside.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")
    beside.rename(path)


def newest(folder: Path) -> dict[str, tuple[date, dict[str, Any]]]:
    """Of each user, what the highest batch wrote."""
    found = {}
    for batch in sorted(folder.glob("batch=*"), key=lambda path: int(path.name.removeprefix("batch="))):
        for row in pq.read_table(batch).to_pylist():
            found[row["key"]] = (row["as_of"], json.loads(row["values"]))
    return found


def test_a_stream_gives_what_the_batch_gives(new_shop: Callable[[], Bench], spark: SparkEngine, tmp_path: Path) -> None:
    zone = "Asia/Shanghai"
    events = wild_stream(21, users=6, count=300)
    events.sort(key=lambda event: max(event["ts"], event["received_at"]))
    shop = new_shop()
    shop.build(events[:100], items=list(ITEMS.values()), shop={"timezone": zone})
    incoming, out, checkpoint = tmp_path / "in", tmp_path / "out", tmp_path / "checkpoint"
    incoming.mkdir()

    def run() -> list[str]:
        with shop.lake.step("stream") as step:
            places = Places(spark, step, SparkSettings())
            return stream_on_spark(places, shop.settings, f"json:{incoming}", out, checkpoint)[1]

    write_json(incoming / "1.json", repeated(events[:120], 1))
    write_json(incoming / "2.json", events[120:200])
    left = run()
    assert "price_level_90d" in left  # rests on what other customers paid
    run()  # nothing new: nothing changes
    before = newest(out)
    write_json(incoming / "3.json", repeated(events[195:], 2))
    run()  # goes on from its checkpoint
    found = newest(out)
    assert before.keys() <= found.keys() == {event["user_id"] for event in events}
    for user, (as_of, values) in found.items():
        later = new_shop()
        later.build(events, items=list(ITEMS.values()), shop={"timezone": zone}, as_of=as_of)
        row = later.features()[user]
        for name, value in values.items():
            if not name.startswith("share_"):
                assert_like(value, row[name], f"{user} {as_of} {name}")


def test_a_batch_that_runs_again_after_a_crash_counts_nothing_twice(
    new_shop: Callable[[], Bench], spark: SparkEngine, tmp_path: Path
) -> None:
    events = wild_stream(22, users=3, count=60, late=0)
    shop = new_shop()
    shop.build(events, items=list(ITEMS.values()))
    incoming, out, checkpoint = tmp_path / "in", tmp_path / "out", tmp_path / "checkpoint"
    incoming.mkdir()
    write_json(incoming / "1.json", events[:30])
    with shop.lake.step("stream") as step:
        places = Places(spark, step, SparkSettings())
        stream_on_spark(places, shop.settings, f"json:{incoming}", out, checkpoint)
        write_json(incoming / "2.json", events[30:])
        stream_on_spark(places, shop.settings, f"json:{incoming}", out, checkpoint)
        wanted = newest(out)
        last = max((checkpoint / "commits").glob("[0-9]*"), key=lambda path: int(path.name))
        last.unlink()  # as if the process had died before the batch was known to be done
        (last.parent / f".{last.name}.crc").unlink(missing_ok=True)
        stream_on_spark(places, shop.settings, f"json:{incoming}", out, checkpoint)
    assert newest(out) == wanted


def test_an_unknown_source_is_said(new_shop: Callable[[], Bench], spark: SparkEngine, tmp_path: Path) -> None:
    shop = new_shop()
    shop.build(wild_stream(23, users=2, count=20))
    with shop.lake.step("stream") as step, pytest.raises(SourceError, match="rabbit"):
        stream_on_spark(Places(spark, step, SparkSettings()), shop.settings, "rabbit:queue", tmp_path, tmp_path / "c")
