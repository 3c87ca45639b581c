"""Rows that say what another row says, and robots."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

NOON = datetime(2024, 5, 1, 12)


def test_same_event_id_keeps_the_first_received(shop: Any, make_event: Any) -> None:
    shop.collect(
        events=[
            make_event(event_id="e1", received_at=NOON + timedelta(hours=2)),
            make_event(event_id="e1", item_id="cup", received_at=NOON + timedelta(hours=1)),
            make_event(event_id="e2", item_id="pot"),
        ]
    )
    shop.clean()
    assert shop.reasons() == {"r0": "duplicate_event_id"}
    assert shop.rows("quarantine")[0]["detail"] == "kept r1"


def test_same_user_item_event_and_second_is_one_event(shop: Any, make_event: Any) -> None:
    view = {"event": "view", "order_id": None, "quantity": None, "price": None, "amount": None}
    shop.collect(
        events=[
            make_event(**view, ts=NOON),
            make_event(**view, ts=NOON + timedelta(milliseconds=300)),
            make_event(**view, ts=NOON + timedelta(seconds=1)),
            make_event(**view, ts=NOON, user_id="bob"),
        ]
    )
    shop.clean()
    assert shop.reasons() == {"r1": "duplicate_row"}


def test_lines_of_one_order_with_other_quantities_are_not_duplicates(shop: Any, make_event: Any) -> None:
    shop.collect(events=[make_event(), make_event(quantity=2.0, amount=10.0)])
    shop.clean()
    assert shop.reasons() == {}
    shop.clean(duplicate_by=("user_id", "item_id", "event", "ts"))
    assert shop.reasons() == {"r1": "duplicate_row"}


def test_an_order_line_exported_again_with_its_time_cut_to_the_minute_is_one(shop: Any, make_event: Any) -> None:
    exact = datetime(2025, 9, 19, 16, 2, 9)
    cut = datetime(2025, 9, 19, 16, 2)
    shop.collect(
        events=[
            make_event(ts=cut),
            make_event(ts=exact),
            make_event(ts=exact, quantity=2.0, amount=10.0),  # no other says so
            make_event(ts=cut, order_id="o2"),  # another order, known to the minute only
            make_event(ts=exact.replace(minute=3), item_id="cup"),
            make_event(ts=cut, item_id="cup"),  # another minute
            make_event(ts=exact, order_id=None, user_id="bob"),
            make_event(ts=cut, order_id=None, user_id="bob"),  # without an order nothing ties them
            make_event(ts=exact.replace(second=40), order_id="o3"),
            make_event(ts=exact, order_id="o3"),  # two exact times are two lines
        ]
    )
    shop.clean(now=datetime(2025, 10, 1))
    assert [(row["row_id"], row["reason"], row["detail"]) for row in shop.rows("quarantine")] == [
        ("r0", "duplicate_row", "kept r1")
    ]


def test_a_rejected_row_never_makes_a_good_one_its_duplicate(shop: Any, make_event: Any) -> None:
    # r0 comes first but cannot be: r1 stays
    shop.collect(events=[make_event(event_id="e1", event="teleport"), make_event(event_id="e1")])
    shop.clean()
    assert shop.reasons() == {"r0": "unknown_event"}


def test_robot_is_quarantined_whole_with_evidence(shop: Any, make_event: Any) -> None:
    fast = [
        make_event(
            user_id="bot", event="view", order_id=None, item_id=f"i{n}", ts=NOON + timedelta(milliseconds=100 * n)
        )
        for n in range(30)
    ]
    later = make_event(user_id="bot", item_id="tea", ts=NOON + timedelta(days=3))
    shop.collect(users=[{"user_id": "bot"}], events=[*fast, later, make_event()])
    report = shop.clean(robot_per_minute=20)
    held = shop.rows("quarantine")
    assert len(held) == 32 and {row["reason"] for row in held} == {"robot"}
    assert held[0]["detail"] == "30 acts in the minute of 2024-05-01 12:00:00, limit 20"
    assert report.robots == 1 and [row["user_id"] for row in shop.rows("clean.events")] == ["ada"]


def test_a_big_order_is_one_act_and_no_robot(shop: Any, make_event: Any) -> None:
    basket = [make_event(item_id=f"i{n}") for n in range(200)]
    handed_out = [
        make_event(event="coupon_receive", order_id=None, item_id=None, coupon_id=f"c{n}") for n in range(200)
    ]
    shop.collect(events=basket + handed_out)
    assert shop.clean().robots == 0
