"""The window: what was known at `as_of` of the year before it (or another number of days), as tables of the engine.

lines    one row a purchase line                        orders   one row an order, with what speaks against it
acts     one row any other event of a customer          members  one row a customer: number, age of the account

Days are local, as in `ready.events`; an event counts where it happened and became known before the local midnight of `as_of`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from huaxiang.apply.guard.owner import NIGHT_HOURS, SIGNS, unlike_sql
from huaxiang.engine import Engine

WINDOW_DAYS = 365  # where the settings say nothing else: who farmed coupons in spring is no other account in autumn
SEASON_DAYS = 90  # what is usual, and who buys together, is asked season by season, counted back from as_of
BURST_BUYERS = 6  # an item's day is a burst: so many buyers,
BURST_TIMES = 6.0  # and so many times its usual day (plus a half)
DEAR = 1.2  # times the item's usual price
QUICK_REFUND_DAYS = 7
YOUNG_DAYS = 7  # of an account
SEEN_BEFORE_H = 24  # an order nobody browsed for: no other event of the customer in the hours before


@dataclass(frozen=True)
class Sources:
    """SQL of what the guard reads: `ready.events` with `ready.fakes`, `ready.users`, `clean.identifiers`, `clean.relations`, `identity.links` ("": there is none)."""

    events: str
    users: str
    identifiers: str = ""
    relations: str = ""
    links: str = ""


@dataclass(frozen=True)
class Window:
    """Names of tables of the engine. browses: whether the shop records what is looked at before an order."""

    as_of: date
    lines: str
    acts: str
    orders: str
    members: str
    bursts: str
    browses: bool

    @property
    def tables(self) -> tuple[str, ...]:
        return (self.lines, self.acts, self.orders, self.members, self.bursts)


@contextmanager
def open_window(engine: Engine, sources: Sources, as_of: date, *, days: int = WINDOW_DAYS) -> Iterator[Window]:
    """The window's tables, dropped at the end."""
    window = _make(engine, sources, as_of, days)
    try:
        yield window
    finally:
        for name in window.tables:
            engine.drop(name)


def _make(engine: Engine, sources: Sources, as_of: date, days: int) -> Window:
    known = f"day < DATE '{as_of}' AND known_day < DATE '{as_of}'"
    recent = f"{known} AND day >= DATE '{as_of}' - {days}"
    lines = engine.store(f"""
        SELECT user_no, user_id, event_id, order_key, order_id, item_no, item_id, ts, day, hour, quantity, price, amount, discount,
            coupon_id IS NOT NULL AS coupon, device, refunded
        FROM ({sources.events}) WHERE event = 'purchase' AND order_key IS NOT NULL AND {recent}""")
    acts = engine.store(f"""
        SELECT user_no, event, order_key, item_no, ts, day, refund_of, rating, md5_number_lower(nullif(trim(text), '')) AS said, length(trim(text)) AS letters, device
        FROM ({sources.events}) WHERE event <> 'purchase' AND {recent}""")
    members = engine.store(f"""
        SELECT user_no, any_value(user_id) AS user_id, any_value(since) AS since, date_diff('day', any_value(since), TIMESTAMP '{as_of}') AS account_days
        FROM (SELECT user_no, user_id, least(coalesce(registered_at, first_ts), first_ts) AS since FROM ({sources.users}))
        WHERE user_no IN (SELECT user_no FROM {lines} UNION SELECT user_no FROM {acts}) GROUP BY user_no""")
    bursts = engine.store(bursts_sql(lines, as_of))
    browses = bool(engine.value(f"SELECT count(*) > 0 FROM {acts} WHERE event IN ('view', 'list_view', 'search', 'click', 'add_to_cart')"))  # fmt: skip
    unlike = engine.store(unlike_sql(sources.events, keys_sql(sources, members, as_of), as_of))
    orders = engine.store(_orders_sql(lines, acts, members, bursts, unlike, browses=browses))
    engine.drop(unlike)
    return Window(as_of, lines, acts, orders, members, bursts, browses)


def bursts_sql(lines: str, as_of: date) -> str:
    """item_no, day, buyers, ago (days before as_of, from 0): days on which many more customers than usual in that season bought an item."""
    ago = f"(DATE '{as_of}' - 1 - day)"
    season = f"{ago} // {SEASON_DAYS}"
    return f"""
        SELECT item_no, day, buyers, {ago} AS ago FROM (
            SELECT item_no, day, buyers, season, (sum(buyers) OVER (PARTITION BY item_no, season) - buyers) / greatest(days - 1, 1) AS usual
            FROM (SELECT item_no, day, {season} AS season, count(DISTINCT user_no) AS buyers FROM {lines} WHERE item_no IS NOT NULL GROUP BY item_no, day)
            JOIN (SELECT {season} AS season, count(DISTINCT day) AS days FROM {lines} GROUP BY ALL) USING (season))
        WHERE buyers >= {BURST_BUYERS} AND buyers >= {BURST_TIMES} * (usual + 0.5)"""


