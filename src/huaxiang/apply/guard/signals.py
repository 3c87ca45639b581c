"""One row a customer of the window: the signals that risks, rules and models read. Names that end in _90d speak of the window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from huaxiang.apply.guard.rings import Rings
from huaxiang.apply.guard.ties import KINDS, Ties
from huaxiang.apply.guard.window import Window
from huaxiang.engine import Engine
from huaxiang.models.metrics import Floats

Ints = NDArray[np.int64]
COPIES = 1  # other accounts of the ring or circle with the same item on the same day: the order is a copy

# Aggregates over the orders of a customer. NULL: cannot be known (no browsing is recorded, no earlier history …).
_ORDERS = {
    "orders_90d": "count(*)",
    "spend_90d": "sum(amount)",
    "burst_share_90d": "avg(burst::INT)",
    "refund_share_90d": "avg(refunded::INT)",
    "refund_loops_90d": "count(*) FILTER (refunded_soon)",
    "coupon_share_90d": "avg(coupon::INT)",
    "discount_share_90d": "sum(discount) / nullif(sum(amount) + sum(discount), 0)",
    "young_coupon_orders_90d": "count(*) FILTER (coupon AND young)",
    "night_share_90d": "avg(night::INT)",
    "dear_share_90d": "avg(dear)",
    "unbrowsed_share_90d": "avg(unbrowsed::INT)",
    "copied_orders_90d": f"count(*) FILTER (copies >= {COPIES})",
    "copied_share_90d": f"avg((copies >= {COPIES})::INT)",
    "new_device_orders_30d": "count(*) FILTER (new_device)",
    "largest_jump_30d": "max(jump)",
    "takeover_orders_30d": "count(*) FILTER (coalesce(new_device, false)::INT + coalesce(jump >= 3, false)::INT + coalesce(night_unlike, false)::INT >= 2)",
}
_TIES = ("address_users", "device_users", "payment_users", "ring_users", "ring_keys")
_OTHERS = (
    "account_days",
    "orders_max_day_90d",
    "reviews_90d",
    "reviews_max_day_90d",
    "rating_gap_90d",
    "copied_review_share_90d",
    "complaints_90d",
    "logins_max_hour_90d",
)
SIGNALS: tuple[str, ...] = (*_ORDERS, *_OTHERS, *_TIES)


@dataclass(frozen=True)
class Signals:
    """U customers, by user_no. values: (U, len(SIGNALS)), NaN: cannot be known; orders: name of the table of orders with ring and copies."""

    user_ids: pa.ChunkedArray
    user_nos: np.ndarray
    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    def of(self, name: str) -> Floats:
        return self.values[:, SIGNALS.index(name)]


def read_signals(engine: Engine, window: Window, ties: Ties, rings: Rings, orders: str) -> Signals:
    """The signals. orders: what `copy_orders` made."""
    aggregates = ", ".join(f"({sql})::DOUBLE AS {name}" for name, sql in _ORDERS.items())
    found = engine.arrow(f"""
        WITH o AS (SELECT user_no, {aggregates} FROM {orders} GROUP BY user_no),
        d AS (SELECT user_no, max(n) AS orders_max_day_90d FROM (SELECT user_no, day, count(*) AS n FROM {orders} GROUP BY ALL) GROUP BY 1),
        l AS (SELECT user_no, max(n) AS logins_max_hour_90d FROM (SELECT user_no, date_trunc('hour', ts) AS at, count(*) AS n FROM {window.acts} WHERE event = 'login' GROUP BY ALL) GROUP BY 1),
        c AS (SELECT user_no, count(*) AS complaints_90d FROM {window.acts} WHERE event = 'support' GROUP BY 1),
        r AS ({_reviews_sql(window.acts)})
        SELECT m.user_no, m.user_id, {", ".join(_filled(name) for name in (*_ORDERS, *_OTHERS))}
        FROM {window.members} m LEFT JOIN o USING (user_no) LEFT JOIN d USING (user_no) LEFT JOIN l USING (user_no) LEFT JOIN c USING (user_no) LEFT JOIN r USING (user_no)
        ORDER BY m.user_no""")
    columns = [found[name].to_numpy().astype(np.float64) for name in (*_ORDERS, *_OTHERS)]
    columns += [_others_with(ties, kind) for kind in KINDS[:3]]
    sizes = np.append(rings.users, 0)
    columns += [sizes[rings.of].astype(np.float64), rings.keys.astype(np.float64)]
    return Signals(found["user_id"], found["user_no"].to_numpy(), np.column_stack(columns))


def _filled(name: str) -> str:
    """A count that nobody made is 0, a share of nothing is not known."""
    counted = "_orders_" in name or "_max_" in name or name.split("_")[0] in ("orders", "reviews", "complaints", "spend") or name == "refund_loops_90d"  # fmt: skip
    return f"coalesce({name}, 0)::DOUBLE AS {name}" if counted else f"{name}::DOUBLE AS {name}"


def _reviews_sql(acts: str) -> str:
    """rating_gap: the mean distance between a rating and the mean of others' ratings of the item; copied: texts (of 6 letters at least)
    that other customers wrote of the same item too: what many write of anything is no sign of a ring."""
    return f"""
        WITH reviews AS (SELECT * FROM {acts} WHERE event = 'review'),
        usual AS (SELECT item_no, sum(rating) AS total, count(rating) AS n FROM reviews WHERE rating IS NOT NULL GROUP BY 1),
        texts AS (SELECT said, item_no, count(DISTINCT user_no) AS users FROM reviews WHERE letters >= 6 GROUP BY 1, 2)
        SELECT user_no, sum(n) AS reviews_90d, max(n) AS reviews_max_day_90d, sum(gap) / nullif(sum(rated), 0) AS rating_gap_90d,
            sum(copied) / nullif(sum(told), 0) AS copied_review_share_90d
        FROM (SELECT r.user_no, r.day, count(*) AS n, sum(abs(r.rating - (u.total - r.rating) / (u.n - 1))) FILTER (u.n > 2) AS gap,
                count(*) FILTER (u.n > 2 AND r.rating IS NOT NULL) AS rated, count(*) FILTER (t.users > 1) AS copied, count(*) FILTER (r.letters >= 6) AS told
            FROM reviews r LEFT JOIN usual u USING (item_no) LEFT JOIN texts t USING (said, item_no) GROUP BY ALL)
        GROUP BY 1"""


def copy_orders(engine: Engine, window: Window, rings: Rings, circles: Ints) -> str:
    """The name of a table: the orders with `ring` (−1: none) and `copies`, the other accounts of the ring, or of the circle of shared
    identifiers, that bought one of the order's items on the same day."""
    nos = engine.arrow(f"SELECT user_no FROM {window.members} ORDER BY user_no")["user_no"]
    grouped = engine.load(pa.table({"user_no": nos, "ring": rings.of, "circle": circles}))
    of = grouped.get_name()
    lines = f"SELECT DISTINCT l.user_no, l.order_key, l.item_no, l.day, g.ring, g.circle FROM {window.lines} l JOIN {of} g USING (user_no) WHERE l.item_no IS NOT NULL AND (g.ring >= 0 OR g.circle >= 0)"
    sides = " UNION ALL ".join(
        f"SELECT user_no, order_key, count_others FROM l JOIN (SELECT {side}, item_no, day, count(DISTINCT user_no) - 1 AS count_others FROM l WHERE {side} >= 0 GROUP BY ALL) USING ({side}, item_no, day)"
        for side in ("ring", "circle")
    )
    made = engine.store(f"""
        WITH l AS ({lines}), best AS (SELECT user_no, order_key, max(count_others) AS copies FROM ({sides}) GROUP BY ALL)
        SELECT o.*, coalesce(g.ring, -1) AS ring, coalesce(b.copies, 0) AS copies
        FROM {window.orders} o LEFT JOIN {of} g USING (user_no) LEFT JOIN best b ON b.user_no = o.user_no AND b.order_key = o.order_key""")
    engine.drop(grouped)
    return made


def _others_with(ties: Ties, kind: str) -> Floats:
    """(U,) customers who have the customer's most widely shared key of a kind, the customer counted; 1: nobody else."""
    of_kind = ties.kind[ties.key] == KINDS.index(kind)
    most = np.ones(ties.users)
    np.maximum.at(most, ties.user[of_kind], ties.holders[ties.key[of_kind]].astype(np.float64))
    return most
