"""Which pass a measure falls into must never change its value: the same counts by hand, by whatever way they are asked."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.features.conftest import Bench, Row

from huaxiang.features.build import count_slices
from huaxiang.features.filters import EVENT_CODES, compile_filter
from huaxiang.features.nodes import sql
from huaxiang.features.plan import EVENT_COLUMNS

AS_OF = datetime(2024, 6, 1)


def event(kind: str, days_ago: int, **rest: object) -> Row:
    ts = AS_OF - timedelta(days=days_ago) + timedelta(hours=rest.pop("hour", 12))  # type: ignore[call-overload]
    return {"user_id": "u", "event": kind, "ts": ts, "received_at": ts, **rest}


# one user: purchases 1, 40, 99, 120 and 500 days ago, views 2 and 300 days ago, a refund 5 days ago
EVENTS = [
    event("purchase", 1, amount=10.0, price=10.0, quantity=1.0, channel="web"),
    event("purchase", 40, amount=20.0, price=20.0, quantity=1.0, channel="app"),
    event("purchase", 99, amount=30.0, price=30.0, quantity=1.0, channel="app"),
    event("purchase", 120, amount=40.0, price=40.0, quantity=1.0, channel="web"),
    event("purchase", 500, amount=50.0, price=50.0, quantity=1.0, channel="web"),
    event("view", 2, channel="web"),
    event("view", 300, channel="app"),
    event("refund", 5, amount=20.0, price=20.0, quantity=1.0, channel="app"),
    event("search", 400, channel="web"),
]
ASKED = {
    "buys": ({"agg": "count", "where": "event == 'purchase'"}, 5),
    "buys_99": ({"agg": "count", "where": "event == 'purchase'", "window": "99d"}, 3),
    "buys_100": ({"agg": "count", "where": "event == 'purchase'", "window": "100d"}, 3),
    "buys_120": ({"agg": "count", "where": "event == 'purchase'", "window": "120d"}, 4),
    "app_buys": ({"agg": "count", "where": "event == 'purchase' and channel == 'app'"}, 2),
    "app_buys_other_order": ({"agg": "count", "where": "channel == 'app' and event == 'purchase'"}, 2),
    "buys_or_views": ({"agg": "count", "where": "event == 'purchase' or event == 'view'"}, 7),
    "buys_in": ({"agg": "count", "where": "event in ('purchase', 'view')", "window": "30d"}, 2),
    "not_buys": ({"agg": "count", "where": "not (event == 'purchase')"}, 4),
    "both_at_once": ({"agg": "count", "where": "event == 'purchase' and event == 'view'"}, 0),
    "any": ({"agg": "count"}, 9),
    "any_30": ({"agg": "count", "window": "30d"}, 3),
    "paid": ({"agg": "sum", "column": "amount", "where": "event == 'purchase'"}, 150.0),
    "paid_60": ({"agg": "sum", "column": "amount", "where": "event == 'purchase'", "window": "60d"}, 30.0),
    "dear_60": ({"agg": "sum", "column": "amount", "where": "event == 'purchase' and amount > 15", "window": "60d"}, 20.0),
    "money": ({"agg": "sum", "column": "amount"}, 170.0),
    "last_price": ({"agg": "last", "column": "price", "where": "event == 'purchase'"}, 10.0),
    "first_price_100": ({"agg": "first", "column": "price", "where": "event == 'purchase'", "window": "100d"}, 30.0),
    "trend_60": ({"agg": "trend", "column": "amount", "where": "event == 'purchase'", "window": "60d"}, (30.0 - 70.0) / 100.0),
    "channels": ({"agg": "distinct", "column": "channel", "where": "event == 'purchase'", "window": "90d"}, 2),
    "refund_share": ({"agg": "share", "column": "event == 'refund'", "window": "30d"}, 1 / 3),
    "median_paid": ({"agg": "median", "column": "amount", "where": "event == 'purchase'"}, 30.0),
}  # fmt: skip


@pytest.mark.parametrize("standard", [True, False], ids=["beside the standard set", "alone"])
def test_every_way_of_asking_gives_the_count_made_by_hand(shop: Bench, standard: bool) -> None:
    mine = {name: asked for name, (asked, _) in ASKED.items()}
    shop.build(EVENTS, as_of=AS_OF.date(), features={"standard": standard, "mine": mine})
    assert {name: shop.feature(name) for name in ASKED} == pytest.approx(
        {name: wanted for name, (_, wanted) in ASKED.items()}
    )


def test_hours_of_who_bought_are_of_purchases_and_of_who_did_not_of_all(shop: Bench) -> None:
    rows = [event("purchase", 3, hour=9), event("view", 3, hour=20)]
    rows += [row | {"user_id": "looker"} for row in (event("view", 2, hour=7), event("view", 1, hour=8))]
    shop.build(rows, as_of=AS_OF.date())
    assert shop.feature("hour_top") == 9
    assert shop.feature("hour_hist")[20] == 0
    assert shop.feature("hour_hist", "looker")[7:9] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "code", "rest"),
    [
        ("event == 'purchase'", "purchase", ""),
        ("event == 'purchase' and price > 1", "purchase", "(price > 1)"),
        ("price > 1 and event == 'view'", "view", "(price > 1)"),
        ("event == 'purchase' or price > 1", None, ""),
        ("event != 'purchase'", None, ""),
        ("event in ('purchase',)", None, ""),
        ("event == 'view' and event == 'purchase'", None, ""),
    ],
)
def test_condition_knows_the_one_event_it_can_hold_for(text: str, code: str | None, rest: str) -> None:
    made = compile_filter(text, EVENT_COLUMNS, name="f")
    assert (made.event, sql(made.rest) if made.rest else "") == (EVENT_CODES[code] if code else None, rest)


@pytest.mark.parametrize(
    ("events", "threads", "slices"),
    [(50, 2, 1), (99_999, 8, 1), (250_000, 8, 2), (1_500_000, 2, 2), (10_000_000, 2, 4), (10_000_000, 16, 32)],
)
def test_slices_bound_what_all_threads_hold_at_once(events: int, threads: int, slices: int) -> None:
    assert count_slices(events, threads) == slices
