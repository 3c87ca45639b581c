"""The standard set: what every shop wants to know of a customer. Meanings stand in words/features.toml."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

from huaxiang.features.aggregations import (
    Count,
    Gap,
    Mean,
    Ratio,
    Recency,
    Sessions,
    Share,
    Sum,
    Tenure,
    Trend,
)  # fmt: skip
from huaxiang.features.algebra import Aggregation, Feature
from huaxiang.features.keyed import (
    ActiveDays,
    Basket,
    DecayedTop,
    Distinct,
    Hours,
    Mode,
    NewShare,
    Orders,
    TopShare,
    ValueShare,
    Weekdays,
)
from huaxiang.features.scores import RANKED, Quintile, Rfm
from huaxiang.words import Words

BOUGHT = "event == 'purchase'"
NIGHT = "hour >= 22 or hour < 6"
SEEN = "event in ('view', 'click', 'wish', 'add_to_cart')"
# What is counted over each of the windows in DAYS: name -> event.
COUNTED = {
    "views": "view",
    "clicks": "click",
    "searches": "search",
    "carts": "add_to_cart",
    "wishes": "wish",
    "purchases": "purchase",
    "refunds": "refund",
    "reviews": "review",
}
DAYS = ("1d", "7d", "30d", "90d")
TOUCHED = "event in ('view', 'click', 'wish', 'add_to_cart', 'purchase', 'review')"


def standard_features(categories: Sequence[str] = (), *, sells: bool = True) -> list[Feature]:
    """The standard set.

    categories: top-level categories that each get a share of spend
    sells: whether there are purchases at all; novelty is read from views where there are none
    """
    return [
        *_recency(),
        *_frequency(),
        *_money(),
        *_rhythm(),
        *_basket(),
        *_taste(sells),
        *_rest(),
        *_category_shares(categories),
    ]


def _make(
    group: str, name: str, agg: Aggregation, where: str = "", window: str = "", unit: str = "", **places: str
) -> Feature:
    """A feature whose meaning is found by its name without the window (`spend_30d`: `features.meaning.spend`)."""
    stem, days = name, window.removesuffix("d")
    if days and name.endswith(f"_{window}"):
        stem = name.removesuffix(f"_{window}")
    stem = "category_share" if places else stem
    en, zh = (Words(lang)(f"features.meaning.{stem}", days=days, **places) for lang in ("en", "zh"))
    return Feature(name, agg, where, window, unit, en.replace("last 1 day", "last day"), zh, group, "huaxiang")


def _recency() -> Iterator[Feature]:
    yield _make("recency", "recency_days", Recency(), BOUGHT, unit="days")
    yield _make("recency", "idle_days", Recency(), unit="days")
    yield _make("recency", "tenure_days", Tenure(), unit="days")
    yield _make("recency", "first_purchase_days", Recency(first=True), BOUGHT, unit="days")


def _frequency() -> Iterator[Feature]:
    for window in ("7d", "30d", "90d", "365d", ""):
        yield _make("frequency", f"orders_{window or 'total'}", Orders(), BOUGHT, window, "orders")
    for name, event in COUNTED.items():
        group = {"refund": "returns", "review": "review"}.get(event, "frequency")
        for window in DAYS:
            yield _make(group, f"{name}_{window}", Count(), f"event == '{event}'", window, "events")
    for window in ("30d", "90d"):
        yield _make("frequency", f"active_days_{window}", ActiveDays(), "", window, "days")
    for window in ("7d", "30d", "90d"):
        yield _make("frequency", f"sessions_{window}", Sessions(), "", window, "sessions")
    yield _make("frequency", "session_minutes_mean_90d", Sessions("minutes"), "", "90d", "minutes")
    yield _make("frequency", "session_events_mean_90d", Sessions("events"), "", "90d", "events")
    yield _make("frequency", "orders_trend_30d", Trend(Orders()), BOUGHT, "30d", "-1..1")
    yield _make("frequency", "sessions_trend_30d", Trend(Sessions()), "", "30d", "-1..1")


def _money() -> Iterator[Feature]:
    for window in (*DAYS, "365d", ""):
        yield _make("money", f"spend_{window or 'total'}", Sum("amount"), BOUGHT, window, "money")
    for window in DAYS:
        yield _make("money", f"pieces_{window}", Sum("quantity"), BOUGHT, window, "pieces")
    yield _make("money", "spend_trend_30d", Trend(Sum("amount")), BOUGHT, "30d", "-1..1")


def _rhythm() -> Iterator[Feature]:
    yield _make("rhythm", "gap_days_mean", Gap("mean"), BOUGHT, unit="days")
    yield _make("rhythm", "gap_days_std", Gap("std"), BOUGHT, unit="days")
    yield _make("rhythm", "overdue_ratio", Gap("overdue"), BOUGHT, unit="ratio")
    yield _make("rhythm", "weekend_share_90d", Share("weekday >= 6"), "", "90d", "share")
    yield _make("rhythm", "night_share_90d", Share(NIGHT), "", "90d", "share")
    yield _make("rhythm", "hour_top", Hours(top=True), BOUGHT, unit="hour")
    yield _make("rhythm", "weekday_top", Weekdays(top=True), BOUGHT, unit="weekday")
    yield _make("rhythm", "hour_hist", Hours(), BOUGHT, unit="share")
    yield _make("rhythm", "weekday_hist", Weekdays(), BOUGHT, unit="share")


def _basket() -> Iterator[Feature]:
    yield _make("basket", "basket_items_mean_90d", Basket("quantity"), BOUGHT, "90d", "pieces")
    yield _make("basket", "basket_value_mean_90d", Basket("amount"), BOUGHT, "90d", "money")
    yield _make("basket", "basket_value_max_365d", Basket("amount", "max"), BOUGHT, "365d", "money")
    yield _make("price", "price_mean_90d", Mean("price"), BOUGHT, "90d", "money")
    yield _make("price", "price_level_90d", Mean("price_ratio"), BOUGHT, "90d", "ratio")
    discount = Ratio(Sum("discount"), Sum("amount + discount"), bottom_where="discount is not null")
    yield _make("promotion", "discount_share_90d", discount, BOUGHT, "90d", "share")
    coupons = Ratio(Orders("coupon_id is not null"), Orders())
    yield _make("promotion", "coupon_orders_share_90d", coupons, BOUGHT, "90d", "share")
    yield _make("promotion", "coupons_received_90d", Count(), "event == 'coupon_receive'", "90d", "events")
    yield _make("promotion", "coupons_redeemed_90d", Count(), "event == 'coupon_redeem'", "90d", "events")
    yield _make("returns", "refunds_365d", Count(), "event == 'refund'", "365d", "events")
    for window in DAYS:
        yield _make("returns", f"refunded_{window}", Sum("amount"), "event == 'refund'", window, "money")
    refunded = Ratio(Sum("amount"), Sum("amount"), "event == 'refund'", BOUGHT)
    yield _make("returns", "refund_share_365d", refunded, "", "365d", "share")


def _taste(sells: bool) -> Iterator[Feature]:
    yield _make("taste", "category_count_90d", Distinct("category_2"), TOUCHED, "90d", "categories")
    yield _make("taste", "brand_count_90d", Distinct("brand"), TOUCHED, "90d", "brands")
    yield _make("taste", "item_count_90d", Distinct("item_id"), TOUCHED, "90d", "items")
    yield _make("taste", "top_categories", DecayedTop("category_2"), unit="share")
    yield _make("taste", "top_brands", DecayedTop("brand"), unit="share")
    yield _make("taste", "category_concentration_90d", TopShare("category_2"), TOUCHED, "90d", "share")
    yield _make("novelty", "new_item_share_90d", NewShare("item_id"), BOUGHT if sells else SEEN, "90d", "share")


def _rest() -> Iterator[Feature]:
    for key in ("channel", "device"):
        yield _make("channel", f"{key}_top", Mode(key), unit="name")
        yield _make("channel", f"{key}_count_90d", Distinct(key), "", "90d", f"{key}s")
    yield _make("review", "reviews_365d", Count(), "event == 'review'", "365d", "events")
    yield _make("review", "rating_mean_365d", Mean("rating"), "", "365d", "stars")
    for score in ("r_score", "f_score", "m_score"):
        yield _make("score", score, Quintile(*RANKED[score]), unit="1..5")
    yield _make("score", "rfm", Rfm(), unit="code")


def _category_shares(categories: Sequence[str]) -> Iterator[Feature]:
    taken: set[str] = set()
    for category in categories:
        name = f"share_{slug(category)}"
        if name in taken:
            name = f"{name}_{hashlib.sha256(category.encode()).hexdigest()[:4]}"
        taken.add(name)
        agg = ValueShare("category_top", category)
        yield _make("taste", name, agg, BOUGHT, "365d", "share", category=category)


def slug(text: str) -> str:
    """`text` as the end of a column name: ASCII letters and digits; a hash where none are left (Chinese names)."""
    made = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:30]
    return made or hashlib.sha256(text.encode()).hexdigest()[:8]
