"""Orders held fake are kept out of features, training and labels: in a full build, an incremental one, and live."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.features.conftest import Bench, Row
from tests.features.test_incremental import State, assert_same, build, delivered, listed, made
from tests.features.test_oracle import ITEMS, assert_like, stream

from huaxiang.features import renew, training
from huaxiang.features.fakes import FAKES, KEPT_OUT, everything_sql
from huaxiang.features.live.open import fill, open_live

MINE = {
    "spend": {"agg": "sum", "column": "amount", "where": "event == 'purchase'"},
    "orders": {"agg": "distinct", "column": "order_key", "where": "event == 'purchase'"},
    "brand_taste": {"agg": "mode", "column": "brand", "where": "event == 'purchase'"},
    "sessions": {"agg": "sessions"},
    "price_level": {"agg": "mean", "column": "price_ratio", "where": "event == 'purchase'"},
}
SHELF = [
    {"item_id": "tea", "title": "Tea", "category": "Food", "brand": "leaf", "price": 10.0},
    {"item_id": "pot", "title": "Pot", "category": "Food", "brand": "clay", "price": 90.0},
]


def bought(number: int, user: str, day: int, item: str, amount: float, order: str | None, **rest: object) -> Row:
    ts = datetime(2024, 3, day, 12)
    return {
        "event_id": f"e{number}", "user_id": user, "event": "purchase", "ts": ts, "item_id": item, "order_id": order,
        "quantity": 1.0, "price": amount, "amount": amount, **rest,
    }  # fmt: skip


# u buys tea twice, and pots in an order that turns out fake; v buys a pot later
FIVE = [
    bought(1, "u", 1, "tea", 10.0, "o1"),
    bought(2, "u", 2, "pot", 90.0, "fake"),
    bought(3, "u", 2, "pot", 90.0, "fake"),
    bought(4, "u", 4, "tea", 20.0, "o2"),
    bought(5, "v", 5, "pot", 30.0, "o3"),
]


def hold(shop: Bench, orders: Sequence[tuple[str, str | None, int]]) -> None:
    """orders: user_id, order_id, order_key"""
    schema = pa.schema([("user_id", pa.string()), ("order_id", pa.string()), ("order_key", pa.int64())])
    with shop.lake.step("guard") as step:
        step.replace(FAKES, pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in orders], schema))


def orders_of(shop: Bench) -> list[tuple[str, str | None, int]]:
    """user_id, order_id, order_key of each order, as the guard finds them."""
    found = shop.lake.engine.rows(
        f"SELECT DISTINCT user_id, order_id, order_key FROM ({everything_sql(shop.lake)}) WHERE event = 'purchase' ORDER BY ALL"
    )
    return [(row["user_id"], row["order_id"], row["order_key"]) for row in found]


def key_of(shop: Bench, user: str, order: str | None) -> tuple[str, str | None, int]:
    return next(row for row in orders_of(shop) if row[:2] == (user, order))


def seen(shop: Bench) -> tuple[Row, Row]:
    names = list(MINE)
    return tuple({name: row[name] for name in names} for _, row in sorted(shop.features().items()))  # type: ignore[return-value]


# price_level of u: tea at 20 on day 4 against what food cost before: (10 + 90 + 90) / 3, or 10 alone; the first has nothing before
# it, and the pots of day 2 are compared with 10. v's pot at 30 on day 5: before it (10 + 90 + 90 + 20) / 4 = 52.5, or (10 + 20) / 2 = 15.
WITH = (
    {"spend": 210.0, "orders": 3, "brand_taste": "leaf", "sessions": 3, "price_level": (9 + 9 + 20 / (190 / 3)) / 3},
    {"spend": 30.0, "orders": 1, "brand_taste": "clay", "sessions": 1, "price_level": 30 / 52.5},
)
WITHOUT = (
    {"spend": 30.0, "orders": 2, "brand_taste": "leaf", "sessions": 2, "price_level": 2.0},
    {"spend": 30.0, "orders": 1, "brand_taste": "clay", "sessions": 1, "price_level": 2.0},
)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renew, "STALE_SHARE", 2.0)
    monkeypatch.setattr(training, "REDO_SHARE", 2.0)


def test_a_fake_order_counts_for_neither_taste_nor_spend_and_a_verdict_brings_it_back(shop: Bench) -> None:
    declared = {"features": {"standard": False, "mine": MINE}, "outcomes": {}}
    assert build(shop, State(FIVE, SHELF), **declared).fakes == {"orders": 0, "events": 0, "users": 0}
    first = seen(shop)
    hold(shop, [key_of(shop, "u", "fake")])
    report = build(shop, State(FIVE, SHELF), **declared)
    assert (report.full, report.fakes) == ("", {"orders": 1, "events": 2, "users": 1})
    assert shop.lake.note("build")["fakes"] == report.fakes
    for found, wanted in zip(seen(shop), WITHOUT, strict=True):
        for name, value in wanted.items():
            assert_like(found[name], value, name)
    assert {row["user_id"]: row["events"] for row in shop.rows("ready.users")} == {
        "u": 4,
        "v": 1,
    }  # who was met is no taste
    hold(shop, [])  # the verdict: fine
    report = build(shop, State(FIVE, SHELF), **declared)
    assert (report.full, report.fakes["orders"]) == ("", 0)
    assert seen(shop) == first
    for found, wanted in zip(first, WITH, strict=True):
        for name, value in wanted.items():
            assert_like(found[name], value, name)


def test_what_carries_the_id_of_a_fake_order_goes_with_it_also_when_it_comes_later(shop: Bench) -> None:
    declared = {"features": {"standard": False, "mine": {"seen": {"agg": "count"}}}, "outcomes": {}}
    build(shop, State(FIVE, SHELF), **declared)
    hold(shop, [key_of(shop, "u", "fake")])
    build(shop, State(FIVE, SHELF), **declared)
    later = [
        bought(6, "u", 7, "pot", 90.0, "fake", event="refund"),
        bought(7, "u", 7, "tea", 90.0, "o2", event="refund"),
    ]
    report = build(shop, State(FIVE + later, SHELF), **declared)
    assert (report.full, report.fakes["events"], shop.feature("seen")) == ("", 3, 3)  # two teas, and the refund of one


def test_an_order_without_an_id_is_kept_out_for_its_customer_and_day_alone(shop: Bench) -> None:
    declared = {"features": {"standard": False, "mine": MINE}, "outcomes": {}}
    rows = [row | {"order_id": None} for row in FIVE] + [bought(6, "v", 2, "tea", 7.0, None)]
    build(shop, State(rows, SHELF), **declared)
    day_2 = next(row for row in shop.rows("ready.events") if row["event_id"] == "e2")["order_key"]
    hold(shop, [("u", None, day_2)])
    assert build(shop, State(rows, SHELF), **declared).fakes == {"orders": 1, "events": 2, "users": 1}
    assert [found["spend"] for found in seen(shop)] == [30.0, 37.0]


def test_a_training_row_and_its_label_know_nothing_of_a_fake_order(shop: Bench) -> None:
    days = [made(n, f"u{n % 4}", n, "purchase" if n % 2 else "view", 1, order_id=f"o{n}") for n in range(200)]
    outcomes = {"spend": {"agg": "sum", "column": "amount", "where": "event == 'purchase'", "within": "14d"}}
    declared = {"features": {"standard": False, "mine": MINE}, "outcomes": outcomes}
    state = State(days, listed())
    build(shop, state, **declared)
    fakes = [row for row in orders_of(shop) if int((row[1] or "o0")[1:]) % 3 == 0]
    hold(shop, fakes)
    build(shop, state, **declared)
    found = {name: sorted(map(str, shop.rows(name))) for name in ("training", "labels")}
    names = {row[1] for row in fakes}
    hold(shop, [])
    only = State([row for row in days if row["order_id"] not in names], listed())
    build(shop, only, full=True, **declared)
    assert found == {name: sorted(map(str, shop.rows(name))) for name in ("training", "labels")}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_deliveries_and_verdicts_give_what_a_full_build_gives(new_shop: Callable[[], Bench], seed: int) -> None:
    chance = random.Random(seed)
    shop, anew = new_shop(), new_shop()
    state = State([], listed(8))
    for day in range(0, 200, 5):
        state.events = delivered(chance, state.events, day, 100 * day)
    for row in state.events:
        if chance.random() < 0.3:
            row["order_id"] = f"o{chance.randrange(60)}"
    build(shop, state)
    for delivery in range(3):
        held = chance.sample(orders_of(shop), 12)
        hold(shop, held)
        day = 200 + 3 * delivery
        state.events = delivered(chance, state.events, day, 100 * day)
        report = build(shop, state)
        assert report.full == "" and report.fakes["events"] > 0
    hold(anew, held)
    build(anew, state)
    assert_same(shop, anew)
    kept, wanted = (
        {row["event_id"]: (row["user_id"], row["order_key"], row["amount"]) for row in bench.rows(KEPT_OUT)}
        for bench in (shop, anew)
    )
    assert kept == wanted and not kept.keys() & {row["event_id"] for row in shop.rows("ready.events")}


def test_live_states_go_on_without_the_orders_that_the_build_kept_out(
    shop: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = sorted(stream(seed=11, users=6, count=400, late=0.0), key=lambda event: (event["ts"], event["event_id"]))
    middle = events[200]["ts"].date()
    past = [event for event in events if event["ts"].date() < middle]
    coming = [event for event in events if event["ts"].date() >= middle]
    shop.build(past, items=list(ITEMS.values()), as_of=middle)
    fakes = orders_of(shop)[::3]
    path = tmp_path / "live.db"
    fill(shop.lake, shop.settings, path)
    hold(shop, fakes)
    shop.build(past, items=list(ITEMS.values()), as_of=middle)
    open_live(shop.lake, shop.settings, path).close()
    assert "refill them" in caplog.text
    fill(shop.lake, shop.settings, path)
    caplog.clear()
    with open_live(shop.lake, shop.settings, path) as store:
        assert not caplog.text and len(store.kept_out()) == len(fakes)
        again = past[-1] | {"event": "refund", "event_id": "late", "order_id": next(o for _, o, _ in fakes if o), "ts": coming[0]["ts"]}  # fmt: skip
        store.apply(pa.Table.from_pylist([*coming, again]))
        as_of = events[-1]["ts"].date() + timedelta(days=1)
        found = {user: store.values(user, as_of) for user in shop.features()}
    shop.build([*events, again], items=list(ITEMS.values()), as_of=as_of)
    for user, row in shop.features().items():
        for name, value in found[user].items():
            if not name.startswith("share_"):
                assert_like(value, row[name], f"{user} {name}")