def _orders_sql(lines: str, acts: str, members: str, bursts: str, unlike: str, *, browses: bool) -> str:
    """One row an order, with what `unlike_sql` says of it; unbrowsed: NULL where the shop records no browsing."""
    looked = (
        f"LEFT JOIN (SELECT o.user_no, o.order_key, count(*) AS looks FROM grouped o JOIN {acts} a ON a.user_no = o.user_no AND a.event NOT IN ('refund', 'cancel', 'review', 'coupon_receive') "
        f"AND a.ts BETWEEN o.ts - INTERVAL {SEEN_BEFORE_H} HOUR AND o.ts GROUP BY ALL) s ON s.user_no = o.user_no AND s.order_key = o.order_key"
        if browses
        else ""
    )
    return f"""
        WITH usual AS (SELECT item_no, median(price) AS price FROM {lines} WHERE price > 0 GROUP BY item_no HAVING count(DISTINCT user_no) >= 5),
        grouped AS (
            SELECT l.user_no, l.user_id, l.order_key, any_value(l.order_id) AS order_id, min(l.ts) AS ts, min(l.day) AS day, count(*) AS lines, sum(l.amount) AS amount,
                sum(l.discount) AS discount, bool_or(l.coupon) AS coupon, min(l.hour) < {NIGHT_HOURS} AS night, any_value(l.device) AS device,
                bool_or(k.buyers IS NOT NULL) AS burst, avg((l.price >= {DEAR} * u.price)::INT) AS dear
            FROM {lines} l LEFT JOIN {bursts} k ON k.item_no = l.item_no AND k.day = l.day LEFT JOIN usual u ON u.item_no = l.item_no
            GROUP BY l.user_no, l.user_id, l.order_key),
        back AS (
            SELECT user_no, order_key, min(ts) AS ts FROM (
                SELECT a.user_no, coalesce(l.order_key, a.order_key) AS order_key, a.ts
                FROM {acts} a LEFT JOIN {lines} l ON l.event_id = a.refund_of WHERE a.event = 'refund')
            WHERE order_key IS NOT NULL GROUP BY ALL)
        SELECT o.*, r.ts IS NOT NULL AS refunded, coalesce(r.ts <= o.ts + INTERVAL {QUICK_REFUND_DAYS} DAY, false) AS refunded_soon,
            o.ts < m.since + INTERVAL {YOUNG_DAYS} DAY AS young,
            {"coalesce(s.looks, 0) = 0" if browses else "NULL::BOOLEAN"} AS unbrowsed,
            u.jump, {", ".join(f"u.{name}" for name in SIGNS)}, u.signs, u.unlike_orders
        FROM grouped o JOIN {members} m ON m.user_no = o.user_no LEFT JOIN back r ON r.user_no = o.user_no AND r.order_key = o.order_key
        LEFT JOIN {unlike} u ON u.user_no = o.user_no AND u.order_key = o.order_key {looked}"""


# How a shop writes them, in identifiers and in relations.
KIND_SQL = """CASE WHEN regexp_matches(lower(kind), 'address|收货|地址') THEN 'address' WHEN regexp_matches(lower(kind), 'device|imei|idfa|oaid|fingerprint|设备') THEN 'device'
    WHEN regexp_matches(lower(kind), 'payment|card|alipay|iban|支付|银行') THEN 'payment' ELSE 'other' END"""


def keys_sql(sources: Sources, members: str, as_of: date) -> str:
    """user_no, kind, key, ts of the identifiers of the window's customers, those of visitors who turned out to be one too ("": none)."""
    if not sources.identifiers:
        return ""
    who = "coalesce(i.user_id, k.user_id)" if sources.links else "i.user_id"
    joined = (
        f"LEFT JOIN (SELECT anonymous_id, max_by(user_id, since) AS user_id FROM ({sources.links}) WHERE known_at < TIMESTAMP '{as_of}' GROUP BY 1) k ON k.anonymous_id = i.anonymous_id"
        if sources.links
        else ""
    )
    return f"""
        SELECT m.user_no, {KIND_SQL} AS kind, concat(i.kind, ' ', i.value) AS key, i.ts
        FROM ({sources.identifiers}) i {joined} JOIN {members} m ON m.user_id = {who}
        WHERE i.ts IS NULL OR i.ts < TIMESTAMP '{as_of}'"""
