"""A small shop's tables, made by hand: as of 1 July 2024, in Shanghai."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from huaxiang.engine import Engine, Lake
from huaxiang.profile import ProfileReport, build_profiles
from huaxiang.settings import ProfileSettings, Settings, ShopSettings

AS_OF = date(2024, 7, 1)
MOMENT = datetime(2024, 6, 30, 16)  # midnight of 1 July in Shanghai, in UTC
TOPS = pa.list_(pa.struct([("key", pa.string()), ("share", pa.float64()), ("score", pa.float64())]))
REASONS = pa.list_(pa.struct([("feature", pa.string()), ("value", pa.float64()), ("effect", pa.float64())]))

FEATURES: dict[str, pa.DataType] = {
    "recency_days": pa.float64(),
    "idle_days": pa.float64(),
    "tenure_days": pa.float64(),
    "first_purchase_days": pa.float64(),
    "orders_total": pa.int64(),
    "orders_365d": pa.int64(),
    "orders_90d": pa.int64(),
    "orders_30d": pa.int64(),
    "spend_365d": pa.float64(),
    "spend_90d": pa.float64(),
    "spend_trend_30d": pa.float64(),
    "gap_days_mean": pa.float64(),
    "overdue_ratio": pa.float64(),
    "basket_value_mean_90d": pa.float64(),
    "discount_share_90d": pa.float64(),
    "weekend_share_90d": pa.float64(),
    "active_days_90d": pa.int64(),
    "views_90d": pa.int64(),
    "carts_30d": pa.int64(),
    "purchases_30d": pa.int64(),
    "weekday_top": pa.int64(),
    "hour_top": pa.int64(),
    "hour_hist": pa.list_(pa.float64()),
    "top_categories": TOPS,
    "price_level_90d": pa.float64(),
    "refund_share_365d": pa.float64(),
    "refunds_365d": pa.int64(),
}


def features(rows: list[dict[str, Any]], columns: dict[str, pa.DataType] = FEATURES) -> pa.Table:
    """The feature table of `rows`; what a row leaves out is NULL."""
    names = {"user_id": pa.string(), "as_of": pa.date32(), **columns}
    full = [dict.fromkeys(names) | {"as_of": AS_OF} | row for row in rows]
    return pa.Table.from_pylist(full, schema=pa.schema(list(names.items())))


def events(rows: list[tuple[str, str, int, str | None, float | None]]) -> pa.Table:
    """ready.events of (user, event, days before as-of, item, amount) at 10 in the morning in Shanghai."""
    made = []
    for number, (user, event, days, item, amount) in enumerate(rows):
        ts = MOMENT - timedelta(days=days) + timedelta(hours=10)
        local = ts + timedelta(hours=8)
        made.append(
            {
                "user_id": user,
                "event_id": f"e{number}",
                "event": event,
                "ts": ts,
                "known_at": ts,
                "hour": local.hour,
                "weekday": local.isoweekday(),
                "item_id": item,
                "category": f"Drinks > {item}" if item else None,
                "amount": amount,
            }
        )
    types = [("user_id", pa.string()), ("event_id", pa.string()), ("event", pa.string()), ("ts", pa.timestamp("us"))]
    types += [("known_at", pa.timestamp("us")), ("hour", pa.int8()), ("weekday", pa.int8()), ("item_id", pa.string())]
    types += [("category", pa.string()), ("amount", pa.float64())]
    return pa.Table.from_pylist(made, schema=pa.schema(types))


def users(rows: list[dict[str, Any]]) -> pa.Table:
    """ready.users of `rows`."""
    names = {"user_id": pa.string(), "gender": pa.string(), "age_band": pa.string(), "city": pa.string()}
    names |= {"extra": pa.string(), "sources": pa.string(), "filled": pa.list_(pa.string())}
    return pa.Table.from_pylist([dict.fromkeys(names) | row for row in rows], schema=pa.schema(list(names.items())))


def predictions(rows: list[dict[str, Any]]) -> pa.Table:
    """The predictions of `rows`."""
    names: dict[str, pa.DataType] = {
        "user_id": pa.string(),
        "outcome": pa.string(),
        "value": pa.float64(),
        "label": pa.string(),
    }
    names |= {name: pa.float64() for name in ("low", "high", "confidence", "threshold")}
    names |= {"reasons": REASONS, "as_of": pa.timestamp("us"), "model": pa.string(), "version": pa.string()}
    base: dict[str, Any] = dict.fromkeys(names) | {"as_of": MOMENT, "model": "lightgbm", "version": "v1"}
    return pa.Table.from_pylist([base | row for row in rows], schema=pa.schema(list(names.items())))


LOYAL: dict[str, Any] = {
    "user_id": "loyal0000001",
    "recency_days": 4,
    "idle_days": 2,
    "tenure_days": 400,
    "first_purchase_days": 390,
    "orders_total": 30,
    "orders_365d": 28,
    "orders_90d": 8,
    "orders_30d": 3,
    "spend_365d": 4182.37,
    "spend_90d": 1107.4,
    "spend_trend_30d": 0.5,  # three times the 30 days before
    "gap_days_mean": 12.5,
    "overdue_ratio": 0.32,
    "basket_value_mean_90d": 138.43,
    "discount_share_90d": 0.31,
    "weekend_share_90d": 0.7,
    "active_days_90d": 12,
    "weekday_top": 5,
    "hour_top": 18,
    "hour_hist": [0.0] * 18 + [0.6, 0.4] + [0.0] * 4,
    "top_categories": [
        {"key": "Drinks > Coffee", "share": 0.42, "score": 3.1},
        {"key": "Drinks > Tea", "share": 0.1, "score": 0.7},
    ],
    "price_level_90d": 0.87,
}
SILENT: dict[str, Any] = {
    "user_id": "silent000001",
    "recency_days": 50,
    "idle_days": 50,
    "tenure_days": 300,
    "first_purchase_days": 300,
    "orders_total": 3,
    "orders_365d": 3,
    "orders_90d": 1,
    "orders_30d": 0,
    "spend_365d": 90.0,
    "spend_90d": 30.0,
    "top_categories": [],
}
LOOKER: dict[str, Any] = {
    "user_id": "looker000001",
    "idle_days": 1,
    "tenure_days": 20,
    "orders_total": 0,
    "orders_365d": 0,
    "orders_90d": 0,
    "orders_30d": 0,
    "spend_365d": 0.0,
    "spend_90d": 0.0,
    "views_90d": 25,
    "carts_30d": 4,
    "purchases_30d": 0,
}

EVENTS = events(
    [
        *[("loyal0000001", "purchase", days, "coffee", 50.0) for days in range(4, 64, 6)],  # 10 purchases
        ("loyal0000001", "view", 2, "tea", None),
        *[("silent000001", "purchase", days, "tea", 30.0) for days in (50, 170, 300)],
        *[("looker000001", "view", days, "coffee", None) for days in (1, 3, 20)],
    ]
)
USERS = users(
    [
        {
            "user_id": "loyal0000001",
            "gender": "female",
            "age_band": "35-44",
            "city": "Hangzhou",
            "extra": '{"home_owner": "yes"}',
            "sources": '{"gender": "crm", "age_band": "crm", "city": "geo_vendor", "home_owner": "geo_vendor"}',
        },
        {"user_id": "silent000001", "gender": "male", "sources": '{"gender": "crm"}', "filled": ["gender"]},
        {"user_id": "nevercame001", "gender": "male", "sources": '{"gender": "crm"}'},
    ]
)
ITEMS = pa.table({"item_id": ["coffee", "tea"], "title": ["Dark roast <b>500 g</b>", "Longjing 龙井"]})
PREDICTIONS = predictions(
    [
        {
            "user_id": user,
            "outcome": "churn_30d",
            "value": value,
            "low": max(value - 0.02, 0.0),
            "high": value + 0.04,
            "confidence": 0.8,
            "threshold": 0.1,
            "reasons": [
                {"feature": "recency_days", "value": recency, "effect": effect},
                {"feature": "views_7d", "value": 3.0, "effect": -0.05},
            ],
        }
        for user, value, recency, effect in (("loyal0000001", 0.031, 4.0, -1.4), ("silent000001", 0.62, 50.0, 1.2))
    ]
    + [
        {
            "user_id": "loyal0000001",
            "outcome": "spend_90d",
            "value": 362.8,
            "low": 201.5,
            "high": 540.2,
            "confidence": 0.7,
        },
        {"user_id": "silent000001", "outcome": "age_band", "value": 0.46, "label": "25-34", "confidence": 0.46},
        {"user_id": "loyal0000001", "outcome": "age_band", "value": 0.5, "label": "25-34", "confidence": 0.5},
    ]
)
BUILD_NOTE: dict[str, Any] = {
    "as_of": "2024-07-01",
    "features": [
        {"name": "spend_90d", "unit": "money", "meaning_en": "amount paid in 90 days", "meaning_zh": "近 90 天实付", "version": "abc"}
    ],
    "outcomes": [
        {"name": "churn_30d", "kind": "binary", "within_days": 30, "meaning_en": "buys nothing in the next 30 days", "meaning_zh": "未来 30 天内不再购买"},
        {"name": "spend_90d", "kind": "number", "within_days": 90, "meaning_en": "spends in the next 90 days", "meaning_zh": "未来 90 天消费额"},
        {"name": "age_band", "kind": "class", "within_days": None, "meaning_en": "age band", "meaning_zh": "年龄段"},
    ],
}  # fmt: skip
SETTINGS = Settings(shop=ShopSettings(name="Teahouse", currency="CNY", timezone="Asia/Shanghai"))

Build = Callable[..., ProfileReport]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=2, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "shop" / "lake", engine)


@pytest.fixture
def build(lake: Lake) -> Build:
    """Writes the tables given and builds the profiles from them."""

    def make(
        rows: list[dict[str, Any]],
        *,
        settings: Settings = SETTINGS,
        note: dict[str, Any] = BUILD_NOTE,
        **tables: pa.Table,
    ) -> ProfileReport:
        with lake.step("build") as step:
            step.replace("features", features(rows) if rows or "features" not in tables else tables.pop("features"))
            for name, table in tables.items():
                step.replace(name.replace("_", ".", 1) if name.startswith(("ready_", "clean_")) else name, table)
            step.note |= note
        with lake.step("profile") as step:
            return build_profiles(step, settings)

    return make


@pytest.fixture
def teahouse(build: Build, lake: Lake) -> Lake:
    """The lake of the whole small shop, profiles built."""
    build([LOYAL, SILENT, LOOKER], ready_events=EVENTS, ready_users=USERS, ready_items=ITEMS, predictions=PREDICTIONS)
    return lake


def profile_settings(**given: Any) -> Settings:
    return SETTINGS.model_copy(update={"profile": ProfileSettings(**given)})
