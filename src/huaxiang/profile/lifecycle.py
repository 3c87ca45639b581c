"""Lifecycle stage and value tier as SQL over `features`, by rules a person can check.

Stage. The shop sets three limits of silence (`active_days`, `at_risk_days`, `dormant_days`). From `rhythm_orders` orders on they
follow the customer: `active_days` becomes `rhythm_patience` × the usual gap between orders, at least half and at most twice the
shop's; the other two move in proportion. Then, first match wins:

    prospect   never bought (where the shop has buyers)
    new        first bought at most `new_days` ago
    won_back   active, and within the last `new_days` came back from a silence longer than the dormant limit
    active     last bought at most the active limit ago
    at_risk    … the at-risk limit
    dormant    … the dormant limit
    lost       longer ago

A shop that records no purchases at all is judged by any activity instead (`idle_days`, `tenure_days`).

Tier. Among those who bought in the last 365 days, by spend (by orders where the shop records no money): a customer is platinum when, counting everyone who spent as much or
more, at most 5 % of buyers are reached, and so on; other buyers are bronze, non-buyers none. Equal spend gives an equal tier.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from huaxiang.engine import Engine
from huaxiang.engine.duck import quote
from huaxiang.settings import ProfileSettings

STAGES = ("prospect", "new", "active", "won_back", "at_risk", "dormant", "lost")
UNKNOWN = "prospect"
WORTH = ("spend_365d", "orders_365d")


@dataclass(frozen=True)
class Basis:
    """What the rules read in this shop: the silence and age columns, whether anyone buys, what a customer's worth is measured by
    (a column), and the least of it that reaches each tier."""

    silence: str | None
    age: str | None
    buys: bool
    worth: str | None
    tiers: dict[str, float]


def find_basis(engine: Engine, features: str, columns: Collection[str], settings: ProfileSettings) -> Basis:
    """What the rules can read in this shop. features: SQL of the feature table."""
    buys = "orders_total" in columns and bool(
        engine.value(f"SELECT coalesce(max(orders_total), 0) > 0 FROM ({features})")
    )
    silence, age = ("recency_days", "first_purchase_days") if buys else ("idle_days", "tenure_days")
    worth = find_worth(engine, features, columns) if buys else None
    return Basis(
        silence=silence if silence in columns else None,
        age=age if age in columns else None,
        buys=buys,
        worth=worth,
        tiers=find_tiers(engine, features, worth, settings) if worth else {},
    )


def find_worth(engine: Engine, features: str, columns: Collection[str]) -> str | None:
    """The column that value tiers are measured by: the spend of the last year, or its orders where nobody spent anything."""
    for column in WORTH:
        if column in columns and engine.value(f"SELECT coalesce(max({column}), 0) > 0 FROM ({features})"):
            return column
    return None


def find_tiers(engine: Engine, features: str, worth: str, settings: ProfileSettings) -> dict[str, float]:
    """The least of `worth` that reaches each tier (a tier nobody reaches is left out)."""
    reached = ", ".join(
        f"min(worth) FILTER (share <= {share!r}) AS {_name(tier)}" for tier, share in settings.tiers.items()
    )
    if not reached:
        return {}
    found = engine.rows(
        f"SELECT {reached} FROM (SELECT {worth} AS worth, cume_dist() OVER (ORDER BY {worth} DESC) AS share "
        f"FROM ({features}) WHERE {worth} > 0)"
    )[0]
    return {tier: float(found[tier]) for tier in settings.tiers if found[tier] is not None}


def limits_sql(columns: Collection[str], settings: ProfileSettings, basis: Basis) -> str:
    """SQL of the customer's own active limit in days."""
    own = f"least(greatest({settings.rhythm_patience!r} * gap_days_mean, {settings.active_days / 2!r}), {settings.active_days * 2!r})"
    known = f"orders_total >= {settings.rhythm_orders} AND gap_days_mean > 0"
    if basis.buys and {"gap_days_mean", "orders_total"} <= set(columns):
        return f"CASE WHEN {known} THEN {own} ELSE {float(settings.active_days)!r} END"
    return repr(float(settings.active_days))


def lifecycle_sql(settings: ProfileSettings, basis: Basis, *, comeback: bool) -> str:
    """SQL of the stage, over the feature columns plus `active_limit_days` (and `comeback_days` where `comeback`)."""
    if basis.silence is None:
        return quote(UNKNOWN)
    silent, limit = basis.silence, "active_limit_days"
    dormant = f"{limit} * {settings.dormant_days / settings.active_days!r}"
    rules = [f"WHEN {silent} IS NULL THEN 'prospect'"]
    if basis.age is not None:
        rules.append(f"WHEN {basis.age} <= {settings.new_days} THEN 'new'")
    if comeback:
        rules.append(f"WHEN {silent} <= {limit} AND comeback_days > {dormant} THEN 'won_back'")
    rules += [
        f"WHEN {silent} <= {limit} THEN 'active'",
        f"WHEN {silent} <= {limit} * {settings.at_risk_days / settings.active_days!r} THEN 'at_risk'",
        f"WHEN {silent} <= {dormant} THEN 'dormant'",
    ]
    return f"CASE {' '.join(rules)} ELSE 'lost' END"


def comeback_sql(events: str, settings: ProfileSettings, as_of: str, *, buys: bool) -> str:
    """SQL of user_id and comeback_days: the silence that ended within the last `new_days` (NULL: none before, or none after).

    events: SQL of ready.events; as_of: SQL of the as-of timestamp.
    """
    since = f"{as_of} - INTERVAL {settings.new_days} DAY"
    kind = "event = 'purchase' AND " if buys else ""
    return (
        f"SELECT user_id, date_diff('day', max(ts) FILTER (ts < {since}), min(ts) FILTER (ts >= {since})) AS comeback_days "
        f"FROM ({events}) WHERE {kind}greatest(ts, known_at) < {as_of} GROUP BY user_id"
    )


def tier_sql(basis: Basis) -> str:
    """SQL of the value tier over the feature columns."""
    if not basis.buys:
        return "'none'"
    rules = [f"WHEN {basis.worth} >= {least!r} THEN {quote(tier)}" for tier, least in basis.tiers.items()]
    return f"CASE WHEN coalesce(orders_total, 0) = 0 THEN 'none' {' '.join(rules)} ELSE 'bronze' END"


def own_limits(row: dict[str, Any], settings: ProfileSettings) -> tuple[int, int, int]:
    """The active, at-risk and dormant limits in days that were applied to one customer."""
    active = float(row.get("active_limit_days") or settings.active_days)
    scale = active / settings.active_days
    return round(active), round(settings.at_risk_days * scale), round(settings.dormant_days * scale)


def _name(tier: str) -> str:
    return '"' + tier.replace('"', '""') + '"'
