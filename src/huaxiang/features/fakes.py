"""Which events belong to an order that the guard holds fake (`guard.fake_orders`), and are kept out of what is learned of customers.

A build splits them off: `ready.events` is what features, labels, models and profiles read, `ready.fakes` (the same columns, but for those
that hang on the events around them) what was kept out. The guard reads both, or it could not see again what it held. To it an order is
the events that carry its id, or of one without an id its customer's purchases, refunds and cancellations of that day that carry none.
"""

from __future__ import annotations

import hashlib
from typing import Any

from huaxiang.engine import Lake, Step
from huaxiang.engine.duck import quote
from huaxiang.features.derived import order_key_sql

FAKES = "guard.fake_orders"
KEPT_OUT = "ready.fakes"
NOTHING = {"orders": 0, "events": 0, "users": 0}  # kept out
# What a row says of the events around it, or of the part it was written in.
AROUND = ("session_start", "session_gap_s", "price_ratio", "part")


def is_fake_sql(lake: Lake | Step) -> str:
    """A condition on rows of `everything_sql`: true for those of an order held fake, never null ("false": the guard held none).

    An order without an id is its customer's purchases of a day: its key is that of the day, and names it only together with the customer.
    """
    if not lake.has(FAKES):
        return "false"
    return among_sql(_engine(lake).sql(lake.table(FAKES)))


def among_sql(held: str, user: str = "user_id", key: str = "order_key") -> str:
    """Whether the order `key` of `user` is among `held`, SQL of order_id, order_key, user_id; never null."""
    return (
        f"coalesce({key} IN (SELECT order_key FROM ({held}) WHERE order_id IS NOT NULL) "
        f"OR ({user}, {key}) IN (SELECT (user_id, order_key) FROM ({held}) WHERE order_id IS NULL), false)"
    )


def everything_sql(lake: Lake | Step) -> str:
    """SQL of `ready.events` and of what the last build kept out of it; raises ShopError where nothing is built yet."""
    events = _engine(lake).sql(lake.table("ready.events"))
    if not lake.has(KEPT_OUT):
        return events
    return f"({events}) UNION ALL BY NAME ({_engine(lake).sql(lake.table(KEPT_OUT))})"


def marked_sql(step: Step, events: str, zone: str) -> str:
    """SQL of the canonical events `events` (SQL) with `fake`, whether their order is held fake."""
    if not step.rows(FAKES):
        return f"SELECT *, false AS fake FROM ({events})"
    day = f"timezone({quote(zone)}, timezone('UTC', e.ts))::DATE"
    return (
        f"SELECT * EXCLUDE (held_key), {among_sql(step.lake.engine.sql(step.table(FAKES)), key='held_key')} AS fake "
        f"FROM (SELECT e.*, {order_key_sql(f'({day})')} AS held_key FROM ({events}) AS e)"
    )


def moved_sql(step: Step) -> str:
    """SQL of the customers with an order that is kept out now and was not at the last build, or the other way round."""
    engine, fake = step.lake.engine, is_fake_sql(step)
    events, kept = (engine.sql(step.lake.table(name)) for name in ("ready.events", KEPT_OUT))
    back = f"SELECT DISTINCT user_id FROM ({kept}) WHERE NOT {fake}"
    return back if fake == "false" else f"SELECT DISTINCT user_id FROM ({events}) WHERE {fake} UNION {back}"


def count_kept_out(lake: Lake | Step) -> dict[str, int]:
    """What the last build kept out: orders, their events, and the customers they are of."""
    if not lake.has(KEPT_OUT):
        return NOTHING.copy()
    found = _engine(lake).rows(
        "SELECT count(DISTINCT (user_id, order_key)) AS orders, count(*) AS events, count(DISTINCT user_id) AS users "
        f"FROM ({_engine(lake).sql(lake.table(KEPT_OUT))})"
    )[0]
    return {name: int(value) for name, value in found.items()}


def kept_out(lake: Lake) -> list[tuple[str | None, int, str]]:
    """order_id, order_key, user_id of each order that the last build kept out."""
    if not lake.rows(KEPT_OUT):
        return []
    rows = lake.engine.rows(
        f"SELECT DISTINCT order_id, order_key, user_id FROM ({lake.engine.sql(lake.table(KEPT_OUT))}) ORDER BY ALL"
    )
    return [(row["order_id"], row["order_key"], row["user_id"]) for row in rows]


def held_mark(lake: Lake) -> str:
    """A mark of which orders are held fake ("": none); the same however often the guard says so."""
    if not lake.rows(FAKES):
        return ""
    found: Any = lake.engine.rows(
        f"SELECT count(*) AS n, bit_xor(hash(order_id, order_key, user_id)) AS mark FROM "
        f"(SELECT DISTINCT order_id, order_key, user_id FROM ({lake.engine.sql(lake.table(FAKES))}))"
    )[0]
    return hashlib.sha256(f"{found['n']} {found['mark']}".encode()).hexdigest()[:16]


def _engine(lake: Lake | Step) -> Any:
    return lake.lake.engine if isinstance(lake, Step) else lake.engine
