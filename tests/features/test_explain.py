"""`huaxiang features explain`: the arithmetic is that of the value, and nothing of the shop's text is lost on the way."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from rich.console import Console

from huaxiang import Shop
from huaxiang.features.live import upkeep
from huaxiang.features.show import explanation_json, show_explanation

MINE = """
[features.mine.spread]
agg = "ratio"
top = "lines_90d"
bottom = "orders_90d"
[features.mine.lines_90d]
agg = "count"
where = "event in ('purchase', 'refund')"
window = "90d"
[features.mine.p90]
agg = "quantile"
column = "price"
q = 0.9
[features.mine.last_items]
agg = "sequence"
column = "item_id"
k = 3
[features.mine.things]
agg = "distinct"
column = "item_id"
[features.mine.run]
agg = "streak"
[features.mine.lines_trend_7d]
agg = "trend"
window = "7d"
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("explain")
    with (folder / "orders.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["order_id", "user_id", "item_id", "category", "quantity", "price", "order_time"])
        for number in range(40):  # a line a day, the last on 2025-02-09
            day = f"2025-{1 + number // 31:02d}-{1 + number % 31:02d} 10:00:00"
            writer.writerow([f"o{number}", "a", f"i{number}", "shoes > [men]", 1, 10 + number, day])
    Shop.init(folder / "shop", [str(folder / "orders.csv")]).close()
    settings = folder / "shop" / "huaxiang.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + MINE, encoding="utf-8")
    with Shop.open(folder / "shop") as opened:
        opened.collect()
        opened.clean()
        opened.build()
        yield opened


def shown(shop: Shop, name: str, lang: str = "en") -> str:
    text = io.StringIO()
    show_explanation(shop.explain(name, "a"), Console(file=text, width=200), lang)  # type: ignore[arg-type]
    return text.getvalue()


def test_times_of_events_carry_the_offset_of_the_shops_clock(shop: Shop) -> None:
    found = shop.explain("orders_90d", "a")
    at = found.evidence.latest[0]["ts"]  # UTC; in Shanghai it is eight hours later
    told = f"{at + timedelta(hours=8):%Y-%m-%dT%H:%M:%S}+08:00"
    assert explanation_json(found, "Asia/Shanghai")["latest"][0]["ts"] == told
    text = io.StringIO()
    show_explanation(found, Console(file=text, width=200), "en", zone="Asia/Shanghai")
    assert told.replace("T", " ") in text.getvalue()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_feature_is_explained_before_there_are_profiles(shop: Shop, lang: str) -> None:
    for feature in shop.features():
        text = shown(shop, feature["name"], lang)
        assert feature["name"] in text and feature["version"] in text


def test_text_in_brackets_is_shown_and_not_read_as_markup(shop: Shop) -> None:
    assert "shoes > [men] 100.0%" in shown(shop, "top_categories")
    assert "[i39, i38, i37]" in shown(shop, "last_items")


def test_arithmetic_over_many_keys_is_that_of_the_value(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "KEYS_KEPT", 5)
    found = shop.explain("things", "a")
    assert found.value == 40 and found.steps[0].value == 40


@pytest.mark.parametrize(
    ("name", "events"),
    [
        pytest.param("lines_trend_7d", 14, id="both windows"),
        pytest.param("spread", 40, id="the windows of its parts"),
        pytest.param("last_items", 40, id="events with the column"),
        pytest.param("p90", 40, id="events with a price"),
    ],
)
def test_events_behind_a_value_are_those_it_is_made_of(shop: Shop, name: str, events: int) -> None:
    assert shop.explain(name, "a").evidence.events == events


def test_quantile_shows_the_values_on_either_side(shop: Shop) -> None:
    """40 prices 10 … 49: place .9 × 39 = 35.1, between 45 and 46."""
    found = shop.explain("p90", "a")
    assert [step.value for step in found.steps] == pytest.approx([40, 35.1, 45, 46])
    assert found.value == pytest.approx(45.1)


def test_score_shows_who_stands_before(shop: Shop) -> None:
    found = shop.explain("f_score", "a")
    own, buyers, before = (step.value for step in found.steps)
    assert (own, buyers, before) == (40, 1, 0)
    assert found.value == 1 + int(5 * before / buyers)
    assert [step.value for step in shop.explain("rfm", "a").steps] == [1, 1, 1]


def test_events_of_a_filter_are_named(shop: Shop) -> None:
    text = shown(shop, "lines_90d")
    assert re.search(r"event IN \(purchase, refund\)", text) and "event_no" not in text
