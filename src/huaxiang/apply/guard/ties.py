"""Who shares what with whom: one row a customer and a key that at least two customers have.

Keys are addresses, devices, payments and other identifiers seen with several customers, declared relations, and days on which an item
was suddenly bought by many. Identifiers are pseudonyms already; here they become numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from huaxiang.apply.guard.window import Sources, Window
from huaxiang.engine import Engine

Ints = NDArray[np.int64]
KINDS = ("address", "device", "payment", "other", "burst")
# How a shop writes them, in identifiers and in relations.
_KIND_SQL = """CASE WHEN regexp_matches(lower(kind), 'address|收货|地址') THEN 'address' WHEN regexp_matches(lower(kind), 'device|imei|idfa|oaid|fingerprint|设备') THEN 'device'
    WHEN regexp_matches(lower(kind), 'payment|card|alipay|iban|支付|银行') THEN 'payment' ELSE 'other' END"""


@dataclass(frozen=True)
class Ties:
    """T ties between U customers and K keys. user: (T,) places 0 … U−1; key: (T,) 0 … K−1; kind: (K,) places in KINDS.

    Sorted by key; a customer has a key at most once; every key has at least two customers.
    """

    users: int
    user: Ints
    key: Ints
    kind: Ints

    @property
    def keys(self) -> int:
        return len(self.kind)

    @property
    def holders(self) -> Ints:
        """(K,) customers of each key."""
        return np.bincount(self.key, minlength=self.keys)


def read_ties(engine: Engine, sources: Sources, window: Window) -> Ties:
    """The ties among the window's customers; places are by user_no. None at all is an empty Ties."""
    parts = [f"SELECT user_no, 'burst' AS kind, concat('burst ', l.item_no, ' ', l.day) AS key FROM {window.lines} l JOIN {window.bursts} b ON b.item_no = l.item_no AND b.day = l.day"]  # fmt: skip
    if sources.identifiers:
        parts.append(_identifiers_sql(sources, window))
    if sources.relations:
        parts.append(_relations_sql(sources, window))
    place = f"SELECT user_no, row_number() OVER (ORDER BY user_no) - 1 AS place FROM {window.members}"
    found = engine.arrow(f"""
        WITH seen AS (SELECT DISTINCT user_no, kind, key FROM ({" UNION ALL ".join(parts)})),
        shared AS (SELECT kind, key, row_number() OVER (ORDER BY kind, key) - 1 AS number FROM seen GROUP BY kind, key HAVING count(*) > 1)
        SELECT p.place, s.number, list_position({list(KINDS)}, s.kind) - 1 AS kind FROM seen JOIN shared s USING (kind, key) JOIN ({place}) p USING (user_no)
        ORDER BY s.number, p.place""")
    key = found["number"].to_numpy().astype(np.int64)
    kind = np.zeros(int(key.max()) + 1 if len(key) else 0, dtype=np.int64)
    kind[key] = found["kind"].to_numpy()
    users = int(engine.value(f"SELECT count(*) FROM {window.members}"))
    return Ties(users, found["place"].to_numpy().astype(np.int64), key, kind)


def _identifiers_sql(sources: Sources, window: Window) -> str:
    who = "coalesce(i.user_id, k.user_id)" if sources.links else "i.user_id"
    joined = (
        f"LEFT JOIN (SELECT anonymous_id, max_by(user_id, since) AS user_id FROM ({sources.links}) WHERE known_at < TIMESTAMP '{window.as_of}' GROUP BY 1) k ON k.anonymous_id = i.anonymous_id"
        if sources.links
        else ""
    )
    return f"""
        SELECT m.user_no, {_KIND_SQL} AS kind, concat(i.kind, ' ', i.value) AS key
        FROM ({sources.identifiers}) i {joined} JOIN {window.members} m ON m.user_id = {who}
        WHERE i.ts IS NULL OR i.ts < TIMESTAMP '{window.as_of}'"""


def _relations_sql(sources: Sources, window: Window) -> str:
    """Shared addresses, devices and payments; each pair is a key of its own (friends and follows are no tie here)."""
    pair = f"""SELECT user_id, other_id, {_KIND_SQL} AS kind FROM ({sources.relations})
        WHERE lower(kind) LIKE 'shared%' AND user_id <> other_id AND (since IS NULL OR since < TIMESTAMP '{window.as_of}')"""
    key = "concat(r.kind, ' ', least(r.user_id, r.other_id), ' ', greatest(r.user_id, r.other_id))"
    sides = " UNION ALL ".join(
        f"SELECT m.user_no, r.kind, {key} AS key FROM ({pair}) r JOIN {window.members} m ON m.user_id = r.{side}"
        for side in ("user_id", "other_id")
    )
    return f"SELECT * FROM ({sides})"
