"""Labels that are the value of the next event, and numbers cut into bands: against a walk over the events in plain Python."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from huaxiang.errors import DefinitionError
from huaxiang.features.outcomes import declare_outcome
from huaxiang.settings import Settings

from .conftest import Bench, Row

PURCHASE = "event == 'purchase'"
OUTCOMES = {
    "next_brand": {"agg": "first", "column": "brand", "where": PURCHASE, "within": "20d"},
    "next_amount": {"agg": "first", "column": "amount", "where": PURCHASE, "within": "20d"},
    "next_band": {"agg": "first", "column": "amount", "where": PURCHASE, "within": "20d", "bands": [10, 20.5]},
    "spend_band": {"agg": "sum", "column": "amount", "where": PURCHASE, "within": "20d", "bands": [1, 60]},
}
DAY = datetime(2024, 1, 1)
ITEMS: list[Row] = [{"item_id": f"i{place}", "brand": ("acme", "boxx", None)[place]} for place in range(3)]


def stream() -> list[Row]:
    found: list[Row] = []
    for user in range(6):
        for place in range(40 if user < 5 else 1):  # the last customer buys once, and never again
            ts = DAY + timedelta(days=place * (5 + user), hours=user)
            amount = None if place % 7 == 3 else float(5 + (place * 11 + user * 3) % 30)
            base: Row = {"user_id": f"u{user}", "ts": ts, "quantity": 1.0, "currency": "CNY"}
            found += [
                base | {"event": "page_view", "item_id": "i0"},
                base | {"event": "purchase", "item_id": f"i{(place + user) % 3}", "amount": amount},
                base | {"event": "purchase", "item_id": f"i{(place + user + 1) % 3}", "amount": 99.0},
            ]
    return found


def test_the_next_event_and_bands_of_numbers(shop: Bench) -> None:
    events = stream()
    shop.build(events, items=ITEMS, outcomes=OUTCOMES, train={"as_of_count": 3})
    labels = shop.rows("labels")
    brands = {row["item_id"]: row["brand"] for row in ITEMS}
    dates = {row["as_of"] for row in labels}
    training = {(row["user_id"], row["as_of"]) for row in shop.rows("training")}
    assert {row["outcome"] for row in labels} == set(OUTCOMES)
    wanted = set()
    for user, as_of in training:
        low = datetime.combine(as_of, datetime.min.time())
        if as_of not in dates:
            continue
        bought = [
            row
            for row in events
            if row["user_id"] == user and row["event"] == "purchase" and low <= row["ts"] < low + timedelta(days=20)
        ]
        brand = next((brands[row["item_id"]] for row in bought if brands[row["item_id"]]), None)
        amount = next((row["amount"] for row in bought if row["amount"] is not None), None)
        total = sum(row["amount"] or 0.0 for row in bought)
        if brand:
            wanted.add(("next_brand", user, as_of, None, brand))
        if amount is not None:
            wanted.add(("next_amount", user, as_of, amount, None))
            band = "<10" if amount < 10 else "10–20.5" if amount < 20.5 else "≥20.5"
            wanted.add(("next_band", user, as_of, None, band))
        wanted.add(("spend_band", user, as_of, None, "<1" if total < 1 else "1–60" if total < 60 else "≥60"))
    assert {(row["outcome"], row["user_id"], row["as_of"], row["number"], row["label"]) for row in labels} == wanted
    assert not any(row["user_id"] == "u5" and row["outcome"] != "spend_band" for row in labels)


@pytest.mark.parametrize(
    "declared",
    [
        {"agg": "any", "bands": [1]},
        {"agg": "first", "column": "brand", "bands": [1]},
        {"agg": "count", "bands": [2, 1]},
        {"agg": "count", "bands": [1, 1]},
        {"attribute": "users.gender", "bands": [1]},
    ],
)
def test_bands_need_rising_edges_and_a_number(declared: dict[str, object]) -> None:
    settings = Settings.model_validate({"outcomes": {"o": {"within": "5d"} | declared}})
    with pytest.raises(DefinitionError, match="bands"):
        declare_outcome("o", settings.outcomes["o"], {})


@pytest.mark.parametrize("declared", [{"agg": "first", "column": "ts"}, {"agg": "first", "column": "day"}, {"agg": "sum", "column": "brand"}])  # fmt: skip
def test_what_is_neither_a_class_nor_a_number_is_refused(declared: dict[str, str]) -> None:
    settings = Settings.model_validate({"outcomes": {"o": {"within": "5d"} | declared}})
    with pytest.raises(DefinitionError, match=declared["column"]):
        declare_outcome("o", settings.outcomes["o"], {})


def test_bands_of_great_numbers_keep_their_names_apart() -> None:
    settings = Settings.model_validate(
        {"outcomes": {"o": {"agg": "sum", "column": "amount", "within": "5d", "bands": [1e6, 1000001, 1234567.5]}}}
    )
    names = declare_outcome("o", settings.outcomes["o"], {}).band_names
    assert names == ["<1000000", "1000000–1000001", "1000001–1234567.5", "≥1234567.5"]


def test_first_needs_a_column_and_its_kind_is_that_of_the_column() -> None:
    settings = Settings.model_validate({"outcomes": OUTCOMES | {"none": {"agg": "first", "within": "5d"}}})
    kinds = {name: declare_outcome(name, settings.outcomes[name], {}).kind for name in OUTCOMES}
    assert kinds == {"next_brand": "class", "next_amount": "number", "next_band": "class", "spend_band": "class"}
    with pytest.raises(DefinitionError):
        declare_outcome("none", settings.outcomes["none"], {})
