"""DuckDB against plain Python: random streams with late events, ties, zone borders and leap days; and the future."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.features.conftest import Bench, Row
from tests.features.oracle import known_events, oracle

ZONES = ["UTC", "Asia/Shanghai", "America/New_York"]
ITEMS = {
    f"i{number}": {
        "item_id": f"i{number}",
        "category": f"T{number % 3} > M{number % 5} > L{number}" if number else None,
        "brand": f"b{number % 4}",
    }
    for number in range(12)
}
CHURN = {"churn": {"agg": "none", "where": "event == 'purchase'", "within": "30d"}}


def stream(seed: int, users: int, count: int, *, late: float = 0.1) -> list[Row]:
    """A random stream over eight months around a leap day and two changes of summer time."""
    chance = random.Random(seed)
    start, events = datetime(2023, 9, 20), []
    for number in range(count):
        if events and chance.random() < 0.4:  # follow the last one within the hour, sometimes in the same second
            ts = events[-1]["ts"] + timedelta(seconds=chance.choice([0, 1, 60, 1799, 1800, 1801, 3000]))
        else:
            ts = start + timedelta(seconds=chance.randrange(250 * 86400))
        user = events[-1]["user_id"] if events and chance.random() < 0.5 else f"u{chance.randrange(users)}"
        event = chance.choice(["view", "view", "add_to_cart", "purchase", "purchase", "wish", "search", "refund"])
        money = event in ("purchase", "refund")
        price = round(chance.uniform(1, 50), 2)
        delay = timedelta(days=chance.choice([1, 5, 40])) if chance.random() < late else timedelta()
        events.append({
            "event_id": f"e{number:05d}", "user_id": user, "event": event, "ts": ts, "received_at": ts + delay,
            "item_id": None if event == "search" else f"i{chance.randrange(12)}",
            "order_id": f"{user}-{ts:%Y%m%d}" if money and chance.random() < 0.6 else None,
            "price": price if money else None, "quantity": 1.0 if money else None, "amount": price if money else None,
            "channel": chance.choice(["web", "app", "store", None]),
        })  # fmt: skip
    return events


def assert_like(found: Any, wanted: Any, place: str) -> None:
    if isinstance(wanted, list):
        assert found is not None, place
        assert len(found) == len(wanted), place
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            assert_like(one, other, f"{place}[{number}]")
    elif isinstance(wanted, dict):
        for key, value in wanted.items():
            assert_like(found[key], value, f"{place}.{key}")
    elif isinstance(wanted, float | int) and found is not None:
        assert math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9), f"{place}: {found} is not {wanted}"
    else:
        assert found == wanted, place


@pytest.mark.parametrize("zone", ZONES)
def test_every_value_equals_plain_python_at_every_date(shop: Bench, zone: str) -> None:
    events = stream(seed=len(zone), users=12, count=900)
    shop.build(events, items=list(ITEMS.values()), shop={"timezone": zone}, outcomes=CHURN)
    rows = shop.rows("features") + shop.rows("training")
    assert len({row["as_of"] for row in rows}) >= 5
    for row in rows:
        wanted = oracle(events, ITEMS, row["user_id"], row["as_of"], zone)
        for name, value in wanted.items():
            assert_like(row[name], value, f"{row['user_id']} {row['as_of']} {name}")


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10_000), day=st.integers(100, 200), arrives=st.integers(0, 60))
def test_what_happens_or_arrives_after_as_of_changes_nothing(
    new_shop: Callable[[], Bench], seed: int, day: int, arrives: int
) -> None:
    as_of = date(2023, 9, 20) + timedelta(day)
    events = stream(seed, users=4, count=120, late=0.2)
    chance = random.Random(seed + 1)
    more = [
        row | {"event_id": f"x{number}", "ts": ts, "received_at": max(ts, datetime(as_of.year, as_of.month, as_of.day) + timedelta(days=arrives))}
        for number, row in enumerate(stream(seed + 2, users=4, count=30))
        for ts in [datetime(as_of.year, as_of.month, as_of.day) + timedelta(hours=chance.randrange(-2000, 500))]
    ]  # fmt: skip
    before, after = new_shop(), new_shop()
    before.build(events, items=list(ITEMS.values()), as_of=as_of)
    after.build(events + more, items=list(ITEMS.values()), as_of=as_of)
    known = {user for user in before.features() if known_events(events, user, as_of, "UTC")}
    for user in known:
        for name, value in before.features()[user].items():
            assert_like(after.features()[user][name], value, f"{user} {name}")


@pytest.mark.parametrize("zone", ZONES)
def test_training_rows_equal_a_build_as_of_that_day(new_shop: Callable[[], Bench], zone: str) -> None:
    events = stream(seed=7, users=6, count=300)
    late = new_shop()
    late.build(events, items=list(ITEMS.values()), shop={"timezone": zone}, outcomes=CHURN)
    past = min(row["as_of"] for row in late.rows("training"))
    then = new_shop()
    then.build(events, items=list(ITEMS.values()), shop={"timezone": zone}, as_of=past)
    today = then.features()
    for row in late.rows("training"):
        if row["as_of"] == past:
            for name, value in row.items():
                if not name.startswith("share_"):  # which categories get a share is decided as of the build's own day
                    assert_like(today[row["user_id"]][name], value, f"{row['user_id']} {name}")
