"""A feature declared from Python: checked first, then in huaxiang.toml beside what stood there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from huaxiang.errors import HuaxiangError
from huaxiang.shop import SETTINGS, Shop


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_shop, tmp_path / "shop")


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
