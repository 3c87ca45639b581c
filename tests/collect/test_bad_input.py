"""Bad input at the door: one clear error with its mend, and a shop that is as it was."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from huaxiang.errors import SourceError

Source = Callable[..., dict[str, Any]]
GOOD = "user,item,at,what\n1,A,2024-01-01,buy\n"
GZ = gzip.compress((GOOD + "2,B,2024-01-01,buy\n" * 50_000).encode())

FILES = [
    ("empty", b"", {}, "is empty"),
    ("blank", b"\n \n", {}, "is empty"),
    ("png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, {}, "looks like PNG"),
    ("xlsx", b"PK\x03\x04" + b"\x00" * 99, {}, "(?s)Excel.*save it as CSV"),
    ("nul bytes", b"a,b\x00c\n" * 9, {}, "looks like binary"),
    ("gbk", GOOD.encode() + "3,大家电视机冰箱洗衣机,2024-01-01,购买\n".encode("gbk") * 5, {}, '(?s)byte 39 does not fit.*encoding = "gb18030"'),
    ("cut gzip", GZ[: len(GZ) // 2], {}, "cut off"),
    ("damaged gzip", GZ[:20] + b"\xff" * 40 + GZ[60:], {}, "damaged|cut off"),
    ("other columns", b"user,artikel,at,what\n1,A,2024-01-01,buy\n", {"map": {"item_id": "artikle"}}, "(?s)no column artikle.*did you mean artikel"),
    ("twice", b"user,item,at,what,item\n1,A,2024-01-01,buy,B\n", {}, "two columns named item"),
    ("wide header", b"user,item,at,what" + b"," * 10_000_000 + b"\n1\n", {}, "columns in its first line"),
    ("wrong delimiter", b"user,item,at,what\n" + b"1;A;2024-01-01;buy\n" * 20, {}, "20 lines are no rows"),
    ("column count", GOOD.encode(), {"header": False, "columns": ["a", "b"]}, "has 4 columns; source orders names 2"),
    ("not parquet", GOOD.encode(), {"format": "parquet"}, "not a Parquet"),
    ("cut parquet", b"PAR1" + b"x" * 100, {"format": "parquet"}, "damaged Parquet"),
    ("no such encoding", GOOD.encode(), {"encoding": "klingon"}, "no encoding is named klingon"),
    ("empty user column", b"user,item,at,what\n1,A,,buy\n", {}, "every row of at is empty"),
    ("zone", GOOD.encode(), {"timezone": "Mars/Base"}, "no time zone"),
    ("time format", GOOD.encode(), {"map": {"ts": {"column": "at", "format": "%Q"}}}, "no time format"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "over", "match"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_file_that_cannot_be_read_gets_one_clear_error(
    shop: Any, events: Source, data: bytes, over: dict[str, Any], match: str
) -> None:
    shop.write("good.csv", GOOD)
    shop.collect(events(name="good", **{"from": "good.csv"}))
    shop.write("orders.csv", data)
    start = time.perf_counter()
    with pytest.raises(SourceError, match=match) as caught:
        shop.collect(events(name="good", **{"from": "good.csv"}), events(**over))
    assert time.perf_counter() - start < 10
    assert caught.value.say("zh") and "{" not in caught.value.say("zh")
    assert shop.lake.rows("raw.events") == 1 and shop.lake.note("collect")["files"].keys() == {"good"}


PATHS = [
    ("missing", "ordres.csv", r"(?s)no file .*ordres\.csv.*did you mean .*orders\.csv"),
    ("glob", "x-*.csv", "no file matches"),
    ("folder", ".", "is a folder"),
]


@pytest.mark.parametrize(("path", "match"), [case[1:] for case in PATHS], ids=[case[0] for case in PATHS])
def test_path_that_leads_nowhere_is_named(shop: Any, events: Source, path: str, match: str) -> None:
    shop.write("orders.csv", GOOD)
    with pytest.raises(SourceError, match=match):
        shop.collect(events(**{"from": path}))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_without_permission_is_named(shop: Any, events: Source) -> None:
    shop.write("orders.csv", GOOD).chmod(0)
    with pytest.raises(SourceError, match="may not be read"):
        shop.collect(events())


WHERE = [
    "1=1; drop table x",
    "item in (select 1)",
    "read_text('/etc/passwd') = 'x'",
    "exists(select 1)",
    "item = 'a' union select 1",
    "item",
    "length(item) > 1",
    "item = 'x' limit 1",
]


@pytest.mark.parametrize("where", WHERE)
def test_filter_allows_only_comparisons(shop: Any, events: Source, where: str) -> None:
    shop.write("orders.csv", GOOD)
    with pytest.raises(SourceError, match="not allowed"):
        shop.collect(events(to={"where": where}))


def test_required_column_not_mapped_is_named(shop: Any) -> None:
    shop.write("orders.csv", GOOD)
    with pytest.raises(SourceError, match="feeds events without ts"):
        shop.collect(
            {
                "name": "orders",
                "from": "orders.csv",
                "to": [{"table": "events", "map": {"user_id": "user", "event": "what"}}],
            }
        )


def test_no_source_and_two_of_one_name_are_errors(shop: Any, events: Source) -> None:
    with pytest.raises(SourceError, match="no source is set"):
        shop.collect()
    shop.write("orders.csv", GOOD)
    with pytest.raises(SourceError, match="have the name orders"):
        shop.collect(events(), events())


def test_character_cut_at_the_end_costs_one_line(shop: Any, events: Source) -> None:
    shop.write("orders.csv", (GOOD + "2,苹果,2024-01-01,b").encode() + "购".encode()[:2])
    report = shop.collect(events())
    assert report.lines == 2 and report.rows["events"] + report.rejected == 2


@pytest.mark.parametrize(
    ("text", "number"),
    [("12.5", 12.5), ("¥1,234.50", 1234.5), ("1e308", None), ("inf", None), ("-Infinity", None), ("nan", None), ("1e13", None), ("-3e11", -3e11)],
)  # fmt: skip
def test_a_number_no_shop_can_mean_is_not_read(text: str, number: float | None) -> None:
    from huaxiang.collect.values import number_sql
    from huaxiang.engine import Engine
    from huaxiang.engine.duck import quote

    with Engine(memory_gb=1) as engine:
        assert engine.value(f"SELECT {number_sql(quote(text))}") == number
