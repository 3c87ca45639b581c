"""Every aggregation of the algebra, declared as a shop would declare it, and beside it the same in plain Python.

`EVERYTHING`: name -> (what stands in [features.mine], a function of the user's known events, oldest first, and the as-of day).
An event here is the row of the stream with `day`, `hour`, `weekday` (local), `category_2`, `brand`, `order` and `session_start`,
`gap_s` added.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from itertools import pairwise
from math import floor, log
from statistics import mean, quantiles, stdev
from typing import Any

from tests.features.conftest import Row
from tests.features.oracle import WEIGHTS, known_events, local, two_levels

Rows = list[Row]
Answer = Callable[[Rows, date], Any]
BOUGHT = "event == 'purchase'"


def prepared(events: Rows, items: dict[str, Row], user: str, as_of: date, zone: str) -> Rows:
    """The user's events known by as-of, oldest first, with what features read beside them."""
    found = []
    before: dict[Any, Any] = {}
    for event in known_events(events, user, as_of, zone):
        moment = local(event["ts"], zone)
        item = items.get(event["item_id"] or "", {})
        ordered = event["event"] in ("purchase", "refund", "cancel", "checkout") or event["order_id"]
        last, most = before.get(event["session_id"]), 86_400 if event["session_id"] else 1800
        gap = (event["ts"] - last).total_seconds() if last else None
        begins = gap is None or gap > most
        before[event["session_id"]] = event["ts"]
        found.append(event | {
            "day": moment.date(), "hour": moment.hour, "weekday": moment.isoweekday(), "brand": item.get("brand"),
            "category_2": two_levels(items, event["item_id"]),
            "order": (event["order_id"] or moment.date()) if ordered else None,
            "session_start": begins, "gap_s": 0.0 if begins else gap,
        })  # fmt: skip
    return found


def within(rows: Rows, as_of: date, days: int, shift: int = 0) -> Rows:
    return [row for row in rows if as_of - timedelta(days + shift) <= row["day"] < as_of - timedelta(shift)]


def bought(rows: Rows) -> Rows:
    return [row for row in rows if row["event"] == "purchase"]


def has(rows: Rows, column: str) -> list[Any]:
    return [row[column] for row in rows if row[column] is not None]


def ratio(top: float, bottom: float) -> float | None:
    return top / bottom if bottom else None


def trend(now: float, then: float) -> float | None:
    return ratio(now - then, now + then)


def decay(row: Row, as_of: date, half_life: float) -> float:
    return float(0.5 ** ((as_of - row["day"]).days / half_life))


def gaps(rows: Rows) -> list[tuple[date, int]]:
    return [(after, (after - before).days) for before, after in pairwise(sorted({row["day"] for row in rows}))]


def runs(rows: Rows) -> list[tuple[date, int]]:
    """(last day, length) of each run of days in a row."""
    days = sorted({row["day"] for row in rows})
    found: list[tuple[date, int]] = []
    for day in days:
        length = found.pop()[1] if found and found[-1][0] == day - timedelta(1) else 0
        found.append((day, length + 1))
    return found


def baskets(rows: Rows, column: str) -> list[float]:
    found: dict[Any, list[float]] = defaultdict(list)
    for row in rows:
        if row["order"] is not None and row[column] is not None:
            found[row["order"]].append(row[column])
    return [sum(values) for values in found.values()]


def mode(rows: Rows, key: str) -> Any:
    counts, last = Counter(has(rows, key)), {row[key]: row["day"] for row in rows}
    return max(counts, key=lambda name: (counts[name], last[name], name)) if counts else None


def tops(rows: Rows, as_of: date, key: str, half_life: float, k: int) -> list[Row] | None:
    score: dict[str, float] = defaultdict(float)
    for row in rows:
        if row[key] is not None and WEIGHTS.get(row["event"]):
            score[row[key]] += WEIGHTS[row["event"]] * decay(row, as_of, half_life)
    whole = sum(score.values())
    best = sorted(score.items(), key=lambda entry: (floor(log(entry[1]) * 1e9 + 0.317), entry[0]), reverse=True)[:k]
    return [{"key": name, "share": value / whole, "score": value} for name, value in best] or None


def shares(values: Iterable[Any], places: Iterable[Any]) -> list[float] | None:
    counts = Counter(values)
    return [counts[place] / counts.total() for place in places] if counts else None


def band(price: float) -> int:
    return sum(price >= edge for edge in (10.0, 50.0, 200.0))


def quantile(values: list[float], q: float) -> float | None:
    if not values:
        return None
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[round(q * 100) - 1]


def entry(agg: str, answer: Answer, **rest: Any) -> tuple[Row, Answer]:
    return {"agg": agg, **rest}, answer


