"""A feature declared from Python: checked first, then in huaxiang.toml beside what stood there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from huaxiang.errors import HuaxiangError
from huaxiang.shop import SETTINGS, Shop


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_shop.parent, tmp_path / "all") / "shop"  # its source files lie beside it


def test_added_feature_is_computed_by_the_next_build_and_survives_reopening(shop: Path) -> None:
    before = (shop / SETTINGS).read_text(encoding="utf-8")
    with Shop.open(shop) as opened:
        opened.add_feature("lines_ever", "count", where="event == 'purchase'", unit="lines")
        opened.build()
    assert (shop / SETTINGS).read_text(encoding="utf-8").startswith(before.rstrip())
    with Shop.open(shop) as again:
        found = again.engine.rows(again.lake.table("features"))
        bought = again.engine.rows(
            f"SELECT user_id, count(*) AS n FROM ({again.engine.sql(again.lake.table('ready.events'))}) "
            "WHERE event = 'purchase' GROUP BY user_id"
        )
    assert {row["user_id"]: row["lines_ever"] for row in found if row["lines_ever"]} == {
        row["user_id"]: row["n"] for row in bought
    }


def test_adding_it_again_replaces_it(shop: Path) -> None:
    with Shop.open(shop) as opened:
        opened.add_feature("mine", "count", window="7d")
        opened.add_feature("mine", "count", window="30d")
        assert opened.settings.features.mine["mine"].window == "30d"


@pytest.mark.parametrize(
    ("name", "rest", "says"),
    [
        ("mine", {"agg": "cuont"}, "count"),
        ("mine", {"agg": "count", "where": "evnt == 'purchase'"}, "event"),
        ("mine", {"agg": "count", "wher": "x"}, "where"),
        ("spend_30d", {"agg": "count"}, "spend_30d"),
    ],
    ids=["aggregation", "column", "setting", "name taken"],
)
def test_what_is_not_well_declared_is_refused_and_not_written(
    shop: Path, name: str, rest: dict[str, str], says: str
) -> None:
    before = (shop / SETTINGS).read_text(encoding="utf-8")
    with Shop.open(shop) as opened, pytest.raises(HuaxiangError, match=says):
        opened.add_feature(name, **rest)
    assert (shop / SETTINGS).read_text(encoding="utf-8") == before


@pytest.mark.parametrize("skipped", ["recency_days", "orders_365d", "spend_365d"])
def test_scores_stand_where_what_they_rank_is_skipped(shop: Path, skipped: str) -> None:
    text = (shop / SETTINGS).read_text(encoding="utf-8")
    with Shop.open(shop) as opened:
        opened.build()
        wanted = {row["user_id"]: row["rfm"] for row in opened.engine.rows(opened.lake.table("features"))}
    (shop / SETTINGS).write_text(f'{text}\n[features]\nskip = ["{skipped}"]\n', encoding="utf-8")
    with Shop.open(shop) as opened:
        opened.build()
        rows = opened.engine.rows(opened.lake.table("features"))
    assert skipped not in rows[0]
    assert {row["user_id"]: row["rfm"] for row in rows} == wanted


def test_feature_of_its_own_is_in_the_profile_with_its_evidence_and_in_the_report(shop: Path) -> None:
    with Shop.open(shop) as opened:
        opened.add_feature(
            "lines_ever", "count", where="event == 'purchase'", unit="lines", meaning="lines bought so far"
        )
        report = opened.run()
        user = opened.examples(1)[0]
        document = opened.profile(user).to_dict()
        row = next(row for row in opened.engine.rows(opened.lake.table("features")) if row["user_id"] == user)
    trait = next(
        trait
        for section in document["sections"].values()
        for trait in section["traits"]
        if trait["name"] == "lines_ever"
    )
    assert trait["value"] == row["lines_ever"] == trait["evidence"]["count"]
    assert "Lines bought so far" in report.read_text(encoding="utf-8")


def test_outcome_whose_among_is_skipped_says_so(shop: Path) -> None:
    text = (shop / SETTINGS).read_text(encoding="utf-8")
    (shop / SETTINGS).write_text(
        f'{text}\n[features]\nskip = ["orders_90d"]\n[outcomes.o]\nwithin = "7d"\namong = "orders_90d > 0"\n',
        encoding="utf-8",
    )
    with Shop.open(shop) as opened, pytest.raises(HuaxiangError, match="skip leaves out"):
        opened.build()
