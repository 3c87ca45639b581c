"""One row a customer of the window: the signals that risks, rules and models read. They speak of the window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from huaxiang.apply.guard.rings import Rings
from huaxiang.apply.guard.ties import KINDS, Ties
from huaxiang.apply.guard.together import (
    Groups,
    beyond_chance_sql,
    copies_sql,
    count_coupon_users,
    count_made_together,
    load_groups,
)
from huaxiang.apply.guard.window import Window
from huaxiang.engine import Engine
from huaxiang.models.metrics import Floats

Ints = NDArray[np.int64]
COPIES = 2  # other accounts of a group with the same item within a fortnight, beyond chance: the order is a copy
COPIERS = 3  # customers with the same words of one item
PRIOR_ORDERS = 5  # as good as the shop's that every customer starts with

# Aggregates over the orders of a customer. NULL: cannot be known (no browsing is recorded, no earlier history …).
_ORDERS = {
    "orders": "count(*)",
    "spend": "sum(amount)",
    "burst_share": "avg(burst::INT)",
    "refund_share": "avg(refunded::INT)",
    "refund_loops": "count(*) FILTER (refunded_soon)",
    "coupon_share": "avg(coupon::INT)",
    "discount_share": "sum(discount) / nullif(sum(amount) + sum(discount), 0)",
    "plain_orders": "count(*) FILTER (NOT coupon)",
    "young_coupon_orders": "count(*) FILTER (coupon AND young)",
    "night_share": "avg(night::INT)",
    "dear_share": "avg(dear)",
    "unbrowsed_share": "avg(unbrowsed::INT)",
    "copied_orders": f"count(*) FILTER (copies >= {COPIES})",
    "copied_share": f"avg((copies >= {COPIES})::INT)",
    "new_device_orders": "count(*) FILTER (new_device)",
    "largest_jump": "max(jump)",
    "takeover_orders": "max(unlike_orders)",
    "takeover_signs": "max(signs)",
}
_GROUPS = (
    "refund_excess",
    "address_users",
    "device_users",
    "payment_users",
    "ring_users",
    "ring_keys",
    "made_together",
    "circle_coupon_users",
)
_OTHERS = (
    "account_days",
    "orders_max_day",
    "reviews",
    "reviews_max_day",
    "rating_gap",
    "copied_review_share",
    "complaints",
    "logins_max_hour",
)
SIGNALS: tuple[str, ...] = (*_ORDERS, *_OTHERS, *_GROUPS)


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


def read_signals(engine: Engine, window: Window, ties: Ties, rings: Rings, groups: Groups, orders: str) -> Signals:
    """The signals. orders: what `copy_orders` made."""
    aggregates = ", ".join(f"({sql})::DOUBLE AS {name}" for name, sql in _ORDERS.items())
    found = engine.arrow(f"""
        WITH o AS (SELECT user_no, {aggregates} FROM {orders} GROUP BY user_no),
        d AS (SELECT user_no, max(n) AS orders_max_day FROM (SELECT user_no, day, count(*) AS n FROM {orders} GROUP BY ALL) GROUP BY 1),
        l AS (SELECT user_no, max(n) AS logins_max_hour FROM (SELECT user_no, date_trunc('hour', ts) AS at, count(*) AS n FROM {window.acts} WHERE event = 'login' GROUP BY ALL) GROUP BY 1),
        c AS (SELECT user_no, count(*) AS complaints FROM {window.acts} WHERE event = 'support' GROUP BY 1),
        r AS ({_reviews_sql(window.acts)})
        SELECT m.user_no, m.user_id, {", ".join(_filled(name) for name in (*_ORDERS, *_OTHERS))}
        FROM {window.members} m LEFT JOIN o USING (user_no) LEFT JOIN d USING (user_no) LEFT JOIN l USING (user_no) LEFT JOIN c USING (user_no) LEFT JOIN r USING (user_no)
        ORDER BY m.user_no""")
    columns = [found[name].to_numpy().astype(np.float64) for name in (*_ORDERS, *_OTHERS)]
    at = {name: columns[place] for place, name in enumerate((*_ORDERS, *_OTHERS))}
    columns.append(refund_excess(at["refund_share"], at["orders"]))
    columns += [_others_with(ties, kind) for kind in KINDS[:3]]
    sizes = np.append(rings.users, 0)
    columns += [sizes[rings.of].astype(np.float64), rings.keys.astype(np.float64)]
    columns += [
        count_made_together(groups, -at["account_days"]),
        count_coupon_users(groups, at["young_coupon_orders"] > 0),
    ]
    return Signals(found["user_id"], found["user_no"].to_numpy(), np.column_stack(columns))


def _filled(name: str) -> str:
    """A count that nobody made is 0, a share of nothing is not known."""
    counted = name.endswith("_orders") or "_max_" in name or name in ("orders", "spend", "refund_loops", "reviews", "complaints", "takeover_signs")  # fmt: skip
    return f"coalesce({name}, 0)::DOUBLE AS {name}" if counted else f"{name}::DOUBLE AS {name}"


def _reviews_sql(acts: str) -> str:
    """rating_gap: the mean distance between a rating and the mean of others' ratings of the item; copied: texts (of 6 letters at least)
    that COPIERS customers wrote of the same item, more of them than write it of anything else."""
    usual = "t.items_reviewers * (e.users - t.users + 0.5) / (greatest((SELECT sum(reviewers) FROM items) - t.items_reviewers, 0) + 1)"
    return f"""
        WITH reviews AS (SELECT * FROM {acts} WHERE event = 'review'),
        usual AS (SELECT item_no, sum(rating) AS total, count(rating) AS n FROM reviews WHERE rating IS NOT NULL GROUP BY 1),
        items AS (SELECT item_no, count(DISTINCT user_no) AS reviewers, count(DISTINCT said) AS texts FROM reviews WHERE letters >= 6 GROUP BY 1),
        of_item AS (SELECT said, item_no, count(DISTINCT user_no) AS users, any_value(reviewers) AS items_reviewers, any_value(texts) AS texts FROM reviews JOIN items USING (item_no) WHERE letters >= 6 GROUP BY ALL),
        everywhere AS (SELECT said, sum(users) AS users FROM of_item GROUP BY 1),
        texts AS (SELECT t.said, t.item_no FROM of_item t JOIN everywhere e USING (said) WHERE t.users >= {COPIERS} AND {beyond_chance_sql("t.users", usual, "t.texts")})
        SELECT user_no, sum(n) AS reviews, max(n) AS reviews_max_day, sum(gap) / nullif(sum(rated), 0) AS rating_gap,
            sum(copied) / nullif(sum(told), 0) AS copied_review_share
        FROM (SELECT r.user_no, r.day, count(*) AS n, sum(abs(r.rating - (u.total - r.rating) / (u.n - 1))) FILTER (u.n > 2) AS gap,
                count(*) FILTER (u.n > 2 AND r.rating IS NOT NULL) AS rated, count(*) FILTER (t.said IS NOT NULL) AS copied, count(*) FILTER (r.letters >= 6) AS told
            FROM reviews r LEFT JOIN usual u USING (item_no) LEFT JOIN texts t ON t.said = r.said AND t.item_no = r.item_no GROUP BY ALL)
        GROUP BY 1"""


def refund_excess(share: Floats, orders: Floats) -> Floats:
    """(U,) by how much the customer's share of refunded orders is at least above the shop's, sure to nine in ten; 0 where it may not be.

    The lower tenth of a Beta posterior whose prior is the shop's share, worth PRIOR_ORDERS orders: three refunds of three orders say less
    than eight of ten, and where everybody gives much back nobody stands out for it.
    """
    from scipy.stats import beta

    back = np.nan_to_num(share) * orders
    usual = float(back.sum() / max(orders.sum(), 1.0))
    low = beta.ppf(0.1, back + PRIOR_ORDERS * usual + 1e-9, orders - back + PRIOR_ORDERS * (1 - usual) + 1e-9)
    return np.where(orders > 0, np.maximum(low - usual, 0.0), np.nan)


def copy_orders(engine: Engine, window: Window, rings: Rings, groups: Groups) -> str:
    """The name of a table: the orders with `ring` (−1: none) and `copies`, as `copies_sql` counts them."""
    nos = engine.arrow(f"SELECT user_no FROM {window.members} ORDER BY user_no")["user_no"]
    of_ring, of_group = engine.load(pa.table({"user_no": nos, "ring": rings.of})), load_groups(engine, window, groups)
    made = engine.store(f"""
        SELECT o.*, coalesce(r.ring, -1) AS ring, coalesce(c.copies, 0) AS copies
        FROM {window.orders} o LEFT JOIN {of_ring.get_name()} r USING (user_no)
        LEFT JOIN ({copies_sql(window, of_group)}) c ON c.user_no = o.user_no AND c.order_key = o.order_key""")
    engine.drop(of_ring)
    engine.drop(of_group)
    return made


def _others_with(ties: Ties, kind: str) -> Floats:
    """(U,) customers who have the customer's most widely shared key of a kind, the customer counted; 1: nobody else."""
    of_kind = ties.kind[ties.key] == KINDS.index(kind)
    most = np.ones(ties.users)
    np.maximum.at(most, ties.user[of_kind], ties.holders[ties.key[of_kind]].astype(np.float64))
    return most