EVERYTHING: dict[str, tuple[Row, Answer]] = {
    "count_30": entry("count", lambda rows, as_of: len(within(rows, as_of, 30)), window="30d"),
    "count_dear": entry("count", lambda rows, as_of: sum(price > 100 for price in has(bought(rows), "price")),
                        where=f"{BOUGHT} and price > 100"),
    "count_not_web": entry("count", lambda rows, as_of: sum(name != "web" for name in has(rows, "channel")),
                           where="not (channel == 'web')"),
    "count_in": entry("count", lambda rows, as_of: sum(row["event"] in ("view", "click") for row in within(rows, as_of, 7)),
                      where="event in ('view', 'click')", window="7d"),
    "any_7": entry("any", lambda rows, as_of: int(bool(bought(within(rows, as_of, 7)))), where=BOUGHT, window="7d"),
    "sum_90": entry("sum", lambda rows, as_of: sum(has(bought(within(rows, as_of, 90)), "amount")),
                    column="amount", where=BOUGHT, window="90d"),
    "sum_made": entry("sum", lambda rows, as_of: sum(row["price"] * row["quantity"] - row["discount"] for row in bought(rows) if row["discount"] is not None),
                      column="price * quantity - discount", where=BOUGHT),
    "mean_30": entry("mean", lambda rows, as_of: mean(found) if (found := has(within(rows, as_of, 30), "price")) else None,
                     column="price", window="30d"),
    "min_all": entry("min", lambda rows, as_of: min(has(bought(rows), "price"), default=None), column="price", where=BOUGHT),
    "max_30": entry("max", lambda rows, as_of: max(has(within(rows, as_of, 30), "price"), default=None),
                    column="price", window="30d"),
    "first_price": entry("first", lambda rows, as_of: next(iter(has(rows, "price")), None), column="price"),
    "first_channel_30": entry("first", lambda rows, as_of: next(iter(has(within(rows, as_of, 30), "channel")), None),
                              column="channel", window="30d"),
    "last_channel": entry("last", lambda rows, as_of: next(iter(has(rows, "channel")[::-1]), None), column="channel"),
    "last_price_30": entry("last", lambda rows, as_of: next(iter(has(bought(within(rows, as_of, 30)), "price")[::-1]), None),
                           column="price", where=BOUGHT, window="30d"),
    "distinct_items_30": entry("distinct", lambda rows, as_of: len(set(has(within(rows, as_of, 30), "item_id"))),
                               column="item_id", window="30d"),
    "distinct_brands": entry("distinct", lambda rows, as_of: len(set(has(bought(rows), "brand"))), column="brand", where=BOUGHT),
    "days_60": entry("days", lambda rows, as_of: len({row["day"] for row in within(rows, as_of, 60)}), window="60d"),
    "share_app": entry("share", lambda rows, as_of: ratio(sum(row["channel"] == "app" for row in within(rows, as_of, 90)), len(within(rows, as_of, 90))),
                       column="channel == 'app'", window="90d"),
    "trend_30": entry("trend", lambda rows, as_of: trend(len(within(rows, as_of, 30)), len(within(rows, as_of, 30, 30))), window="30d"),
    "trend_spend_20": entry("trend", lambda rows, as_of: trend(sum(has(bought(within(rows, as_of, 20)), "amount")), sum(has(bought(within(rows, as_of, 20, 20)), "amount"))),
                            column="amount", where=BOUGHT, window="20d"),
    "recency": entry("recency", lambda rows, as_of: min(((as_of - row["day"]).days for row in bought(rows)), default=None), where=BOUGHT),
    "recency_30": entry("recency", lambda rows, as_of: min(((as_of - row["day"]).days for row in within(rows, as_of, 30)), default=None), window="30d"),
    "decayed_1": entry("decayed_sum", lambda rows, as_of: sum(decay(row, as_of, 30) for row in rows)),
    "decayed_spend_7": entry("decayed_sum", lambda rows, as_of: sum(row["amount"] * decay(row, as_of, 7) for row in bought(rows) if row["amount"] is not None),
                             column="amount", where=BOUGHT, half_life="7d"),
    "decayed_window": entry("decayed_sum", lambda rows, as_of: sum(decay(row, as_of, 10) for row in within(rows, as_of, 60)), half_life="10d", window="60d"),
    "gap_mean": entry("gap", lambda rows, as_of: mean(found) if (found := [gap for _, gap in gaps(bought(rows))]) else None, where=BOUGHT),
    "gap_mean_60": entry("gap", lambda rows, as_of: mean(found) if (found := [gap for day, gap in gaps(rows) if day >= as_of - timedelta(60)]) else None, window="60d"),
    "gap_std": entry("gap_std", lambda rows, as_of: stdev(found) if len(found := [gap for _, gap in gaps(rows)]) > 1 else None),
    "streak": entry("streak", lambda rows, as_of: max((length for _, length in runs(rows)), default=0)),
    "streak_30": entry("streak", lambda rows, as_of: max((length for _, length in runs(within(rows, as_of, 30))), default=0), window="30d"),
    "streak_now": entry("streak_current", lambda rows, as_of: next((length for day, length in runs(rows) if day == as_of - timedelta(1)), 0)),
    "sessions_30": entry("sessions", lambda rows, as_of: sum(row["session_start"] for row in within(rows, as_of, 30)), window="30d"),
    "sessions_all": entry("sessions", lambda rows, as_of: sum(row["session_start"] for row in rows)),
    "session_minutes_60": entry("session_minutes", lambda rows, as_of: ratio(sum(row["gap_s"] for row in within(rows, as_of, 60)) / 60, sum(row["session_start"] for row in within(rows, as_of, 60))), window="60d"),
    "orders_60": entry("orders", lambda rows, as_of: len(set(has(bought(within(rows, as_of, 60)), "order"))), where=BOUGHT, window="60d"),
    "basket_90": entry("basket", lambda rows, as_of: mean(found) if (found := baskets(bought(within(rows, as_of, 90)), "amount")) else None,
                       column="amount", where=BOUGHT, window="90d"),
    "basket_max": entry("basket_max", lambda rows, as_of: max(baskets(bought(rows), "quantity"), default=None), column="quantity", where=BOUGHT),
    "new_items_30": entry("new_share", lambda rows, as_of: ratio(
        len(set(has(within(rows, as_of, 30), "item_id")) - set(has([row for row in rows if row["day"] < as_of - timedelta(30)], "item_id"))),
        len(set(has(within(rows, as_of, 30), "item_id")))), column="item_id", window="30d"),
    "tops_brand": entry("top", lambda rows, as_of: tops(rows, as_of, "brand", 15, 3), column="brand", half_life="15d", k=3),
    "top_bought_60": entry("top", lambda rows, as_of: tops(bought(within(rows, as_of, 60)), as_of, "category_2", 30, 5),
                           column="category_2", where=BOUGHT, window="60d"),
    "top_channels": entry("top", lambda rows, as_of: tops(rows, as_of, "channel", 30, 2), column="channel", k=2),
    "top_share_90": entry("top_share", lambda rows, as_of: ratio(max(Counter(has(within(rows, as_of, 90), "category_2")).values(), default=0), len(has(within(rows, as_of, 90), "category_2"))),
                          column="category_2", window="90d"),
    "mode_device": entry("mode", lambda rows, as_of: mode(rows, "device"), column="device"),
    "mode_brand_60": entry("mode", lambda rows, as_of: mode(within(rows, as_of, 60), "brand"), column="brand", window="60d"),
    "hours_all": entry("hours", lambda rows, as_of: shares(has(rows, "hour"), range(24))),
    "hours_bought": entry("hours", lambda rows, as_of: shares(has(bought(rows) or rows, "hour"), range(24)), where=BOUGHT),
    "weekdays_60": entry("weekdays", lambda rows, as_of: shares(has(bought(within(rows, as_of, 60)) or within(rows, as_of, 60), "weekday"), range(1, 8)),
                         where=BOUGHT, window="60d"),
    "bands": entry("price_bands", lambda rows, as_of: shares(map(band, has(bought(rows), "price")), range(4)) or shares(map(band, has(rows, "price")), range(4)),
                   where=BOUGHT, bands=(10.0, 50.0, 200.0)),
    "median_paid": entry("median", lambda rows, as_of: quantile(has(bought(rows), "amount"), 0.5), column="amount", where=BOUGHT),
    "q90_60": entry("quantile", lambda rows, as_of: quantile(has(within(rows, as_of, 60), "price"), 0.9), column="price", window="60d", q=0.9),
    "last_items": entry("sequence", lambda rows, as_of: has(rows, "item_id")[::-1][:4] or None, column="item_id", k=4),
    "last_paid_30": entry("sequence", lambda rows, as_of: has(bought(within(rows, as_of, 30)), "amount")[::-1][:20] or None,
                          column="amount", where=BOUGHT, window="30d"),
    "ratio_own": entry("ratio", lambda rows, as_of: ratio(sum(has(bought(within(rows, as_of, 90)), "amount")), len(within(rows, as_of, 30))),
                       top="sum_90", bottom="count_30"),
    "ratio_nested": entry("ratio", lambda rows, as_of: ratio(len(within(rows, as_of, 30)), ratio(sum(has(bought(within(rows, as_of, 90)), "amount")), len(within(rows, as_of, 30))) or 0),
                          top="count_30", bottom="ratio_own"),
}  # fmt: skip
MINE = {name: declared for name, (declared, _) in EVERYTHING.items()}
BATCH_ONLY = {"median_paid", "q90_60"}


def answers(rows: Rows, as_of: date) -> Row:
    return {name: answer(rows, as_of) for name, (_, answer) in EVERYTHING.items()}
