"""Profiles going out: files, the terminal, the examples, and finding one."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len
from rich.console import Console

from huaxiang.engine import Lake
from huaxiang.errors import HuaxiangError, ShopError, UnknownUserError
from huaxiang.profile import export_profiles, find_user, pick_examples, profile_document, show_profile
from huaxiang.profile.wrap import wrap_cells
from huaxiang.trust import Pseudonyms
from huaxiang.words import Lang

from .conftest import LOOKER, LOYAL, SETTINGS, SILENT, Build, users

ALL = ["looker000001", "loyal0000001", "nevercame001", "silent000001"]


def printed(lake: Lake, user_id: str, lang: Lang, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    show_profile(profile_document(lake, SETTINGS, user_id), console, lang)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# ---- files -------------------------------------------------------------------------------------------------------


def test_parquet_holds_the_table(teahouse: Lake, tmp_path: Path) -> None:
    assert export_profiles(teahouse, SETTINGS, tmp_path / "p.parquet") == 4
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column("user_id").to_pylist() == ALL
    assert table.column("tags").to_pylist()[0] == ["window_shopper", "cart_leaver"]


def test_csv_writes_lists_as_json(teahouse: Lake, tmp_path: Path) -> None:
    export_profiles(teahouse, SETTINGS, tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["user_id"]: row for row in csv.DictReader(file)}
    assert json.loads(rows["loyal0000001"]["top_categories"])[0]["key"] == "Drinks > Coffee"
    assert json.loads(rows["looker000001"]["tags"]) == ["window_shopper", "cart_leaver"]
    assert rows["looker000001"]["gender"] == ""


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_csv_disarms_what_a_spreadsheet_would_run(build: Build, lake: Lake, tmp_path: Path, start: str) -> None:
    build([LOYAL], ready_users=users([{"user_id": "loyal0000001", "city": start}]))
    export_profiles(lake, SETTINGS, tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    assert row["city"] == f"'{start}"
    assert row["spend_trend_30d"] == "0.5"


def test_documents_are_one_a_line(teahouse: Lake, tmp_path: Path) -> None:
    assert export_profiles(teahouse, SETTINGS, tmp_path / "p.jsonl", what="documents") == 4
    lines = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["user_id"] for line in lines] == ALL
    assert json.loads(lines[1]) == profile_document(teahouse, SETTINGS, ALL[1]).to_dict()


@pytest.mark.parametrize(
    ("name", "what", "message"),
    [
        ("p.xlsx", "traits", r"\.parquet, \.csv, \.jsonl"),
        ("p", "traits", "name a file that ends in"),
        ("p.csv", "documents", "write them as .jsonl"),
        ("p.csv", "everything", "traits"),
        ("no/such/p.csv", "traits", "does not exist"),
    ],
    ids=["suffix", "no suffix", "nested", "what", "folder"],
)
def test_export_that_cannot_be_names_the_mend(
    teahouse: Lake, tmp_path: Path, name: str, what: str, message: str
) -> None:
    with pytest.raises(HuaxiangError, match=message):
        export_profiles(teahouse, SETTINGS, tmp_path / name, what=what)
    assert not (tmp_path / name).exists()


def test_failed_export_leaves_the_file_that_was_there(
    teahouse: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "p.jsonl"
    target.write_text("yesterday")
    monkeypatch.setattr(
        "huaxiang.profile.export.profile_documents", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(OSError, match="No space"):
        export_profiles(teahouse, SETTINGS, target, what="documents")
    assert target.read_text() == "yesterday"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith("jsonl")] == ["p.jsonl"]


# ---- terminal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_profile_fits_the_terminal(teahouse: Lake, lang: Lang, width: int) -> None:
    for user_id in ALL:
        lines = printed(teahouse, user_id, lang, width).splitlines()
        assert {cell_len(line) for line in lines} == {width}  # a frame that is straight in every line


def test_terminal_shows_who_what_next_and_why(teahouse: Lake) -> None:
    english = printed(teahouse, "loyal0000001", "en", 100)
    for part in (
        "Teahouse, as of 1 Jul 2024",
        "likes Coffee",
        "¥4,182.37",
        "What comes next",
        "3.1%",
        "Last purchase: 4 days ago, lowers it",
        "Why we say so",
    ):
        assert part in english
    chinese = printed(teahouse, "loyal0000001", "zh", 100)
    for part in (
        "Teahouse，截至2024年7月1日",
        "偏爱 Coffee",
        "近一年消费",
        "接下来",
        "未来 30 天内不再购买",
        "最近购买：4 天前，使其降低",
        "依据",
    ):
        assert part in chinese


def test_markup_in_a_name_is_only_text(build: Build, lake: Lake) -> None:
    build([LOYAL | {"top_categories": [{"key": "[red]x[/] > [bold]Y", "share": 0.5, "score": 1.0}]}])
    assert "[bold]Y" in printed(lake, "loyal0000001", "en", 100)


def test_chinese_wraps_at_any_character_but_not_before_punctuation() -> None:
    assert wrap_cells("最近一次购买在十五天以内。", 10) == "最近一次购\n买在十五天\n以内。"
    assert wrap_cells("一二三四五。六", 10) == "一二三四\n五。六"
    assert wrap_cells("spend of the last year", 10) == "spend of\nthe last\nyear"
    assert wrap_cells("", 10) == ""


# ---- examples, finding -------------------------------------------------------------------------------------------


def test_examples_differ_and_do_not_change(teahouse: Lake, build: Build, lake: Lake) -> None:
    assert pick_examples(teahouse, 3) == pick_examples(teahouse, 3)
    gold = [LOYAL | {"user_id": f"gold{n}", "spend_365d": 9000.0 + n} for n in range(3)]
    plain = [SILENT | {"user_id": f"plain{n}"} for n in range(20)]
    build([*gold, *plain, LOOKER, LOYAL | {"user_id": "fresh", "first_purchase_days": 5}])
    picked = pick_examples(lake, 3)
    assert [user[:4] for user in picked] == ["gold", "plai", "fres"]


def test_small_shop_gives_as_many_examples_as_it_has(build: Build, lake: Lake) -> None:
    build([LOYAL])
    assert pick_examples(lake, 3) == ["loyal0000001"]


def test_examples_before_profiles_name_the_mend(lake: Lake) -> None:
    with pytest.raises(ShopError, match="huaxiang run"):
        pick_examples(lake)


def test_customer_is_found_by_the_shops_id_and_by_pseudonym(build: Build, lake: Lake) -> None:
    keyed = Pseudonyms(b"k" * 32)
    build([LOYAL | {"user_id": keyed.of("17850")}])
    for typed in ("17850", " 17850 ", keyed.of("17850")):
        assert find_user(lake, keyed, typed) == keyed.of("17850")


@pytest.mark.parametrize("typed", ["13800138000", "", "' OR 1=1 --", "x" * 10_000])
def test_unknown_customer_is_said_without_repeating_what_was_typed(teahouse: Lake, typed: str) -> None:
    with pytest.raises(UnknownUserError, match="no customer with that id") as error:
        find_user(teahouse, Pseudonyms(b"k" * 32), typed)
    assert not typed or typed not in str(error.value)
