"""A first look at files: encodings, delimiters, headers, kinds of columns, and what cannot be read."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from huaxiang.collect.guess_find import column_from
from huaxiang.collect.seen import Look
from huaxiang.collect.sniff import guess_delimiter, has_header, look_at_file, name_columns
from huaxiang.collect.sniff_values import look_at_column
from huaxiang.collect.squeeze import Squeezer
from huaxiang.errors import SourceError

ORDERS = "订单编号,用户编号,商品名称,下单时间,实付金额\n" + "".join(
    f"A{number},u{number % 7},红色连衣裙,2024-01-{number % 28 + 1:02d} 10:00:00,{number}.50\n" for number in range(200)
)


def look(path: Path) -> Look:
    return look_at_file(path, str(path))


@pytest.mark.parametrize(
    ("encoding", "seen"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("gbk", "gb18030"),
        ("gb18030", "gb18030"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
    ],
)
def test_chinese_headers_are_read_in_every_encoding(tmp_path: Path, encoding: str, seen: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(ORDERS.encode(encoding))
    found = look(path)
    assert found.encoding == seen
    assert found.names == ("订单编号", "用户编号", "商品名称", "下单时间", "实付金额")
    assert [column.kind for column in found.columns] == ["code", "category", "category", "time", "float"]
    assert found.rows == 200


def test_big5_is_told_from_gb18030(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(("會員編號,商品名稱,時間\n" + "m1,紅色長裙很好看的衣服,2024-01-01\n" * 50).encode("big5"))
    assert look(path).encoding == "big5"


def test_a_latin_file_is_not_taken_for_chinese(tmp_path: Path) -> None:
    path = tmp_path / "kunden.csv"
    path.write_bytes(("customer_id;name;city\n" + "7;Jörg Müller;Köln\n8;Amélie Noël;Évian\n" * 40).encode("cp1252"))
    found = look(path)
    assert (found.encoding, found.delimiter) == ("cp1252", ";")


def test_one_chinese_line_deep_in_an_ascii_file_decides_its_encoding(tmp_path: Path) -> None:
    rows = [f"{number},2{number % 5},{number % 3}\n" for number in range(300_000)]
    rows[250_000] = "250000,56岁以上,1\n"
    path = tmp_path / "users.csv"
    path.write_bytes(("user_id,age,sex\n" + "".join(rows)).encode("gbk"))
    assert look(path).encoding == "gb18030"


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("a,b,c\n1,2,3\n", ","),
        ("a\tb\tc\n1\t2\t3\n", "\t"),
        ("a;b;c\n1,5;2,5;3\n2,5;7,5;1\n", ";"),
        ("a|b|c\n1|2|3\n", "|"),
        ("a\x01b\x01c\n1\x012\x013\n", "\x01"),
        ("id, name, city\n1, x, y\n2, , z\n", ", "),
        (" 00004 0001 19970101  2   29.33\n 00004 0001 19970118 12   29.73\n", " "),
        ('a,b\n"x, y",2\n', ","),
    ],
    ids=["comma", "tab", "semicolon", "pipe", "hive", "comma and space", "runs of spaces", "quoted comma"],
)
def test_the_delimiter_is_the_mark_that_gives_even_rows(text: str, mark: str) -> None:
    assert guess_delimiter(text) == mark


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        ([["user_id", "time"], ["1", "2024-01-01"]], True),
        ([["1", "2268318", "pv", "1511544070"], ["1", "2333346", "pv", "1511561733"]], False),
        ([["ann@example.com", "F"], ["bob@example.com", "M"]], False),
        ([["foo", "bar"], ["1", "2"]], True),
        ([["x", "y"], ["x", "z"], ["x", "y"]], False),
    ],
    ids=["names", "numbers", "e-mails", "unknown names over numbers", "repeats below"],
)
def test_a_first_row_of_values_is_no_header(rows: list[list[str]], header: bool) -> None:
    assert has_header(rows) is header


def test_repeated_and_missing_names_are_made_unique() -> None:
    assert name_columns(["x", "x", "", "X"], 5) == (("x", "x_2", "column3", "X_3", "column5"), True)
    assert name_columns(["a", "b"], 2) == (("a", "b"), False)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "-3"], "int"),
        (["1.5", "2", ".5"], "float"),
        (["¥1,234.50", "￥20", "8元"], "money"),
        (["36.24", "12.00", "7", "¥1,234.50"], "money"),
        (["1,50", "12,00", "1.234,56"], "comma"),
        (["1511544070", "1511561733"], "epoch"),
        (["1511544070123", "1511561733000"], "epoch"),
        (["2024-01-02 03:04:05", "2024-01-02T03:04:05Z"], "time"),
        (["2024-01-02", "2024-01-03"], "date"),
        (["20240102", "20231231"], "date"),
        (["2024年1月2日", "2024年12月30日"], "date"),
        (["12/31/2010 8:26", "1/2/2011 14:05"], "time"),
        (["true", "false"], "bool"),
        (["a@b.cn", "c.d@e.com"], "email"),
        (["13812345678", "+86 139 1234 5678"], "phone"),
        (["11010519491231002X", "440524198001010014"], "id_number"),
        (["", "NULL", "-"], "empty"),
        (["pv"] * 20 + ["buy"] * 5, "category"),
        (['[{"a": 1}]', "[]"], "list"),
    ],
)
def test_the_kind_of_a_column_is_read_from_its_values(values: list[str], kind: str) -> None:
    assert look_at_column("x", values).kind == kind


def test_formats_and_units_of_times_are_found() -> None:
    assert look_at_column("t", ["12/31/2010 8:26", "1/2/2011 14:05"]).format == "%m/%d/%Y %H:%M"
    assert look_at_column("t", ["31.12.2010", "02.01.2011"]).format == "%d.%m.%Y"
    assert look_at_column("t", ["1511544070123"]).unit == "ms"
    assert look_at_column("timestamp", ["881250949", "891717742"]).unit == "s"
    assert look_at_column("product", ["881250949", "891717742"]).kind == "int"
    # 01/02 … 05/02: day or month cannot be told, and only day-first keeps the rows in order
    both = look_at_column("t", ["05/01/2024", "06/01/2024", "01/02/2024", "02/02/2024"])
    assert (both.format, both.day_or_month) == ("%d/%m/%Y", True)


def test_titles_above_the_table_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text("Sales report 2024\n\nuser_id,time,total\n" + "u1,2024-01-01,5.0\n" * 9)
    assert (look(path).skip, look(path).names) == (1, ("user_id", "time", "total"))


def test_json_lines_parquet_and_gzip_are_told_by_their_bytes(tmp_path: Path) -> None:
    records = [
        {"user_id": f"u{n}", "properties": {"price": n / 2}, "items": [{"item_id": "i", "n": n}]} for n in range(50)
    ]
    lines = "\n".join(json.dumps(record) for record in records)
    (tmp_path / "a.dat").write_text(lines)
    (tmp_path / "b.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.json").write_text(json.dumps(records, indent=1))
    for name in ("a.dat", "b.gz", "c.json"):
        found = look(tmp_path / name)
        assert (found.format, found.names) == ("jsonl", ("user_id", "properties.price", "items.0.item_id", "items.0.n"))
        assert found.sampled == 50
    parquet.write_table(pa.table({"user_id": ["a", "b"], "n": [1, 2]}), tmp_path / "d.bin")
    assert (look(tmp_path / "d.bin").format, look(tmp_path / "d.bin").rows) == ("parquet", 2)


def _cut_gzip(path: Path) -> None:
    whole = gzip.compress("".join(f"u{n},{n * n}\n" for n in range(90_000)).encode())
    path.write_bytes(whole[: len(whole) // 2])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "blank": (lambda path: path.write_text("\n \n"), "is empty"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "excel": (lambda path: path.write_bytes(b"PK\x03\x04" + b"[Content_Types].xml xl/" * 9), "save each sheet as CSV"),
    "old excel": (lambda path: path.write_bytes(b"\xd0\xcf\x11\xe0" + bytes(99)), "save each sheet as CSV"),
    "zip": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99)), "zip archive"),
    "picture": (lambda path: path.write_bytes(b"\x89PNG\r\n" + bytes(99)), "PNG"),
    "binary": (lambda path: path.write_bytes(bytes(range(256)) * 40), "not a table of text"),
    "cut gzip": (_cut_gzip, "cut off"),
    "damaged gzip": (
        lambda path: path.write_bytes(gzip.compress(b"a,b\n1,2\n" * 99)[:-8] + b"01234567"),
        "damaged gzip",
    ),
    "damaged parquet": (lambda path: path.write_bytes(b"PAR1" + bytes(99)), "cannot be read"),
    "one column": (lambda path: path.write_text("hello\nworld\n"), "one column"),
    "broken json": (lambda path: path.write_text('{"a": \n{"b" \n'), "none of its lines"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_table_gets_one_clear_error(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "orders.csv"
    make(path)
    with pytest.raises(SourceError, match=message) as caught:
        look(path)
    assert "orders.csv" in caught.value.what("zh")
    assert caught.value.mend("zh")


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("a,b\n")
    with pytest.raises(SourceError, match=r"did you mean .*orders\.csv"):
        look(tmp_path / "order.csv")
    with pytest.raises(SourceError, match="there is no file"):
        look(tmp_path / "nowhere" / "x.csv")


def test_ten_million_commas_are_refused_quickly(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_bytes(b"," * 10_000_000)
    start = time.perf_counter()
    with pytest.raises(SourceError, match="columns in its first line"):
        look(path)
    assert time.perf_counter() - start < 5


def test_a_cut_last_line_is_a_doubt_not_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("".join(f"{n % 9},{n},pv,{1511544070 + n}\n" for n in range(100_000)) + "5,77,p")
    found = look(path)
    assert not found.header
    assert [key for key, _ in found.doubts] == ["odd_rows"]


@given(st.text(alphabet=" \tab\r\n", max_size=60), st.integers(1, 7))
def test_squeezing_in_pieces_equals_squeezing_at_once(text: str, size: int) -> None:
    whole, pieces = Squeezer(), Squeezer()
    assert whole(text) == "".join(pieces(text[at : at + size]) for at in range(0, len(text), size))


@given(st.lists(st.text(max_size=12), min_size=1, max_size=30))
def test_any_cells_have_a_kind(cells: list[str]) -> None:
    column = look_at_column("x", cells)
    assert column.filled <= len(cells)
    assert 0 <= column.misfit_share <= 1


def test_a_second_format_of_the_same_order_is_named_too() -> None:
    days = [f"{day:02d}/01/2024" for day in range(1, 29)] + ["14/01/2024 10:30"]
    found = look_at_column("ts", days)
    assert (found.format, found.also, found.misfit_share) == ("%d/%m/%Y", ("%d/%m/%Y %H:%M",), 0.0)
    assert column_from(found, "ts")["format"] == ["%d/%m/%Y", "%d/%m/%Y %H:%M"]
    other = look_at_column("ts", [*days[:28], "01/25/2024 10:30"])
    assert (other.format, other.also) == ("%d/%m/%Y", ())  # the month stands first there and nowhere else
