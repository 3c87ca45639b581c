"""The allocation beside what a shop would do otherwise: random, propensity-first, send-to-all; and what each earned, where chance gave.

`compare_policies` says what each is expected to earn by the model. `measure_policy` says what a choice of customers did earn, on
customers that a test treated at random and no model was fitted on: the doubly robust mean over those chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from huaxiang.apply.market.allocate import Allocation, Bools, allocate, allowed_pairs, profit_interval
from huaxiang.models.metrics import Floats

Draws = Callable[[], Iterable[Floats]]  # called once a policy, so that one draw at a time is held


@dataclass(frozen=True)
class Policy:
    """name: optimal, random, propensity or everyone. Money is in the shop's currency; `interval`: 95 %, None without draws."""

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
    draws: Draws = lambda: (),
) -> tuple[Allocation, list[Policy]]:
    """The optimal allocation, and it beside the others; send-to-all ignores the budget, and says whether it is over it.

    propensity: (N, M) or (N,) how likely each customer responds at all; the rest as `allocate` has it
    """
    best = allocate(value, cost, budget=budget, eligible=eligible, per_user=per_user, limits=limits, draws=draws())
    cost = np.broadcast_to(np.asarray(cost, dtype=float), value.shape)
    likely = np.broadcast_to(propensity[:, None] if propensity.ndim == 1 else propensity, value.shape)
    allowed = allowed_pairs(value.shape, eligible)
    chance = np.random.default_rng(seed).random(value.shape)
    rules = {
        "random": _first(chance, cost, allowed, budget, per_user, limits),
        "propensity": _first(likely, cost, allowed, budget, per_user, limits),
        "everyone": _first(value, cost, allowed, np.inf, per_user, None),
    }
    found = [_policy("optimal", best.given, value, cost, budget, best.interval)]
    for name, given in rules.items():
        found.append(_policy(name, given, value, cost, budget, profit_interval(given, draws())))
    return best, found


def measure_policy(chosen: Bools, pseudo: Floats, *, margin: float, cost: float) -> tuple[float, tuple[float, float]]:
    """Incremental profit a customer of the whole, and its 95 % interval, of treating `chosen` in a randomised test.

    chosen: (N,); pseudo: (N,) doubly robust effects (uplift_learners.doubly_robust); margin: profit an outcome; cost: a treatment
    """
    each = np.where(chosen, pseudo * margin - cost, 0.0)
    half = 1.96 * float(each.std(ddof=1)) / np.sqrt(len(each))
    mean = float(each.mean())
    return mean, (mean - half, mean + half)


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
