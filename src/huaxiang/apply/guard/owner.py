"""How an order is unlike its owner: from a device, to an address, with a payment never seen with the account, dear, at an hour it sleeps.

An account is compared with itself only, with what it did until SETTLED_DAYS before the order, over all that is known of it and not only the
window. What an account did in the last days teaches nothing, so that a thief's second order is as strange as the first.
"""

from __future__ import annotations

from datetime import date

NIGHT_HOURS = 5  # 0:00 to 4:59 local time
SETTLED_DAYS = 14
FRESH_H = 48  # a device, address or payment first seen in the hours before the order came with it
HISTORY_ORDERS = (
    3  # from so many settled orders on the account has a usual amount; before, the shop's dearest orders are dear
)
DEAR_TIMES = 3.0
DEAREST = 0.98  # of the shop's orders
HISTORY_EVENTS = 20  # from so many events on the account has hours
AWAKE = 0.05  # it sleeps at night if no larger share of its events falls there

SIGNS = ("new_device", "new_address", "new_payment", "dear_order", "night_unlike")


def unlike_sql(events: str, keys: str, as_of: date) -> str:
    """user_no, order_key, jump (times the usual amount), SIGNS, NULL where too little is known of the account; `signs`, how many of them hold;
    unlike_orders, how many orders of these two days have two signs or more.

    Nothing new about it: a dear order at night is its owner's, no sign. From a device of long ago: one sign less, as presents go to new addresses.

    events: `ready.events`; keys: SQL of user_no, kind, key, ts of devices, addresses, payments ("": none are recorded)
    """
    known = f"day < DATE '{as_of}' AND known_day < DATE '{as_of}'"
    models = f"SELECT user_no, 'device' AS kind, concat('model ', device) AS key, ts FROM ({events}) WHERE {known} AND device IS NOT NULL"
    seen = f"{models} UNION ALL {keys}" if keys else models
    new = ", ".join(f"bool_or(fresh) FILTER (kind = '{kind}') AS new_{kind}" for kind in ("device", "address", "payment"))  # fmt: skip
    some = " OR ".join(f"coalesce({name}, false)" for name in SIGNS[:3])
    signs = " + ".join(f"coalesce({name}, false)::INT" for name in SIGNS)
    return f"""
        WITH orders AS (
            SELECT user_no, order_key, min(ts) AS ts, min(day) - {SETTLED_DAYS} AS settled, sum(amount) AS amount, min(hour) < {NIGHT_HOURS} AS night
            FROM ({events}) WHERE event = 'purchase' AND order_key IS NOT NULL AND {known} GROUP BY ALL),
        settled AS (
            SELECT *, count(*) OVER earlier AS before, avg(amount) OVER earlier AS usual
            FROM orders WINDOW earlier AS (PARTITION BY user_no ORDER BY ts RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL {SETTLED_DAYS} DAY PRECEDING)),
        hours AS (
            SELECT user_no, day, sum(count(*)) OVER so_far AS events, sum(count(*) FILTER (hour < {NIGHT_HOURS})) OVER so_far AS at_night
            FROM ({events}) WHERE {known} GROUP BY user_no, day WINDOW so_far AS (PARTITION BY user_no ORDER BY day)),
        keys AS (SELECT user_no, kind, key, min(ts) AS first FROM ({seen}) WHERE ts IS NOT NULL GROUP BY ALL),
        oldest AS (SELECT user_no, kind, min(first) AS first FROM keys GROUP BY ALL),
        fresh AS (
            SELECT o.user_no, o.order_key, k.kind, bool_or(k.first BETWEEN o.ts - INTERVAL {FRESH_H} HOUR AND o.ts + INTERVAL 1 HOUR) AS fresh
            FROM orders o JOIN oldest b ON b.user_no = o.user_no AND b.first < o.ts - INTERVAL {SETTLED_DAYS} DAY JOIN keys k ON k.user_no = b.user_no AND k.kind = b.kind
            GROUP BY ALL),
        new AS (SELECT user_no, order_key, {new} FROM fresh GROUP BY ALL)
        SELECT *, count(*) FILTER (signs >= 2) OVER (PARTITION BY user_no ORDER BY ts RANGE BETWEEN INTERVAL {FRESH_H} HOUR PRECEDING AND CURRENT ROW) AS unlike_orders
        FROM (SELECT *, CASE WHEN {some} THEN {signs} - coalesce(NOT new_device, false)::INT ELSE 0 END AS signs FROM (
        SELECT s.user_no, s.order_key, s.ts, n.new_device, n.new_address, n.new_payment,
            CASE WHEN s.before >= {HISTORY_ORDERS} AND s.usual > 0 THEN s.amount / s.usual END AS jump,
            CASE WHEN s.before >= {HISTORY_ORDERS} AND s.usual > 0 THEN s.amount >= {DEAR_TIMES} * s.usual
                ELSE s.amount > (SELECT quantile_cont(amount, {DEAREST}) FROM orders) END AS dear_order,
            CASE WHEN h.events >= {HISTORY_EVENTS} THEN s.night AND h.at_night < {AWAKE} * h.events END AS night_unlike
        FROM settled s LEFT JOIN new n ON n.user_no = s.user_no AND n.order_key = s.order_key ASOF LEFT JOIN hours h ON h.user_no = s.user_no AND h.day <= s.settled))"""
