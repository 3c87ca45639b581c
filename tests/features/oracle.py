"""The standard features in plain Python, written to be checked by eye: no SQL, no shortcuts."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from math import floor, log
from statistics import mean, stdev
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
WEIGHTS = {"view": 1.0, "click": 1.0, "wish": 3.0, "add_to_cart": 3.0, "purchase": 5.0, "review": 2.0}


def local(moment: datetime, zone: str) -> datetime:
    return moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def known_events(events: list[Row], user: str, as_of: date, zone: str) -> list[Row]:
    """The user's events that had happened and were known by local midnight, oldest first."""
    known = [event for event in events if event["user_id"] == user]
    known = [event for event in known if local(max(event["ts"], event["received_at"]), zone).date() < as_of]
    return sorted(known, key=lambda event: (event["ts"], event["event_id"]))


def oracle(events: list[Row], items: dict[str, Row], user: str, as_of: date, zone: str) -> Row:
    mine = [event | {"local": local(event["ts"], zone)} for event in known_events(events, user, as_of, zone)]

    def within(days: int, rows: list[Row] = mine, shift: int = 0) -> list[Row]:
        return [
            row for row in rows if as_of - timedelta(days + shift) <= row["local"].date() < as_of - timedelta(shift)
        ]

    def share(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    def trend(now: float, then: float) -> float | None:
        return (now - then) / (now + then) if now + then else None

    def paid(rows: list[Row]) -> float:
        return sum(row["amount"] for row in rows)

    def orders(rows: list[Row]) -> int:
        return len({row["order_id"] or row["local"].date() for row in rows})

    bought = [row for row in mine if row["event"] == "purchase"]
    days = sorted({row["local"].date() for row in bought})
    gaps = [(after - before).days for before, after in zip(days, days[1:], strict=False)]
    starts, spent_s = [], 0.0
    for number, row in enumerate(mine):
        gap = (row["ts"] - mine[number - 1]["ts"]).total_seconds() if number else None
        if gap is None or gap > 30 * 60:
            starts.append(row)
        elif row in within(90):
            spent_s += gap
    baskets: dict[Any, float] = defaultdict(float)
    for row in within(90, bought):
        baskets[row["order_id"] or row["local"].date()] += row["amount"]
    touched = [row for row in within(90) if row["event"] in WEIGHTS and row["item_id"]]
    kinds = Counter(category for row in touched if (category := two_levels(items, row["item_id"])))
    score: dict[str, float] = defaultdict(float)
    for row in mine:
        category = two_levels(items, row["item_id"])
        if category and WEIGHTS.get(row["event"], 0):
            score[category] += WEIGHTS[row["event"]] * 0.5 ** ((as_of - row["local"].date()).days / 30)
    whole = sum(score.values())
    best = sorted(score.items(), key=lambda entry: (floor(log(entry[1]) * 1e9 + 0.317), entry[0]), reverse=True)[:5]
    hours = Counter(row["local"].hour for row in (bought or mine))
    weekdays = Counter(row["local"].weekday() for row in (bought or mine))
    recent = {row["item_id"] for row in within(90, bought) if row["item_id"]}
    earlier = {row["item_id"] for row in bought if row["item_id"] and row["local"].date() < as_of - timedelta(90)}
    channels = Counter(row["channel"] for row in mine if row["channel"])
    last_on = {row["channel"]: row["local"].date() for row in mine}
    refunds = [row for row in mine if row["event"] == "refund"]
    return {
        "recency_days": (as_of - days[-1]).days if days else None,
        "idle_days": (as_of - mine[-1]["local"].date()).days if mine else None,
        "tenure_days": (as_of - mine[0]["local"].date()).days if mine else None,
        "first_purchase_days": (as_of - days[0]).days if days else None,
        "orders_7d": orders(within(7, bought)),
        "orders_90d": orders(within(90, bought)),
        "orders_total": orders(bought),
        "spend_30d": paid(within(30, bought)),
        "spend_total": paid(bought),
        "views_1d": sum(row["event"] == "view" for row in within(1)),
        "views_30d": sum(row["event"] == "view" for row in within(30)),
        "carts_90d": sum(row["event"] == "add_to_cart" for row in within(90)),
        "active_days_30d": len({row["local"].date() for row in within(30)}),
        "sessions_90d": len(within(90, starts)),
        "session_minutes_mean_90d": share(spent_s / 60, len(within(90, starts))),
        "session_events_mean_90d": share(len(within(90)), len(within(90, starts))),
        "spend_trend_30d": trend(paid(within(30, bought)), paid(within(30, bought, 30))),
        "orders_trend_30d": trend(orders(within(30, bought)), orders(within(30, bought, 30))),
        "sessions_trend_30d": trend(len(within(30, starts)), len(within(30, starts, 30))),
        "gap_days_mean": mean(gaps) if gaps else None,
        "gap_days_std": stdev(gaps) if len(gaps) > 1 else None,
        "overdue_ratio": (as_of - days[-1]).days / mean(gaps) if gaps else None,
        "weekend_share_90d": share(sum(row["local"].weekday() >= 5 for row in within(90)), len(within(90))),
        "night_share_90d": share(sum(row["local"].hour >= 22 or row["local"].hour < 6 for row in within(90)), len(within(90))),
        "hour_hist": [hours[hour] / hours.total() for hour in range(24)] if mine else None,
        "hour_top": min(hours, key=lambda hour: (-hours[hour], hour)) if mine else None,
        "weekday_hist": [weekdays[day] / weekdays.total() for day in range(7)] if mine else None,
        "basket_value_mean_90d": mean(baskets.values()) if baskets else None,
        "price_level_90d": price_level(events, items, within(90, bought), zone),
        "refund_share_365d": share(paid(within(365, refunds)), paid(within(365, bought))),
        "item_count_90d": len({row["item_id"] for row in touched}),
        "category_count_90d": len(kinds),
        "category_concentration_90d": share(max(kinds.values(), default=0), kinds.total()),
        "top_categories": [{"key": key, "share": value / whole, "score": value} for key, value in best] or None,
        "new_item_share_90d": share(len(recent - earlier), len(recent)),
        "channel_top": max(channels, key=lambda name: (channels[name], last_on[name], name)) if channels else None,
        "channel_count_90d": len({row["channel"] for row in within(90) if row["channel"]}),
    }  # fmt: skip


def two_levels(items: dict[str, Row], item: str | None) -> str | None:
    path = items.get(item or "", {}).get("category")
    return " > ".join(path.split(" > ")[:2]) if path else None


def price_level(events: list[Row], items: dict[str, Row], bought: list[Row], zone: str) -> float | None:
    """Mean of price / what the category's purchases known before that day cost on average (all users)."""
    ratios = []
    for row in bought:
        category = items.get(row["item_id"] or "", {}).get("category")
        day = row["local"].date()
        known = [
            other["price"] for other in events
            if other["event"] == "purchase" and other["item_id"] and items[other["item_id"]]["category"] == category
            and local(max(other["ts"], other["received_at"]), zone).date() < day
        ]  # fmt: skip
        if category and known:
            ratios.append(row["price"] / mean(known))
    return mean(ratios) if ratios else None
