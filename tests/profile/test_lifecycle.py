"""Stages and tiers, against answers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from huaxiang.engine import Lake
from huaxiang.settings import ProfileSettings

from .conftest import Build, events, profile_settings


def bought(user: str, recency: float, **more: Any) -> dict[str, Any]:
    return {
        "user_id": user,
        "recency_days": recency,
        "first_purchase_days": 300,
        "orders_total": 2,
        "spend_365d": 10.0,
    } | more


def stages(lake: Lake) -> dict[str, str]:
    rows = lake.engine.rows(f"SELECT user_id, lifecycle FROM ({lake.engine.sql(lake.table('profiles'))})")
    return {row["user_id"]: row["lifecycle"] for row in rows}


def tiers(lake: Lake) -> dict[str, str]:
    rows = lake.engine.rows(f"SELECT user_id, value_tier FROM ({lake.engine.sql(lake.table('profiles'))})")
    return {row["user_id"]: row["value_tier"] for row in rows}


def test_stage_follows_the_days_since_the_last_purchase(build: Build, lake: Lake) -> None:
    build([bought(f"d{days}", days) for days in (1, 30, 31, 60, 61, 180, 181)])
    assert stages(lake) == {
        "d1": "active",
        "d30": "active",
        "d31": "at_risk",
        "d60": "at_risk",
        "d61": "dormant",
        "d180": "dormant",
        "d181": "lost",
    }


def test_first_purchase_makes_new_and_none_makes_prospect(build: Build, lake: Lake) -> None:
    build(
        [
            bought("a", 3, first_purchase_days=30),
            bought("b", 3, first_purchase_days=31),
            {"user_id": "c", "orders_total": 0, "idle_days": 1},
        ]
    )
    assert stages(lake) == {"a": "new", "b": "active", "c": "prospect"}


def test_known_rhythm_moves_the_limits(build: Build, lake: Lake) -> None:
    # weekly buyer: 2 × 5 = 10 days, at least half of 30: limits 15 / 30 / 90; slow buyer: 2 × 25 = 50: limits 50 / 100 / 300
    weekly = {"orders_total": 10, "gap_days_mean": 5.0}
    slow = {"orders_total": 10, "gap_days_mean": 25.0}
    unknown = {"orders_total": 3, "gap_days_mean": 5.0}  # fewer than rhythm_orders: the shop's limits
    build(
        [
            bought("w15", 15, **weekly),
            bought("w16", 16, **weekly),
            bought("w31", 31, **weekly),
            bought("w91", 91, **weekly),
            bought("s50", 50, **slow),
            bought("s51", 51, **slow),
            bought("s300", 300, first_purchase_days=900, **slow),
            bought("u29", 29, **unknown),
        ]
    )
    assert stages(lake) == {
        "w15": "active",
        "w16": "at_risk",
        "w31": "dormant",
        "w91": "lost",
        "s50": "active",
        "s51": "at_risk",
        "s300": "dormant",
        "u29": "active",
    }


def test_return_after_a_long_silence_is_won_back(build: Build, lake: Lake) -> None:
    log = [("back", "purchase", days, None, 1.0) for days in (300, 5)]  # silent for 295 days
    log += [("kept", "purchase", days, None, 1.0) for days in (120, 5)]  # 115 days: not longer than 180
    log += [("seen", "purchase", 300, None, 1.0), ("seen", "view", 100, None, None), ("seen", "purchase", 5, None, 1.0)]
    build([bought(user, 5) for user in ("back", "kept", "seen")], ready_events=events(log))
    assert stages(lake) == {"back": "won_back", "kept": "active", "seen": "won_back"}


def test_shop_without_purchases_is_judged_by_activity(build: Build, lake: Lake) -> None:
    rows = [
        {"user_id": f"i{idle}", "idle_days": idle, "tenure_days": tenure, "orders_total": 0}
        for idle, tenure in ((1, 5), (10, 90), (45, 90), (400, 500))
    ]
    report = build(rows)
    assert stages(lake) == {"i1": "new", "i10": "active", "i45": "at_risk", "i400": "lost"}
    assert report.stages["new"] == {"none": 1}


def test_tiers_are_shares_of_buyers_by_spend(build: Build, lake: Lake) -> None:
    # 20 buyers spending 1 … 20, and one who never bought: 5 % of 20 is 1, 20 % is 4, 50 % is 10
    build(
        [bought(f"u{spend:02}", 5, spend_365d=float(spend)) for spend in range(1, 21)]
        + [{"user_id": "no", "orders_total": 0, "spend_365d": 0.0}]
    )
    found = tiers(lake)
    assert [user for user, tier in found.items() if tier == "platinum"] == ["u20"]
    assert sorted(user for user, tier in found.items() if tier == "gold") == ["u17", "u18", "u19"]
    assert sorted(user for user, tier in found.items() if tier == "silver") == [f"u{spend}" for spend in range(11, 17)]
    assert found["u10"] == "bronze"
    assert found["no"] == "none"


def test_equal_spend_gives_an_equal_tier(build: Build, lake: Lake) -> None:
    build([bought(f"u{n}", 5, spend_365d=7.0) for n in range(10)])
    assert set(tiers(lake).values()) == {"bronze"}  # nobody is among the top half when all are alike


def test_tiers_go_by_orders_where_no_money_is_recorded(build: Build, lake: Lake) -> None:
    build([bought(f"u{n}", 5, spend_365d=0.0, orders_365d=n) for n in range(1, 5)])
    assert tiers(lake) == {"u1": "bronze", "u2": "bronze", "u3": "silver", "u4": "silver"}


def test_buyer_of_long_ago_is_bronze(build: Build, lake: Lake) -> None:
    build([bought("old", 400, first_purchase_days=900, spend_365d=0.0), bought("a", 5)])
    assert tiers(lake)["old"] == "bronze"


def test_shop_may_set_its_own_limits_and_tiers(build: Build, lake: Lake) -> None:
    settings = profile_settings(active_days=7, at_risk_days=14, dormant_days=28, tiers={"vip": 0.5})
    build([bought("a", 8, spend_365d=90.0), bought("b", 29)], settings=settings)
    assert stages(lake) == {"a": "at_risk", "b": "lost"}
    assert tiers(lake) == {"a": "vip", "b": "bronze"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"active_days": 90}, "must not fall"),
        ({"tiers": {"gold": 0.5, "silver": 0.2}}, "best tier first"),
        ({"tiers": {"gold": 1.5}}, "at most 1"),
        ({"tiers": {"none": 0.1}}, "what remains"),
    ],
    ids=["limits", "order", "share", "name"],
)
def test_rules_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ProfileSettings(**given)
