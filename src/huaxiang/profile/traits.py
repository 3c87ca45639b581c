"""The traits of a profile: which column each comes from, where it stands, how it is written, how sure it is.

A trait read straight off the records (a count, a sum, a day) is a *fact*: confidence 1. One that estimates a habit (a mean, a
share, a favourite, a trend) is a *habit*: confidence n / (n + `confidence_events`), at most 0.99, n the events behind it, or the
orders where it is a habit of ordering. What the customer
declared has confidence 1, what a third party says `third_party_confidence`, what a model predicts the confidence it states.

A computed trait expires `expiry_days` after its as-of time, or after its own window where that is shorter: "orders in 7 days"
is stale after 7. Declared attributes do not expire.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

SectionName = Literal["basic", "behaviour", "interests", "social", "predictions", "risk", "tags", "persona"]
SECTIONS: tuple[SectionName, ...] = (
    "basic",
    "behaviour",
    "interests",
    "social",
    "predictions",
    "risk",
    "tags",
    "persona",
)
Rule = Literal["fact", "habit"]
Format = Literal[
    "ago", "category", "count", "date", "every", "hour", "hours", "level", "minutes", "money", "number", "percent", "ratio",
    "score", "span", "stage", "stars", "text", "tier", "tops", "trend", "weekday", "weekdays", "word", "year",
]  # fmt: skip

ANY: tuple[str, ...] = ()
BUY = ("purchase",)
VIEW = ("view",)
CART = ("add_to_cart",)
BACK = ("refund",)
LOOK = ("view", "search", "click", "add_to_cart", "wish", "purchase")


@dataclass(frozen=True)
class Trait:
    """One computed trait.

    events: the kinds of events behind it (empty: all); with `else_any`, all where there are none of them
    days:   its window (0: all history)
    orders: for a habit of ordering, the column that counts the orders behind it; `least` of them before it is worth saying
    """

    name: str
    section: SectionName
    format: Format
    unit: str = ""
    rule: Rule = "fact"
    events: tuple[str, ...] = ANY
    days: int = 0
    orders: str = ""
    least: int = 0
    else_any: bool = False


# In the order a person reads them.
COMPUTED: tuple[Trait, ...] = (
    Trait("lifecycle", "basic", "stage", rule="habit", events=BUY, orders="orders_total"),
    Trait("value_tier", "basic", "tier", events=BUY, days=365),
    Trait("tenure_days", "basic", "span", "days"),
    Trait("recency_days", "behaviour", "ago", "days", events=BUY),
    Trait("idle_days", "behaviour", "ago", "days"),
    Trait("first_purchase_days", "behaviour", "ago", "days", events=BUY),
    Trait("orders_total", "behaviour", "count", "orders", events=BUY),
    Trait("orders_365d", "behaviour", "count", "orders", events=BUY, days=365),
    Trait("orders_90d", "behaviour", "count", "orders", events=BUY, days=90),
    Trait("orders_30d", "behaviour", "count", "orders", events=BUY, days=30),
    Trait("spend_total", "behaviour", "money", "money", events=BUY),
    Trait("spend_365d", "behaviour", "money", "money", events=BUY, days=365),
    Trait("spend_90d", "behaviour", "money", "money", events=BUY, days=90),
    Trait("spend_30d", "behaviour", "money", "money", events=BUY, days=30),
    Trait("spend_trend_30d", "behaviour", "trend", "trend", "habit", BUY, 60, "orders_90d"),
    Trait("orders_trend_30d", "behaviour", "trend", "trend", "habit", BUY, 60, "orders_90d"),
    Trait("basket_value_mean_90d", "behaviour", "money", "money", "habit", BUY, 90, "orders_90d"),
    Trait("basket_items_mean_90d", "behaviour", "count", "pieces", "habit", BUY, 90, "orders_90d"),
    Trait("basket_value_max_365d", "behaviour", "money", "money", "fact", BUY, 365),
    Trait("gap_days_mean", "behaviour", "every", "days", "habit", BUY, orders="orders_total", least=3),
    Trait("gap_days_std", "behaviour", "span", "days", "habit", BUY, orders="orders_total", least=3),
    Trait("overdue_ratio", "behaviour", "ratio", "ratio", "habit", BUY, orders="orders_total", least=3),
    Trait("weekday_top", "behaviour", "weekday", "", "habit", BUY, else_any=True),
    Trait("hour_top", "behaviour", "hour", "", "habit", BUY, else_any=True),
    Trait("weekday_hist", "behaviour", "weekdays", "shares", "habit", BUY, else_any=True),
    Trait("hour_hist", "behaviour", "hours", "shares", "habit", BUY, else_any=True),
    Trait("weekend_share_90d", "behaviour", "percent", "share", "habit", ANY, 90),
    Trait("night_share_90d", "behaviour", "percent", "share", "habit", ANY, 90),
    Trait("active_days_30d", "behaviour", "count", "days", "fact", ANY, 30),
    Trait("active_days_90d", "behaviour", "count", "days", "fact", ANY, 90),
    Trait("sessions_30d", "behaviour", "count", "sessions", "fact", ANY, 30),
    Trait("sessions_90d", "behaviour", "count", "sessions", "fact", ANY, 90),
    Trait("sessions_trend_30d", "behaviour", "trend", "trend", "habit", ANY, 60),
    Trait("session_minutes_mean_90d", "behaviour", "minutes", "minutes", "habit", ANY, 90),
    Trait("session_events_mean_90d", "behaviour", "count", "events", "habit", ANY, 90),
    Trait("views_30d", "behaviour", "count", "views", "fact", VIEW, 30),
    Trait("views_90d", "behaviour", "count", "views", "fact", VIEW, 90),
    Trait("carts_30d", "behaviour", "count", "carts", "fact", CART, 30),
    Trait("wishes_30d", "behaviour", "count", "wishes", "fact", ("wish",), 30),
    Trait("searches_30d", "behaviour", "count", "searches", "fact", ("search",), 30),
    Trait("discount_share_90d", "behaviour", "percent", "share", "habit", BUY, 90),
    Trait("coupon_orders_share_90d", "behaviour", "percent", "share", "habit", BUY, 90, "orders_90d"),
    Trait("coupons_received_90d", "behaviour", "count", "coupons", "fact", ("coupon_receive",), 90),
    Trait("coupons_redeemed_90d", "behaviour", "count", "coupons", "fact", ("coupon_redeem",), 90),
    Trait("channel_top", "behaviour", "word", "", "habit"),
    Trait("channel_count_90d", "behaviour", "count", "channels", "fact", ANY, 90),
    Trait("device_top", "behaviour", "word", "", "habit"),
    Trait("device_count_90d", "behaviour", "count", "devices", "fact", ANY, 90),
    Trait("reviews_365d", "behaviour", "count", "reviews", "fact", ("review",), 365),
    Trait("rating_mean_365d", "behaviour", "stars", "stars", "habit", ("review",), 365),
    Trait("rfm", "behaviour", "text", "", "fact", BUY, 365),
    Trait("top_categories", "interests", "tops", "shares", "habit", LOOK),
    Trait("top_brands", "interests", "tops", "shares", "habit", LOOK),
    Trait("category_concentration_90d", "interests", "percent", "share", "habit", LOOK, 90),
    Trait("category_count_90d", "interests", "count", "categories", "fact", LOOK, 90),
    Trait("brand_count_90d", "interests", "count", "brands", "fact", LOOK, 90),
    Trait("item_count_90d", "interests", "count", "items", "fact", LOOK, 90),
    Trait("new_item_share_90d", "interests", "percent", "share", "habit", BUY, 90, else_any=True),
    Trait("price_mean_90d", "interests", "money", "money", "habit", BUY, 90),
    Trait("price_level_90d", "interests", "level", "ratio", "habit", BUY, 90),
    Trait("ties", "social", "count", "people", "fact"),
    Trait("refunds_365d", "risk", "count", "refunds", "fact", BACK, 365),
    Trait("refund_share_365d", "risk", "percent", "share", "fact", BACK, 365),
)  # fmt: skip
BY_NAME: dict[str, Trait] = {trait.name: trait for trait in COMPUTED}

# Attributes people declare: columns of ready.users, in the order they are read.
DECLARED: dict[str, Format] = {
    "registered_at": "date",
    "birth_year": "year",
    "age_band": "text",
    "gender": "word",
    "city": "text",
    "region": "text",
    "country": "text",
    "occupation": "text",
    "education": "text",
    "marital_status": "word",
    "household_size": "text",
    "children": "text",
    "income_band": "text",
    "member_level": "word",
    "signup_channel": "word",
}

# What a profile keeps of a shop that never records purchases: said so, rather than shown as noughts.
BUYING = frozenset(trait.name for trait in COMPUTED if trait.events == BUY and not trait.else_any)


def grow_confidence(count: float, half: float) -> float:
    """Confidence of a habit seen in `count` events: 0 for none, one half at `half`, never quite 1."""
    return round(min(count / (count + half), 0.99), 3) if count > 0 else 0.0


def expire(as_of: datetime, days: int, limit_days: int) -> datetime:
    """When a trait with a window of `days` (0: all history) is stale."""
    return as_of + timedelta(days=min(days or limit_days, limit_days))


def format_by_unit(unit: str) -> Format:
    """How a number of a unit is written where no trait says so."""
    by_unit: dict[str, Format] = {
        "money": "money",
        "share": "percent",
        "ratio": "ratio",
        "-1..1": "trend",
        "1..5": "score",
        "hour": "hour",
        "weekday": "weekday",
        "stars": "stars",
    }
    return by_unit.get(unit, "count" if unit else "number")
