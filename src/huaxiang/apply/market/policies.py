"""The allocation beside what a shop would do otherwise: random, propensity-first, send-to-all; and what each is expected to earn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from huaxiang.apply.market.allocate import Allocation, Bools, allocate, allowed_pairs
from huaxiang.models.metrics import Floats

Interval = Callable[[Bools], tuple[float, float] | None]  # 95 % of the profit of what is given


@dataclass(frozen=True)
class Policy:
    """name: optimal, random, propensity or everyone. Money is in the shop's currency; `interval`: 95 %, None where it is not known."""

    name: str
    customers: int
    offers: int
    cost: float
    profit: float
    interval: tuple[float, float] | None
    over_budget: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"interval": None if self.interval is None else list(self.interval)}


def compare_policies(
    value: Floats,
    cost: Floats,
    propensity: Floats,
    *,
    budget: float,
    seed: int,
    eligible: Bools | None = None,
    per_user: int = 1,
    limits: Sequence[int] | None = None,
    interval: Interval = lambda given: None,
) -> tuple[Allocation, list[Policy]]:
    """The optimal allocation, and it beside the others; send-to-all ignores the budget and the limits of offers, and says whether it is over the budget.

    propensity: (N, M) or (N,) how likely each customer responds at all; the rest as `allocate` has it
    """
    best = allocate(value, cost, budget=budget, eligible=eligible, per_user=per_user, limits=limits)
    cost = np.broadcast_to(np.asarray(cost, dtype=float), value.shape)
    rest = {"budget": budget, "seed": seed, "eligible": eligible, "per_user": per_user, "limits": limits}
    plans = {"optimal": best.given, **plain_policies(value, cost, propensity, **rest)}  # type: ignore[arg-type]
    return best, [_policy(name, given, value, cost, budget, interval(given)) for name, given in plans.items()]


def plain_policies(
    value: Floats,
    cost: Floats,
    propensity: Floats,
    *,
    budget: float,
    seed: int,
    eligible: Bools | None = None,
    per_user: int = 1,
    limits: Sequence[int] | None = None,
) -> dict[str, Bools]:
    """Who would be given what at random, to the likeliest buyers first, and to everyone: (N, M) each, as `compare_policies` takes it."""
    cost = np.broadcast_to(np.asarray(cost, dtype=float), value.shape)
    likely = np.broadcast_to(propensity[:, None] if propensity.ndim == 1 else propensity, value.shape)
    allowed = allowed_pairs(value.shape, eligible)
    chance = np.random.default_rng(seed).random(value.shape)
    return {
        "random": _first(chance, cost, allowed, budget, per_user, limits),
        "propensity": _first(likely, cost, allowed, budget, per_user, limits),
        "everyone": _first(value, cost, allowed, np.inf, per_user, None),
    }


def _first(
    score: Floats, cost: Floats, allowed: Bools, budget: float, per_user: int, limits: Sequence[int] | None
) -> Bools:
    """Give in falling order of `score`, each customer their best offers, until the money or an offer's limit ends."""
    ranked = np.where(allowed, score, -np.inf)
    given = np.zeros(ranked.shape, dtype=bool)
    if per_user == 0 or not allowed.any():
        return given
    best = np.argsort(-ranked, axis=1, kind="stable")[:, :per_user]
    user = np.repeat(np.arange(len(ranked)), best.shape[1])
    offer = best.ravel()
    order = np.argsort(-ranked[user, offer], kind="stable")
    user, offer = user[order], offer[order]
    keep = allowed[user, offer]
    user, offer = user[keep], offer[keep]
    if limits is not None:
        fits = np.ones(len(offer), dtype=bool)
        for at, limit in enumerate(limits):
            fits[np.flatnonzero(offer == at)[limit:]] = False
        user, offer = user[fits], offer[fits]
    afford = np.cumsum(cost[user, offer]) <= budget
    given[user[afford], offer[afford]] = True
    return given


def _policy(
    name: str, given: Bools, value: Floats, cost: Floats, budget: float, interval: tuple[float, float] | None
) -> Policy:
    spent = float(cost[given].sum())
    return Policy(
        name,
        int(given.any(axis=1).sum()),
        int(given.sum()),
        spent,
        float(value[given].sum()),
        interval,
        spent > budget * (1 + 1e-9),
    )
