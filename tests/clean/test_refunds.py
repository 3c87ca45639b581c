"""Returns and cancellations matched to their purchases."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any


def day(number: int) -> datetime:
    return datetime(2024, 5, number)


def kept(shop: Any) -> dict[str, tuple[Any, ...]]:
    """event_id -> (event, quantity, refund_of, refunded)"""
    return {
        row["event_id"]: (row["event"], row["quantity"], row["refund_of"], row["refunded"])
        for row in shop.rows("clean.events")
    }


def buy(make_event: Any, name: str, on: int, quantity: float = 1.0, **values: Any) -> Any:
    return make_event(event_id=name, ts=day(on), order_id=name, quantity=quantity, amount=5 * quantity, **values)


def test_return_takes_the_latest_purchase_first(shop: Any, make_event: Any) -> None:
    # bought 2, then 3; 4 come back: all 3 of the later, and 1 of the earlier
    shop.collect(
        events=[buy(make_event, "p1", 1, 2.0), buy(make_event, "p2", 2, 3.0), buy(make_event, "back", 3, -4.0)]
    )
    report = shop.clean()
    assert kept(shop) == {
        "p1": ("purchase", 2.0, None, 1.0),
        "p2": ("purchase", 3.0, None, 3.0),
        "back": ("refund", 4.0, "p2", None),
    }
    assert (report.refunds.lines, report.refunds.matched, report.refunds.quantity, report.refunds.amount) == (
        1,
        1,
        4.0,
        20.0,
    )


def test_purchase_after_the_return_is_not_touched(shop: Any, make_event: Any) -> None:
    shop.collect(
        events=[
            buy(make_event, "p1", 1),
            buy(make_event, "back", 2, -1.0),
            buy(make_event, "p2", 3),
            buy(make_event, "again", 4, -1.0),
        ]
    )
    shop.clean()
    assert kept(shop)["back"][2] == "p1" and kept(shop)["again"][2] == "p2"


def test_return_of_nothing_bought_stays_unmatched(shop: Any, make_event: Any) -> None:
    shop.collect(
        events=[
            buy(make_event, "early", 1, -1.0),
            buy(make_event, "p1", 2),
            buy(make_event, "other", 3, -1.0, item_id="cup"),
            buy(make_event, "stranger", 3, -1.0, user_id="bob"),
        ]
    )
    report = shop.clean()
    assert kept(shop)["p1"] == ("purchase", 1.0, None, None)
    assert (report.refunds.lines, report.refunds.unmatched) == (3, 3)


def test_refund_that_names_the_order_goes_to_that_order(shop: Any, make_event: Any) -> None:
    refund = make_event(
        event_id="back", event="refund", order_id="p1", ts=day(3), quantity=1.0, amount=None, price=None
    )
    shop.collect(events=[buy(make_event, "p1", 1), buy(make_event, "p2", 2), refund])
    shop.clean()
    assert kept(shop)["back"][2] == "p1" and kept(shop)["p2"][3] is None
    assert next(row["amount"] for row in shop.rows("clean.events") if row["event_id"] == "back") == 5.0


def test_cancelled_order_takes_back_all_its_lines(shop: Any, make_event: Any) -> None:
    lines = [
        make_event(event_id=f"l{n}", order_id="o7", item_id=f"i{n}", quantity=2.0, amount=10.0, ts=day(1))
        for n in range(3)
    ]
    empty = {"item_id": None, "quantity": None, "price": None, "amount": None}
    shop.collect(events=[*lines, make_event(event_id="stop", event="cancel", order_id="o7", ts=day(2), **empty)])
    shop.clean()
    found = kept(shop)
    assert [found[f"l{n}"][3] for n in range(3)] == [2.0, 2.0, 2.0]
    assert found["stop"][0] == "refund" and found["stop"][2] == "l0"
    assert next(row["amount"] for row in shop.rows("clean.events") if row["event_id"] == "stop") == 30.0


def test_orders_named_c_are_cancellations_only_where_their_lines_are_negative(shop: Any, make_event: Any) -> None:
    back = [
        make_event(event_id=f"c{n}", order_id=f"C{n}", item_id=f"i{n}", quantity=-1.0, amount=-5.0) for n in range(30)
    ]
    unsaid = make_event(event_id="unsaid", order_id="C99", quantity=None, amount=5.0, ts=day(9))
    shop.collect(events=[*back, unsaid])
    shop.clean()
    assert kept(shop)["unsaid"][0] == "refund"
    shop.collect(events=[unsaid, make_event(event_id="p", order_id="C1")])
    shop.clean()
    assert kept(shop)["unsaid"][0] == "purchase"


def test_matching_equals_a_stack_popped_by_hand(shop: Any, make_event: Any) -> None:
    chance = random.Random(7)
    events: list[Any] = []
    refund_of: dict[str, str | None] = {}
    refunded: dict[str, float] = {}
    for user in range(20):
        stack: list[list[Any]] = []
        for number in range(40):
            name, pieces = f"u{user}e{number:02}", float(chance.randint(1, 4))
            ts = datetime(2024, 5, 1, number // 2, 30 * (number % 2))
            given = {"event_id": name, "order_id": name, "user_id": f"u{user}", "ts": ts, "price": 1.0}
            if chance.random() < 0.6:
                stack.append([name, pieces])
                events.append(make_event(**given, quantity=pieces, amount=pieces))
                continue
            events.append(make_event(**given, quantity=-pieces, amount=-pieces))
            refund_of[name] = stack[-1][0] if stack else None
            while pieces and stack:
                taken = min(pieces, stack[-1][1])
                refunded[stack[-1][0]] = refunded.get(stack[-1][0], 0) + taken
                pieces, stack[-1][1] = pieces - taken, stack[-1][1] - taken
                if not stack[-1][1]:
                    stack.pop()
    shop.collect(events=events)
    shop.clean()
    found = kept(shop)
    assert {name: row[2] for name, row in found.items() if row[0] == "refund"} == refund_of
    assert {name: row[3] for name, row in found.items() if row[3]} == refunded
