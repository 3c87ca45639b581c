"""What must follow a changed feature, by hand: standard definitions, one customer."""

from __future__ import annotations

import pytest

from huaxiang.apply.predict.follow import Ties
from huaxiang.features.standard import standard_features

# last bought 3 days ago, seen yesterday
NOW: dict[str, float | None] = {
    "recency_days": 3.0, "idle_days": 1.0, "orders_7d": 1.0, "orders_30d": 4.0, "orders_90d": 6.0, "orders_total": 9.0,
    "spend_30d": 80.0, "views_7d": 5.0, "price_mean_90d": 12.5, "refunds_30d": 0.0, "orders_trend_30d": 0.2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "follow"),
    [
        # nothing bought for 44 days: the windows of 7 and 30 days are empty, that of 90 is not; views are none of purchases' business
        ({"recency_days": 45.0}, {"orders_7d": 0.0, "orders_30d": 0.0, "spend_30d": 0.0}),
        # on the 31st day before: just outside of 30 days; on the 30th: inside
        ({"recency_days": 31.0}, {"orders_7d": 0.0, "orders_30d": 0.0, "spend_30d": 0.0}),
        ({"recency_days": 30.0}, {"orders_7d": 0.0}),
        # never bought: all windows, and all of history
        (
            {"recency_days": None},
            {"orders_7d": 0.0, "orders_30d": 0.0, "orders_90d": 0.0, "orders_total": 0.0, "spend_30d": 0.0, "price_mean_90d": None},
        ),
        # nothing of any kind for 44 days: no views and no purchases either, and the last purchase lies as far back
        (
            {"idle_days": 45.0},
            {"orders_7d": 0.0, "orders_30d": 0.0, "spend_30d": 0.0, "views_7d": 0.0, "recency_days": 45.0},
        ),
        # no order in 30 days: none in 7, nothing spent, and the last was before them
        ({"orders_30d": 0.0}, {"orders_7d": 0.0, "spend_30d": 0.0, "recency_days": 31.0}),
        # what is changed too stays as it was asked for
        ({"orders_30d": 0.0, "spend_30d": 5.0}, {"orders_7d": 0.0, "recency_days": 31.0}),
        # more orders say nothing certain of anything else; nor does a score
        ({"orders_30d": 5.0, "price_mean_90d": 1.0}, {}),
    ],
    ids=["45", "31", "30", "never", "idle", "no orders", "asked", "more"],
)  # fmt: skip
def test_what_the_definition_demands_follows(changes: dict[str, float | None], follow: dict[str, float | None]) -> None:
    found = Ties.of(standard_features(), NOW).follow(changes, NOW)
    assert found == follow


def test_a_purchase_today_is_something_done_today() -> None:
    now = NOW | {"idle_days": 20.0, "recency_days": 20.0}
    assert Ties.of(standard_features(), NOW).follow({"recency_days": 2.0}, now)["idle_days"] == 2.0
