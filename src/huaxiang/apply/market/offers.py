"""Several offers in one campaign, such as coupons of different worth: who is given which.

Without a budget the offers are tried out: a hash of campaign and customer deals them evenly, so that `huaxiang uplift` can learn what
each changes. With one, each customer is given what is expected to earn most within it (allocate.py). Who is held out is drawn after
that among all of them, and keeps their offer on paper: so the offer's effect can be read again later.

market.offers    campaign, user_id, offer    a row for what a customer was given, or would have been (of a try-out, each of the offers)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from huaxiang.apply.market.holdout import place_sql
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import DefinitionError

OFFERED = "market.offers"
_NAME = re.compile(r"[A-Za-z0-9一-鿿][\w\-.]{0,39}")


@dataclass(frozen=True)
class Offer:
    """worth: what it costs where a customer who has it buys, in money; most: customers it may go to at most (None: any)."""

    name: str
    worth: float
    most: int | None = None


def parse_offer(text: str) -> Offer:
    """NAME=WORTH, or NAME=WORTH:MOST; raises DefinitionError."""
    name, _, rest = text.partition("=")
    worth, _, most = rest.partition(":")
    try:
        found = Offer(name.strip(), float(worth), int(most) if most else None)
    except ValueError as error:
        raise DefinitionError("market.offer", text=text) from error
    if not _NAME.fullmatch(found.name) or not 0 <= found.worth < 1e9 or (found.most is not None and found.most < 0):
        raise DefinitionError("market.offer", text=text)
    return found


def check_offers(offers: Sequence[Offer], per_user: int) -> None:
    """Raises DefinitionError for two offers of one name, or fewer than one a customer."""
    names = [one.name for one in offers]
    double = next((name for name in names if names.count(name) > 1), "")
    if double:
        raise DefinitionError("market.offer_twice", offer=double)
    if per_user < 1:
        raise DefinitionError("market.per_user", per_user=per_user)


def deal_offers(users: str, offers: Sequence[Offer], salt: str) -> str:
    """SQL of user_id and offer: each of `users` (SQL) is dealt one of the offers, evenly. salt: of the campaign"""
    listed = ", ".join(quote(one.name) for one in offers)
    place = place_sql(f"{salt}.offer", "user_id")
    return f"SELECT user_id, [{listed}][CAST(floor({place} * {len(offers)}) AS INTEGER) + 1] AS offer FROM ({users})"


def as_controls(assigned: str, given: str, offers: Sequence[Offer]) -> str:
    """SQL of user_id and offer for a try-out: the treated as dealt, the held-out beside every offer, for which each of them stands.

    assigned, given: SQL of user_id and arm, and of user_id and offer
    """
    listed = ", ".join(quote(one.name) for one in offers)
    return (
        f"SELECT a.user_id, g.offer FROM ({assigned}) AS a JOIN ({given}) AS g USING (user_id) WHERE a.arm = 'treated' "
        f"UNION ALL SELECT user_id, unnest([{listed}]) AS offer FROM ({assigned}) WHERE arm = 'holdout'"
    )


def offers_of(lake: Lake, campaign: str) -> str:
    """SQL of user_id and offer of one campaign."""
    return f"SELECT user_id, offer FROM ({lake.engine.sql(lake.table(OFFERED))}) WHERE campaign = {quote(campaign)}"


def count_offers(lake: Lake, given: str, assigned: str) -> dict[str, int]:
    """offer -> treated customers who get it. given, assigned: SQL of user_id with offer, with arm"""
    rows: list[dict[str, Any]] = lake.engine.rows(
        f"SELECT g.offer, count(*) AS n FROM ({given}) AS g JOIN ({assigned}) AS a USING (user_id) "
        f"WHERE a.arm = 'treated' GROUP BY 1 ORDER BY 1"
    )
    return {row["offer"]: int(row["n"]) for row in rows}
