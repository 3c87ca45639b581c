"""Who is asked for a campaign: everyone or a list; of them the first of a ranking, or those whose profit is largest within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from huaxiang.apply.market.allocate import Bools
from huaxiang.apply.market.offers import Offer
from huaxiang.apply.market.policies import Policy, compare_policies
from huaxiang.apply.market.worth import Worth, read_worth
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import DefinitionError, ShopError
from huaxiang.models.metrics import Floats
from huaxiang.trust import Pseudonyms

RANKING = "market.uplift"
PLAIN = Offer("", 0.0)  # a message that gives nothing


@dataclass(frozen=True)
class Spend:
    """What sending may cost. budget: of the campaign; cost: of one message; margin: profit of one more outcome; all in money."""

    budget: float
    cost: float
    margin: float


@dataclass(frozen=True)
class Asked:
    """table: engine table of user_id; among: of those whom they were chosen from; by: everyone, list, effect or redemption; version: of the
    ranking; policies: the allocation beside what else could be done with the budget."""

    table: str
    among: str
    by: str
    version: str = ""
    policies: tuple[Policy, ...] = ()
    null: tuple[str, ...] = ()  # what was ranked by no better than chance: offers, "" for messages
    given: str = field(default="", compare=False)

    @property
    def has_chosen(self) -> bool:
        """Whether some of `among` were chosen, by a ranking."""
        return self.by in ("effect", "redemption")

    @property
    def expected(self) -> float | None:
        return self.policies[0].profit if self.policies else None


def find_asked(
    lake: Lake,
    pseudonyms: Pseudonyms,
    judged: str,
    *,
    users: Sequence[str] | None = None,
    most: int | None = None,
    spend: Spend | None = None,
    offers: Sequence[Offer] = (),
    per_user: int = 1,
    seed: int = 0,
) -> Asked:
    """Who is asked for.

    judged: engine table of user_id and why (consent.py); users: ids of the shop or pseudonyms (None: everyone)
    raises: ShopError where a ranking is needed and there is none, or none of effects (of one of the offers)
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
        return Asked(engine.store(f"SELECT DISTINCT user_id FROM {among}"), among, by)
    if most is not None and most < 1:
        raise DefinitionError("market.most", most=most)
    if spend is not None and not spend.margin >= 0:
        raise DefinitionError("market.margin", margin=spend.margin)
    if not lake.has(RANKING) or "offer" not in lake.table(RANKING).columns:
        raise ShopError("market.no_ranking")
    note = lake.note("uplift")
    basis, version = str(note.get("basis", "")), str(note.get("version", ""))
    limit = f" LIMIT {most}" if most is not None else ""
    first = engine.store(
        f"SELECT user_id FROM ({engine.sql(lake.table(RANKING))}) SEMI JOIN {among} USING (user_id) "
        f"SEMI JOIN (SELECT user_id FROM {judged} WHERE why IS NULL) USING (user_id) WHERE offer = '' "
        f"ORDER BY score DESC, user_id{limit}"
    )
    if spend is None or not engine.value(f"SELECT count(*) FROM {first}"):  # nobody: the plan says why
        return Asked(first, among, basis, version, null=tuple(set(note.get("null", [])) & {""}))
    if basis != "effect":
        raise ShopError("market.no_effect")
    null = tuple(one.name for one in offers or (PLAIN,) if one.name in note.get("null", []))
    found = _allocate(lake, first, spend, offers or (PLAIN,), null, per_user, seed)
    asked = engine.store(f"SELECT DISTINCT user_id FROM {found[0]}")
    return Asked(asked, among, basis, version, found[1], null, found[0] if offers else "")


@dataclass(frozen=True)
class Weighed:
    """What each offer is expected to bring and to cost each customer. users: (N,) ids; (N, M) each: score, likely, cost and profit, cost
    taken off; worth: the lines that the profit is told by; margin: profit of one more outcome."""

    users: pa.ChunkedArray
    score: Floats
    likely: Floats
    cost: Floats
    profit: Floats
    worth: Worth
    margin: float

    def interval(self, given: Bools) -> tuple[float, float]:
        """95 % of the profit of `given` (N, M)."""
        return self.worth.interval(given, self.score, self.likely, self.cost, self.margin)


def weigh_offers(lake: Lake, among: str, spend: Spend, offers: Sequence[Offer], null: Sequence[str]) -> Weighed:
    """What a customer costs is the message, and the offer's worth where they are expected to buy with it. What a customer brings is what
    those of the tests bear out (worth.py).

    among: engine table of user_id; null: offers ranked by no better than chance
    """
    told = [_ranked(lake, among, offer.name) for offer in offers]
    worth = read_worth(lake, [offer.name for offer in offers], null)
    score, likely = (np.column_stack([_numbers(one[name]) for one in told]) for name in ("score", "likely"))
    cost = spend.cost + likely * np.array([offer.worth for offer in offers])
    profit = worth.effects(score, likely) * spend.margin - cost
    return Weighed(told[0]["user_id"], score, likely, cost, profit, worth, spend.margin)


def _allocate(
    lake: Lake, among: str, spend: Spend, offers: Sequence[Offer], null: Sequence[str], per_user: int, seed: int
) -> tuple[str, tuple[Policy, ...]]:
    """An engine table of user_id and offer given within the budget, and the policies compared. (N customers, M offers)"""
    found = weigh_offers(lake, among, spend, offers, null)
    caps = [len(found.score) if offer.most is None else offer.most for offer in offers]
    best, policies = compare_policies(
        found.profit,
        found.cost,
        found.likely,
        budget=spend.budget,
        seed=seed,
        per_user=min(per_user, len(offers)),
        limits=caps if any(offer.most is not None for offer in offers) else None,
        interval=found.interval,
    )
    if best.why_empty:
        raise ShopError(f"market.empty_{best.why_empty}", budget=spend.budget, cost=spend.cost, margin=spend.margin)
    user, offer = np.nonzero(best.given)
    names = np.array([one.name for one in offers])
    chosen = pa.table({"user_id": found.users.take(pa.array(user)), "offer": pa.array(names[offer], pa.string())})
    return lake.engine.load(chosen).get_name(), tuple(policies)


def _ranked(lake: Lake, among: str, offer: str) -> pa.Table:
    """user_id, score and likely of the offer for the customers of `among`, by user_id."""
    engine = lake.engine
    ranking = engine.sql(lake.table(RANKING))
    found = engine.arrow(
        f"SELECT user_id, score, likely FROM ({ranking}) SEMI JOIN {among} USING (user_id) "
        f"WHERE offer = {quote(offer)} ORDER BY user_id"
    )
    if offer and not found.num_rows:
        have = [str(row["offer"]) for row in engine.rows(f"SELECT DISTINCT offer FROM ({ranking}) ORDER BY 1")]
        raise ShopError("market.no_offer_effect", offer=offer, have=", ".join(filter(None, have)) or "-")
    return found.combine_chunks()


def _numbers(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.to_numpy(), dtype=float)
