"""Who shares what with whom: one row a customer and a key that at least two customers have.

Keys are addresses, devices, payments and other identifiers seen with several customers, declared relations, and days on which an item
was suddenly bought by many. Identifiers are pseudonyms already; here they become numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from huaxiang.apply.guard.window import KIND_SQL, Sources, Window, keys_sql
from huaxiang.engine import Engine

Ints = NDArray[np.int64]
KINDS = ("address", "device", "payment", "other", "burst")


@dataclass(frozen=True)
class Ties:
    """T ties between U customers and K keys. user: (T,) places 0 … U−1; key: (T,) 0 … K−1; kind: (K,) places in KINDS; ago: (K,) of a
    burst, how many days ago, 0 for the others.

    Sorted by key; a customer has a key at most once; every key has at least two customers.
    """

    users: int
    user: Ints
    key: Ints
    kind: Ints
    ago: Ints

    @property
    def keys(self) -> int:
        return len(self.kind)

    @property
    def holders(self) -> Ints:
        """(K,) customers of each key."""
        return np.bincount(self.key, minlength=self.keys)


def read_ties(engine: Engine, sources: Sources, window: Window) -> Ties:
    """The ties among the window's customers; places are by user_no. None at all is an empty Ties."""
    parts = [f"SELECT user_no, 'burst' AS kind, concat('burst ', l.item_no, ' ', l.day) AS key, b.ago FROM {window.lines} l JOIN {window.bursts} b ON b.item_no = l.item_no AND b.day = l.day"]  # fmt: skip
    keys = keys_sql(sources, window.members, window.as_of)
    if keys:
        parts.append(f"SELECT user_no, kind, key, 0 AS ago FROM ({keys})")
    if sources.relations:
        parts.append(_relations_sql(sources, window, keys))
    place = f"SELECT user_no, row_number() OVER (ORDER BY user_no) - 1 AS place FROM {window.members}"
    found = engine.arrow(f"""
        WITH seen AS (SELECT DISTINCT user_no, kind, key, ago FROM ({" UNION ALL ".join(parts)})),
        shared AS (SELECT kind, key, row_number() OVER (ORDER BY kind, key) - 1 AS number FROM seen GROUP BY kind, key HAVING count(*) > 1)
        SELECT p.place, s.number, list_position({list(KINDS)}, s.kind) - 1 AS kind, ago FROM seen JOIN shared s USING (kind, key) JOIN ({place}) p USING (user_no)
        ORDER BY s.number, p.place""")
    key = found["number"].to_numpy().astype(np.int64)
    kind = np.zeros(int(key.max()) + 1 if len(key) else 0, dtype=np.int64)
    ago = np.zeros_like(kind)
    kind[key], ago[key] = found["kind"].to_numpy(), found["ago"].to_numpy()
    users = int(engine.value(f"SELECT count(*) FROM {window.members}"))
    return Ties(users, found["place"].to_numpy().astype(np.int64), key, kind, ago)


def _relations_sql(sources: Sources, window: Window, keys: str) -> str:
    """Shared addresses, devices and payments; each pair is a key of its own, unless both have such an identifier in common already
    (friends and follows are no tie here)."""
    told = f"""SELECT DISTINCT least(a.user_no, b.user_no) AS one, greatest(a.user_no, b.user_no) AS two, r.kind FROM
        (SELECT user_id, other_id, {KIND_SQL} AS kind FROM ({sources.relations})
            WHERE lower(kind) LIKE 'shared%' AND user_id <> other_id AND (since IS NULL OR since < TIMESTAMP '{window.as_of}')) r
        JOIN {window.members} a ON a.user_id = r.user_id JOIN {window.members} b ON b.user_id = r.other_id"""
    if keys:
        both = "SELECT x.user_no AS one, y.user_no AS two, x.kind FROM p JOIN k x ON x.user_no = p.one AND x.kind = p.kind JOIN k y ON y.user_no = p.two AND y.key = x.key"
        told = f"WITH p AS ({told}), k AS (SELECT DISTINCT user_no, kind, key FROM ({keys})) SELECT * FROM p ANTI JOIN ({both}) b USING (one, two, kind)"
    sides = " UNION ALL ".join(
        f"SELECT {side} AS user_no, kind, concat('pair ', kind, ' ', one, ' ', two) AS key, 0 AS ago FROM pairs"
        for side in ("one", "two")
    )
    return f"SELECT * FROM (WITH pairs AS ({told}) {sides})"
