"""Files into the raw tables: what each row becomes, and that nothing is taken in twice or lost."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from huaxiang.clean import clean_tables, set_aside
from huaxiang.errors import SourceError, TrustError
from huaxiang.settings import Settings
from huaxiang.trust import Pseudonyms

Source = Callable[..., dict[str, Any]]
CSV = "user,item,at,what\n1,A,2024-01-01 10:00:00,buy\n2.0,B,2024-01-01 11:00:00,pv\n"


def test_csv_row_becomes_an_event_with_a_pseudonym(shop: Any, events: Source) -> None:
    shop.write("orders.csv", CSV)
    report = shop.collect(events())
    assert report.rows == {"events": 2} and report.lines == 2
    assert shop.rows("events", "user_id", "item_id", "event", "ts", "source") == sorted(
        [
            (shop.of("1"), "A", "purchase", datetime(2024, 1, 1, 10), "orders"),
            (shop.of("2"), "B", "view", datetime(2024, 1, 1, 11), "orders"),
        ]
    )
    assert shop.vault.get(shop.of("2")) == {"shop_id": "2"}


def test_same_file_again_adds_nothing(shop: Any, events: Source) -> None:
    shop.write("orders.csv", CSV)
    shop.collect(events())
    report = shop.collect(events())
    assert report.rows == {} and report.sources[0].files[0].unchanged and shop.lake.rows("raw.events") == 2
    shop.folder.joinpath("orders.csv").rename(shop.folder / "renamed.csv")
    report = shop.collect(events(**{"from": "renamed.csv"}))
    assert report.rows == {"events": 0} and report.repeated == 2 and shop.lake.rows("raw.events") == 2


def test_grown_file_adds_only_its_new_rows_and_keeps_repetitions(shop: Any, events: Source) -> None:
    line = "1,A,2024-01-01 10:00:00,buy\n"
    shop.write("orders.csv", CSV + line)  # the first row twice: two purchases
    assert shop.collect(events()).rows == {"events": 3}
    shop.write("orders.csv", CSV + line + line + "3,C,2024-01-02 10:00:00,buy\n")
    assert shop.collect(events()).rows == {"events": 2}
    shop.write("orders.csv", "user,item,at,what\n")  # rows that a file no longer has stay
    shop.collect(events())
    assert shop.lake.rows("raw.events") == 5
    assert len({row[0] for row in shop.rows("events", "row_id")}) == 5


def test_row_in_two_overlapping_files_is_one(shop: Any, events: Source) -> None:
    shop.write("a-1.csv", CSV)
    shop.write("a-2.csv", CSV + "3,C,2024-01-02 10:00:00,buy\n")
    report = shop.collect(events(**{"from": "a-*.csv"}))
    assert report.rows == {"events": 3} and report.repeated == 2


def test_mended_mapping_takes_effect_on_rows_stored_before(shop: Any, events: Source) -> None:
    shop.write("orders.csv", CSV)
    shop.collect(events())
    shop.collect(events(timezone="Asia/Shanghai"))
    assert [row[0] for row in shop.rows("events", "ts")] == [datetime(2024, 1, 1, 2), datetime(2024, 1, 1, 3)]


def test_other_key_is_refused(shop: Any, events: Source) -> None:
    shop.write("orders.csv", CSV)
    shop.collect(events())
    shop.pseudonyms = Pseudonyms(b"q" * 32)
    with pytest.raises(TrustError, match="not the one"):
        shop.collect(events())


TIMES = [
    ("2024-01-01 10:00:00", {"timezone": "Asia/Shanghai"}, datetime(2024, 1, 1, 2)),
    ("2024-01-01T10:00:00Z", {"timezone": "Asia/Shanghai"}, datetime(2024, 1, 1, 10)),
    ("2024-01-01T10:00:00.5+08:00", {}, datetime(2024, 1, 1, 2, 0, 0, 500000)),
    ("2024-01-01 10:00:00 +0800", {}, datetime(2024, 1, 1, 2)),
    ("2024-01-01 10:00:00-05", {"timezone": "Asia/Shanghai"}, datetime(2024, 1, 1, 15)),
    ("2024/1/5 3:04", {}, datetime(2024, 1, 5, 3, 4)),
    ("20240105", {}, datetime(2024, 1, 5)),
    ("2024年1月5日", {}, datetime(2024, 1, 5)),
    ("1511544070", {"unit": "s"}, datetime(2017, 11, 24, 17, 21, 10)),
    ("1511544070000", {}, datetime(2017, 11, 24, 17, 21, 10)),
    ("1511544070.25", {"unit": "s"}, datetime(2017, 11, 24, 17, 21, 10, 250000)),
    ("05.01.2024 03:04", {"format": "%d.%m.%Y %H:%M"}, datetime(2024, 1, 5, 3, 4)),
    ("05/Jan/2024:03:04:05 +0100", {"format": "%d/%b/%Y:%H:%M:%S %z"}, datetime(2024, 1, 5, 2, 4, 5)),
    ("2024-07-01 12:00:00", {"timezone": "Europe/London"}, datetime(2024, 7, 1, 11)),
]


@pytest.mark.parametrize(("text", "how", "expected"), TIMES, ids=[text for text, _, _ in TIMES])
def test_time_is_read_as_utc(shop: Any, events: Source, text: str, how: dict[str, str], expected: datetime) -> None:
    shop.write("orders.csv", f"user,item,at,what\n1,A,{text},buy\n")
    shop.collect(events(map={"ts": {"column": "at"} | how}))
    assert shop.rows("events", "ts", "bad") == [(expected, None)]


NUMBERS = [
    ("19.99", 19.99), ("¥1,234.50", 1234.5), ("1.234,50 €", 1234.5), ("1.234.567", 1234567.0), ("12,5", 12.5), ("(12.00)", -12.0),
    ("-3", -3.0), ("1e3", 1000.0), ("nan", None), ("", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), NUMBERS, ids=[text or "empty" for text, _ in NUMBERS])
def test_money_is_read_as_a_number(shop: Any, events: Source, text: str, expected: float | None) -> None:
    shop.write("orders.csv", f'user,item,at,what,paid\n1,A,2024-01-01,buy,"{text}"\n')
    shop.collect(events(map={"amount": "paid"}))
    assert shop.rows("events", "amount", "bad") == [(expected, None)]


def test_misfit_is_null_and_kept_masked_in_bad(shop: Any, events: Source) -> None:
    shop.write("orders.csv", "user,item,at,what,n\n1,A,2024-01-01,buy,2\n2,B,2024-01-01,buy,two\n3,C,someday,buy,inf\n")
    report = shop.collect(events(map={"quantity": "n"}))
    found = {
        row[0]: (row[1], row[2] and json.loads(row[2])) for row in shop.rows("events", "item_id", "quantity", "bad")
    }
    assert found == {
        "A": (2.0, None),
        "B": (None, {"quantity": "xxx"}),
        "C": (None, {"quantity": "inf", "ts": "xxxxxxx"}),
    }
    assert report.sources[0].misfits == {"events": 2}


def test_amount_and_price_are_made_of_each_other(shop: Any, events: Source) -> None:
    shop.write(
        "orders.csv",
        "user,item,at,what,n,p,paid\n1,A,2024-01-01,buy,2,3.5,\n1,B,2024-01-01,buy,4,,10\n1,C,2024-01-01,buy,0,,10\n",
    )
    shop.collect(events(map={"quantity": "n", "price": "p", "amount": "paid"}))
    assert shop.rows("events", "item_id", "price", "amount") == [("A", 3.5, 7.0), ("B", 2.5, 10.0), ("C", None, 10.0)]


def test_values_empty_scale_constant_joined_extra_where_and_distinct(shop: Any) -> None:
    shop.write(
        "log.csv",
        "user,sku,c1,c2,kind,cents,colour\n1,7.0,Food,Fruit,4.0,250,red\n2,7,Food,Fruit,1,-1,red\n3,8,Toys,,9,100,blue\n4,9,X,Y,4,1,x\n",
    )
    source = {
        "name": "log",
        "from": "log.csv",
        "to": [
            {
                "table": "events",
                "where": "colour != 'x' and sku <= 8",
                "map": {
                    "user_id": "user", "item_id": "sku", "ts": {"value": "2024-01-01"}, "channel": {"value": "app"},
                    "event": {"column": "kind", "values": {"4": "buy", "1": "view"}}, "price": {"column": "cents", "scale": 0.01, "empty": ["-1"]},
                },
            },
            {"table": "items", "distinct": True, "extra": ["colour"], "where": "c1 in ('Food', 'Toys')", "map": {"item_id": "sku", "category": {"columns": ["c1", "c2"]}}},
        ],
    }  # fmt: skip
    report = shop.collect(source)
    assert shop.rows("events", "item_id", "event", "price", "channel") == [
        ("7", "purchase", 2.5, "app"),
        ("7", "view", None, "app"),
        ("8", "9", 1.0, "app"),
    ]
    assert shop.rows("items", "item_id", "category", "extra") == [
        ("7", "Food > Fruit", '{"colour":"red"}'), ("7", "Food > Fruit", '{"colour":"red"}'), ("8", "Toys", '{"colour":"blue"}')
    ]  # fmt: skip
    assert {count.table: (count.rows, count.left_out) for count in report.sources[0].files[0].tables} == {
        "events": (3, 1),
        "items": (3, 1),
    }


def test_one_line_may_make_two_events(shop: Any) -> None:
    shop.write("o.csv", "user,ordered,returned\n1,2024-01-01,2024-01-05\n")
    two = [
        {"table": "events", "map": {"user_id": "user", "event": {"value": what}, "ts": at}}
        for what, at in (("purchase", "ordered"), ("refund", "returned"))
    ]
    source = {"name": "o", "from": "o.csv", "to": two}
    assert shop.collect(source).rows == {"events": 2}
    shop.write("o.csv", "user,ordered,returned\n1,2024-01-01,2024-01-05\n2,2024-01-01,2024-01-05\n")
    assert shop.collect(source).rows == {"events": 2}
    assert len({row[0] for row in shop.rows("events", "event_id")}) == 4


def test_json_lines_are_flattened_and_bad_lines_rejected(shop: Any, events: Source) -> None:
    lines = [
        '{"user": 1, "props": {"item": "A", "lines": [{"n": 3}]}, "at": 1704067200, "what": "Order Completed"}',
        "not json 13812345678",
        "",
        '{"user": "2", "props.item": "B", "at": 1704067200, "what": "ViewProduct"}',
        "[1]",
    ]
    shop.write("orders.jsonl", "\n".join(lines) + "\n")
    over = {"item_id": "props.item", "quantity": "props.lines.0.n", "ts": {"column": "at", "unit": "s"}}
    report = shop.collect(events(**{"from": "orders.jsonl", "format": "jsonl"}, map=over))
    assert report.lines == 4 and report.rejected == 2
    assert shop.rows("events", "item_id", "event", "quantity") == [("A", "purchase", 3.0), ("B", "view", None)]
    [first, second] = shop.rows("rejects", "line", "reason", "ref")
    assert first[:2] == (2, "not_json") and shop.vault.text(first[2]) == "not json 13812345678" and second[0] == 5


def test_parquet_and_gzip_and_utf16_give_the_same_rows(shop: Any, events: Source) -> None:
    shop.write("orders.csv", CSV.replace("A", "苹果"))
    shop.write("gz.csv", gzip.compress(CSV.replace("A", "苹果").encode()))
    shop.write("wide.csv", CSV.replace("A", "苹果").replace("\n", "\r\n").encode("utf-16"))
    shop.write("gb.csv", CSV.replace("A", "苹果").encode("gb18030"))
    shop.write("bom.csv", b"\xef\xbb\xbf" + CSV.replace("A", "苹果").encode())
    at = pa.array([datetime(2024, 1, 1, 10), datetime(2024, 1, 1, 11)], pa.timestamp("ms", "UTC"))
    pq.write_table(
        pa.table({"user": [1.0, 2.0], "p": [{"item": "苹果"}, {"item": "B"}], "at": at, "what": ["buy", "pv"]}),
        shop.folder / "o.parquet",
    )
    shop.collect(
        events(),
        events(name="gz", **{"from": "gz.csv"}),
        events(name="wide", encoding="utf-16", **{"from": "wide.csv"}),
        events(name="gb", encoding="gbk", **{"from": "gb.csv"}),
        events(name="bom", **{"from": "bom.csv"}),
        events(name="pq", format="parquet", map={"item_id": "p.item"}, **{"from": "o.parquet"}),
    )
    found: dict[str, list[Any]] = {}
    for source, *row in shop.rows("events", "source", "user_id", "item_id", "event", "ts"):
        found.setdefault(source, []).append(row)
    assert len(found) == 6 and all(rows == found["orders"] for rows in found.values())


def test_lines_that_are_no_rows_are_named_and_the_rest_goes_on(shop: Any, events: Source) -> None:
    good = "".join(f"{n},A,2024-01-01 00:00:{n:02},buy\n" for n in range(30))
    body = (
        'x,"open quote,2024-01-01,buy\n'
        + good
        + '5,"two\nlines",2024-01-01,buy\r\n6,C\n7,D,2024-01-01,buy,more,and more\n"bad"quote,E,2024,buy\n\n8,F,2024-01-01,buy,,,\n'
    )
    shop.write("orders.csv", "user,item,at,what\n" + body)
    report = shop.collect(events())
    assert report.rows == {"events": 32} and report.lines == 36
    assert shop.rows("rejects", "line", "reason") == [(2, "quote"), (35, "too_few"), (36, "too_many"), (37, "quote")]
    assert ("two\nlines",) in shop.rows("events", "item_id")
    assert shop.vault.text(shop.rows("rejects", "ref", "line")[0][0]) is not None
    shop.write("orders.csv", "user,item,at,what\n" + body + "9,G,2024-01-01,buy\n")
    shop.collect(events())
    assert shop.lake.rows("raw.rejects") == 4 and shop.lake.rows("raw.events") == 33


def test_ten_million_commas_in_a_line_are_one_reject(shop: Any, events: Source) -> None:
    shop.write("orders.csv", CSV.encode() + b"x," * 5_000_000 + b"\n3,C,2024-01-01,buy\n")
    report = shop.collect(events())
    assert report.rows == {"events": 3} and shop.rows("rejects", "line", "reason") == [(4, "too_long")]


def test_database_files_are_read(shop: Any, events: Source) -> None:
    import sqlite3

    with sqlite3.connect(shop.folder / "s.db") as made:
        made.execute("CREATE TABLE orders (user INTEGER, item TEXT, at TEXT, what TEXT)")
        made.execute("INSERT INTO orders VALUES (1, 'A', '2024-01-01 10:00:00', 'buy')")
    made.close()
    with duckdb.connect(shop.folder / "d.duckdb") as other:
        other.execute(
            "CREATE TABLE orders AS SELECT 2 AS user, 'B' AS item, TIMESTAMP '2024-01-01 11:00:00' AS at, 'pv' AS what"
        )
    report = shop.collect(
        events(name="s", format="database", db_table="orders", **{"from": "sqlite:///s.db"}),
        events(
            name="d", format="database", query="SELECT * FROM orders WHERE user > 1;", **{"from": "duckdb:///d.duckdb"}
        ),
    )
    assert report.rows == {"events": 2}
    assert shop.rows("events", "source", "item_id", "event") == [("d", "B", "view"), ("s", "A", "purchase")]


def test_lists_of_numbers_are_read_however_they_are_written(shop: Any) -> None:
    """JSON, commas, semicolons, bars and spaces; a word among them, a missing one and infinity make the list unreadable."""
    written = [
        "[0.5, -1e-2]",
        "0.5,-0.01",
        "0.5;-0.01",
        "0.5 | -0.01",
        " 0.5  -0.01 ",
        "[0.5, high]",
        "[0.5, null]",
        "[0.5, inf]",
        "[]",
        "",
    ]
    rows = "".join(f"p{number}\t{text}\n" for number, text in enumerate(written))
    shop.write("products.tsv", "sku\tvector\n" + rows)
    columns = {"item_id": "sku", "content_vector": "vector"}
    shop.collect(
        {
            "name": "products",
            "from": "products.tsv",
            "delimiter": "\t",
            "quote": "",
            "to": [{"table": "items", "map": columns}],
        }
    )
    found = shop.rows("items", "item_id", "content_vector", "bad")
    assert [row[1] for row in found[:5]] == [pytest.approx([0.5, -0.01])] * 5
    assert [row[1] for row in found[5:]] == [None] * 5
    assert [row[2] is not None for row in found] == [False] * 5 + [True] * 4 + [False]


def test_a_few_lines_in_another_encoding_are_set_aside_and_the_rest_is_read(shop: Any, events: Source) -> None:
    rows = [f"{n},苹果{n},2024-01-01,buy\n".encode() for n in range(300)]
    rows[99] = "99,梨,2024-01-01,购买\n".encode("gbk")  # line 101: after the header
    rows[200] = b"200,half a row\n"  # line 202
    shop.write("orders.csv", b"user,item,at,what\n" + b"".join(rows))
    report = shop.collect(events())
    assert shop.lake.rows("raw.events") == 298
    assert sorted(shop.rows("rejects", "line", "reason")) == [(101, "encoding"), (202, "too_few")]
    [ref] = [ref for reason, ref in shop.rows("rejects", "reason", "ref") if reason == "encoding"]
    assert shop.vault.text(ref) == "99,\\xc0\\xe6,2024-01-01,\\xb9\\xba\\xc2\\xf2"
    assert report.sources[0].files[0].rejected == 2
    [few, other] = sorted(set_aside(shop.lake, shop.vault.text), key=lambda line: str(line["text"]), reverse=True)
    assert (few["file"], few["line"], few["reason"], few["text"]) == ("orders.csv", 202, "too_few", "000,xxxx x xxx")
    assert (other["line"], other["text"]) == (101, "00,??,0000-00-00,????")
    assert [line["line"] for line in set_aside(shop.lake, shop.vault.text, reason="encoding")] == [101]
    with shop.lake.step("clean") as step:
        cleaned = clean_tables(step, Settings(), now=datetime(2024, 6, 1))
    assert cleaned.set_aside == {"encoding": 1, "too_few": 1} and cleaned.rows.raw == 298


def test_more_than_a_hundredth_of_lines_in_another_encoding_is_the_wrong_encoding(shop: Any, events: Source) -> None:
    rows = [f"{n},苹果,2024-01-01,buy\n".encode("gbk" if n < 4 else "utf-8") for n in range(300)]  # 4 of 301
    shop.write("orders.csv", b"user,item,at,what\n" + b"".join(rows))
    with pytest.raises(SourceError, match=r"does not fit|no valid"):
        shop.collect(events())
    assert not shop.lake.has("raw.events")


def test_rows_with_another_time_format_that_leaves_no_doubt_are_read(shop: Any, events: Source) -> None:
    cells = ["05/01/2024", "2024/01/05", "2024-01-05", "Jan 5, 2024", "2024年01月05日", "05/01/2024 10:30"]
    doubtful = ["01/13/2024", "20240105"]  # month first, and digits alone: nobody stated them
    text = "user,item,at,what\n" + "".join(f'{n},A,"{cell}",buy\n' for n, cell in enumerate(cells + doubtful))
    shop.write("orders.csv", text)
    formats = ["%d/%m/%Y", "%d/%m/%Y %H:%M"]
    shop.collect(events(map={"ts": {"column": "at", "format": formats}}))
    found = shop.rows("events", "ts")
    fifth = datetime(2024, 1, 5)
    assert [row[0] for row in found if row[0]] == [fifth] * 5 + [datetime(2024, 1, 5, 10, 30)]
    assert sum(row[0] is None for row in found) == 2
