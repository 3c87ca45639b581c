"""Who is asked for a campaign: everyone or a list; of them the first of a ranking, or those whose profit is largest within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from huaxiang.apply.market.allocate import allocate
from huaxiang.engine import Lake
from huaxiang.errors import DefinitionError, ShopError
from huaxiang.trust import Pseudonyms

RANKING = "market.uplift"


@dataclass(frozen=True)
class Spend:
    """What sending may cost. budget: of the campaign; cost: of one message; margin: profit of one more outcome; all in money."""

    budget: float
    cost: float
    margin: float


@dataclass(frozen=True)
class Asked:
    """table: engine table of user_id; by: everyone, list, effect or redemption; version: of the ranking; expected: incremental profit."""

    table: str
    by: str
    version: str = ""
    expected: float | None = None


def find_asked(
    lake: Lake,
    pseudonyms: Pseudonyms,
    judged: str,
    *,
    users: Sequence[str] | None = None,
    most: int | None = None,
    spend: Spend | None = None,
) -> Asked:
    """Who is asked for.

    judged: engine table of user_id and why (consent.py); users: ids of the shop or pseudonyms (None: everyone)
    raises: ShopError where a ranking is needed and there is none, or none of effects
    """
    engine = lake.engine
    among, by = judged, "everyone"
    if users is not None:
        given = pa.array(users, pa.string())
        loaded = engine.load(pa.table({"given": given, "hashed": pseudonyms.of_array(given)})).get_name()
        among, by = (
            engine.store(
                f"SELECT DISTINCT CASE WHEN given IN (SELECT user_id FROM {judged}) THEN given ELSE hashed END AS user_id FROM {loaded}"
            ),
            "list",
        )
    if most is None and spend is None:
        return Asked(engine.store(f"SELECT DISTINCT user_id FROM {among}"), by)
    if most is not None and most < 1:
        raise DefinitionError("market.most", most=most)
    if not lake.has(RANKING):
        raise ShopError("market.no_ranking")
    note = lake.note("uplift")
    basis, version = str(note.get("basis", "")), str(note.get("version", ""))
    reachable = (
        f"SELECT user_id, score FROM ({engine.sql(lake.table(RANKING))}) SEMI JOIN {among} USING (user_id) "
        f"SEMI JOIN (SELECT user_id FROM {judged} WHERE why IS NULL) USING (user_id) ORDER BY score DESC, user_id"
    )
    limit = f" LIMIT {most}" if most is not None else ""
    if spend is None:
        return Asked(engine.store(f"SELECT user_id FROM ({reachable}{limit})"), basis, version)
    if basis != "effect":
        raise ShopError("market.no_effect")
    rows = engine.arrow(reachable + limit)
    value = np.asarray(rows["score"].to_numpy(), dtype=float)[:, None] * spend.margin - spend.cost
    found = allocate(value, np.full(value.shape, spend.cost), budget=spend.budget)
    if found.why_empty:
        raise ShopError(f"market.empty_{found.why_empty}", budget=spend.budget, cost=spend.cost, margin=spend.margin)
    chosen = rows["user_id"].filter(pa.array(found.given[:, 0]))
    return Asked(engine.load(pa.table({"user_id": chosen})).get_name(), basis, version, found.profit)
