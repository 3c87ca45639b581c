"""Returns and cancellations, each matched to the purchase it undoes.

A refund takes back the latest earlier pieces of the same item that the same user still holds: a stack of pieces, last bought
first returned. For one user and item, let the level B rise by each purchase and fall by each refund, never below zero
(B = S - min(0, min S), S the running sum). A purchase occupies the levels (B before, B after]; a refund takes the levels
(B after, B before]. What of a purchase was given back is what later levels dip into; the purchase a refund undoes is the latest
one that occupies the refund's top level. So the whole matching is a few window functions, with no loop over rows.
"""

from __future__ import annotations

import ibis

from huaxiang.clean.values import is_refund
from huaxiang.engine import Engine

TINY = 1e-9


def names_cancellations(engine: Engine, accepted: str) -> bool:
    """Whether orders named C… are cancellations here (UCI Online Retail): nearly all their lines have negative quantity."""
    query = (
        "SELECT count(*) > 0 AND count(*) FILTER (quantity < 0) >= 0.95 * count(*) "
        f"FROM ({accepted}) WHERE event = 'purchase' AND order_id LIKE 'C%'"
    )
    return bool(engine.value(query))


def match_refunds(engine: Engine, accepted: str, *, cancel_prefix: bool) -> ibis.Table | None:
    """What matching found, one row a line concerned; None where nothing was given back.

    accepted: SQL of tidy, accepted events, signs as they came
    returns: row_id, refund_of (event_id, of a refund line), refunded (pieces, of a purchase line), amount_back (money, for a
    refund line that names none)
    """
    lines = _lines(engine, accepted, cancel_prefix=cancel_prefix)
    if not engine.value(f"SELECT count(*) FROM {lines.get_name()} WHERE gives"):
        engine.drop(lines)
        return None
    whole = engine.keep(_whole_orders(lines.get_name()))
    gone = f"SELECT row_id FROM {whole.get_name()}"
    rest = f"SELECT *, q AS left_q FROM {lines.get_name()} WHERE item_id IS NOT NULL AND row_id NOT IN ({gone})"
    same_order = engine.keep(_stack(f"SELECT * FROM ({rest}) WHERE order_id IS NOT NULL", "who, item_id, order_id"))
    after = f"SELECT l.* REPLACE (l.q - coalesce(s.units, 0) AS left_q) FROM ({rest}) l LEFT JOIN {same_order.get_name()} s USING (row_id)"
    any_order = engine.keep(_stack(f"SELECT * FROM ({after}) WHERE left_q > {TINY}", "who, item_id"))
    found = engine.keep(
        "SELECT row_id, min(refund_of) AS refund_of, nullif(sum(CASE WHEN gives THEN 0 ELSE units END), 0) AS refunded, "
        "sum(amount_back) AS amount_back, sum(CASE WHEN gives THEN units END) AS given_back FROM ("
        + " UNION ALL ".join(f"SELECT * FROM {part.get_name()}" for part in (whole, same_order, any_order))
        + ") GROUP BY row_id"
    )
    for part in (lines, whole, same_order, any_order):
        engine.drop(part)
    return found


def _lines(engine: Engine, accepted: str, *, cancel_prefix: bool) -> ibis.Table:
    """Refund lines, and the purchase lines of users who have any."""
    gives = is_refund(cancel_prefix=cancel_prefix)
    narrow = (
        "SELECT row_id, coalesce(event_id, row_id) AS event_id, coalesce(user_id, anonymous_id) AS who, item_id, order_id, ts, "
        f"{gives} AS gives, abs(coalesce(quantity, 1)) AS q, abs(coalesce(amount, quantity * price)) AS money "
        f"FROM ({accepted}) WHERE event IN ('purchase', 'refund', 'cancel')"
    )
    givers = f"SELECT who FROM ({narrow}) WHERE gives"
    return engine.keep(f"SELECT * FROM ({narrow}) WHERE who IN ({givers})")


def _whole_orders(lines: str) -> str:
    """Refunds that name an order but no item: all of the order's earlier lines, where the money is all of it (or unsaid)."""
    back = f"SELECT * FROM {lines} WHERE gives AND item_id IS NULL AND order_id IS NOT NULL"
    bought = f"SELECT * FROM {lines} WHERE NOT gives AND order_id IS NOT NULL"
    pairs = (
        "SELECT b.row_id, b.ts, b.money, arg_min(p.event_id, (p.ts, p.row_id)) AS refund_of, sum(p.money) AS total, sum(p.q) AS pieces, "
        "list(p.row_id) AS bought, b.money IS NULL OR b.money >= 0.999 * sum(p.money) AS whole, b.who, b.order_id "
        f"FROM ({back}) b JOIN ({bought}) p ON p.who = b.who AND p.order_id = b.order_id AND p.ts <= b.ts "
        "GROUP BY b.row_id, b.ts, b.money, b.who, b.order_id"
    )
    turned = f"SELECT *, row_number() OVER (PARTITION BY who, order_id ORDER BY ts, row_id) AS turn FROM ({pairs})"
    given = f"SELECT DISTINCT unnest(bought) AS row_id FROM ({pairs}) WHERE whole"
    return (
        "SELECT row_id, true AS gives, refund_of, pieces AS units, CASE WHEN money IS NULL AND turn = 1 THEN total END AS amount_back "
        f"FROM ({turned}) UNION ALL "
        f"SELECT row_id, false, NULL, l.q, NULL FROM {lines} l SEMI JOIN ({given}) g USING (row_id)"
    )


def _stack(lines: str, by: str) -> str:
    """The stack matching of the module's head within each `by`: row_id, gives, refund_of, units, amount_back."""
    concerned = f"SELECT * FROM ({lines}) WHERE ({by}) IN (SELECT ({by}) FROM ({lines}) WHERE gives)"
    walk = f"PARTITION BY {by} ORDER BY ts, gives, row_id ROWS UNBOUNDED PRECEDING"
    order = f"PARTITION BY {by} ORDER BY seq"
    return (
        f"WITH summed AS (SELECT *, sum(CASE WHEN gives THEN -left_q ELSE left_q END) OVER ({walk}) AS s, row_number() OVER ({walk}) AS seq "
        f"FROM ({concerned})), "
        f"level AS (SELECT *, s - least(0, min(s) OVER ({order} ROWS UNBOUNDED PRECEDING)) AS b FROM summed), "
        f"edges AS (SELECT *, coalesce(lag(b) OVER ({order}), 0) AS b0, "
        f"min(b) OVER ({order} ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS dip FROM level), "
        f"back AS (SELECT * FROM edges WHERE gives AND b0 - b > {TINY}), "
        "held AS (SELECT r.row_id, arg_max(p.event_id, p.seq) AS refund_of, arg_max(p.money / nullif(p.q, 0), p.seq) AS each "
        f"FROM back r JOIN edges p USING ({by}) WHERE NOT p.gives AND p.seq < r.seq AND p.b0 < r.b0 - {TINY} AND r.b0 - {TINY} <= p.b "
        "GROUP BY r.row_id) "
        "SELECT r.row_id, true AS gives, h.refund_of, r.b0 - r.b AS units, "
        "CASE WHEN r.money IS NULL THEN (r.b0 - r.b) * h.each END AS amount_back FROM back r JOIN held h USING (row_id) "
        "UNION ALL SELECT row_id, false, NULL, b - greatest(b0, least(b, dip)), NULL FROM edges "
        f"WHERE NOT gives AND dip IS NOT NULL AND b - greatest(b0, least(b, dip)) > {TINY}"
    )
