"""Who gets which offer under a budget: the most expected incremental profit that the limits allow.

    maximise Σ value·x   subject to  Σ cost·x ≤ budget,  offers a customer ≤ per_user,  customers an offer ≤ limits,  x 0 or 1

Up to EXACT pairs HiGHS solves it as it stands (scipy.optimize.milp). Above, its Lagrangian relaxation: prices on the budget and the
offers' limits, found by bisection in turns; at given prices each customer takes their best offers, and what the last price step leaves
over is filled by worth. The relaxation's value is an upper bound, so the gap to it is known and said. source: Fisher 1981.

Letters: N customers, M offers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from huaxiang.errors import DefinitionError
from huaxiang.models.metrics import Floats

Bools = NDArray[np.bool_]
EXACT = 20_000
ROUNDS = 8  # of the prices in turns
SAMPLE = 20_000  # customers on whom prices are found first
TOLERANCE = 1e-6  # of a price
MIP_GAP = 1e-4


@dataclass(frozen=True)
class Allocation:
    """given: (N, M) who gets what; profit: expected incremental, of those given; bound: no allocation can expect more.

    why_empty: budget, nobody (no customer may be given anything) or loss (no offer is expected to pay), where nothing is given
    """

    given: Bools
    profit: float
    cost: float
    bound: float
    method: str
    why_empty: str = ""

    @property
    def customers(self) -> int:
        return int(self.given.any(axis=1).sum())

    @property
    def offers(self) -> int:
        return int(self.given.sum())

    @property
    def gap(self) -> float:
        """(bound − profit) / bound: 0 for a proven optimum."""
        return max(0.0, (self.bound - self.profit) / self.bound) if self.bound > 0 else 0.0


def allocate(
    value: Floats,
    cost: Floats,
    *,
    budget: float,
    eligible: Bools | None = None,
    per_user: int = 1,
    limits: Sequence[int] | None = None,
    exact: int = EXACT,
) -> Allocation:
    """The best allocation.

    value: (N, M) expected incremental profit of giving, cost included; cost: (N, M) or (M,) expected cost, what the budget pays
    eligible: (N, M) or (N,) who may be given what; limits: customers an offer at most
    raises: DefinitionError for a negative budget, cost or cap, or shapes that do not fit
    """
    value = np.asarray(value, dtype=float)
    cost = np.broadcast_to(np.asarray(cost, dtype=float), value.shape)
    allowed = allowed_pairs(value.shape, eligible)
    _check(value, cost, budget, per_user, limits)
    why = _why_empty(value, cost, allowed, budget, per_user)
    if why:
        nothing = np.zeros(value.shape, dtype=bool)
        return Allocation(nothing, 0.0, 0.0, 0.0, "none", why)
    useful = allowed & (value > 0) & (cost <= budget)
    if useful.sum() <= exact:
        given, bound = _solve_exactly(value, cost, useful, budget, per_user, limits)
        method = "highs"
    else:
        given, bound = _solve_by_prices(value, cost, useful, budget, per_user, limits)
        method = "prices"
    profit = float(value[given].sum())
    return Allocation(given, profit, float(cost[given].sum()), max(bound, profit), method)


def allowed_pairs(shape: tuple[int, ...], eligible: Bools | None) -> Bools:
    if eligible is None:
        return np.ones(shape, dtype=bool)
    found = np.asarray(eligible, dtype=bool)
    return np.broadcast_to(found[:, None] if found.ndim == 1 else found, shape)


def _check(value: Floats, cost: Floats, budget: float, per_user: int, limits: Sequence[int] | None) -> None:
    if value.ndim != 2 or (limits is not None and len(limits) != value.shape[1]):
        raise DefinitionError("market.allocate_shape", shape=value.shape, limits=len(limits or ()))
    if not np.isfinite(value).all() or not np.isfinite(cost).all():
        raise DefinitionError("market.allocate_nan")
    if not (budget >= 0 and per_user >= 0 and np.all(cost >= 0) and all(limit >= 0 for limit in limits or ())):
        raise DefinitionError("market.allocate_negative", budget=budget, per_user=per_user)


def _why_empty(value: Floats, cost: Floats, allowed: Bools, budget: float, per_user: int) -> str:
    if not allowed.any() or per_user == 0:
        return "nobody"
    if not (allowed & (value > 0)).any():
        return "loss"
    if not (allowed & (value > 0) & (cost <= budget)).any():
        return "budget"
    return ""


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """HiGHS prints a debugging line of its own now and then, past Python; it would stand in the midst of --json."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _solve_exactly(
    value: Floats, cost: Floats, useful: Bools, budget: float, per_user: int, limits: Sequence[int] | None
) -> tuple[Bools, float]:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, vstack

    user, offer = np.nonzero(useful)
    count = len(user)
    ones, pairs = np.ones(count), np.arange(count)
    rows = [csr_array(cost[user, offer][None, :]), csr_array((ones, (user, pairs)), shape=(len(value), count))]
    upper = [np.array([budget]), np.full(len(value), float(per_user))]
    if limits is not None:
        rows.append(csr_array((ones, (offer, pairs)), shape=(value.shape[1], count)))
        upper.append(np.asarray(limits, dtype=float))
    with _silent_stdout():
        found = milp(
            -value[user, offer],
            constraints=LinearConstraint(vstack(rows), ub=np.concatenate(upper)),
            integrality=ones,
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": MIP_GAP, "time_limit": 60.0},
        )
    given = np.zeros(value.shape, dtype=bool)
    if found.x is None:  # nothing found in time: the prices find something, and their own bound
        return _solve_by_prices(value, cost, useful, budget, per_user, limits)
    taken = found.x > 0.5
    given[user[taken], offer[taken]] = True
    bound = found.get("mip_dual_bound")
    return given, float(-bound) if bound is not None else float(-found.fun)


def _solve_by_prices(
    value: Floats, cost: Floats, useful: Bools, budget: float, per_user: int, limits: Sequence[int] | None
) -> tuple[Bools, float]:
    rows = np.flatnonzero(useful.any(axis=1))
    worth = np.where(useful[rows], value[rows], -np.inf)
    paid = cost[rows]
    caps = np.full(value.shape[1], np.inf) if limits is None else np.asarray(limits, dtype=float)
    price, offer_price = _find_prices(worth, paid, budget, per_user, caps)
    reduced = worth - price * paid - offer_price
    bound = price * budget + float(offer_price @ np.where(np.isfinite(caps), caps, 0.0))
    bound += float(np.maximum(_best(reduced, per_user), 0).sum())
    taken = _take(reduced, per_user)
    _repair(taken, worth, paid, reduced, budget, per_user, caps)
    given = np.zeros(value.shape, dtype=bool)
    given[rows] = taken
    return given, bound


def _find_prices(worth: Floats, paid: Floats, budget: float, per_user: int, caps: Floats) -> tuple[float, Floats]:
    """The price of money and of each limited offer at which what customers take just fits.

    Found on SAMPLE customers spread over all, then once more on all of them, near by: 1 M customers take seconds so, not minutes.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(np.isfinite(worth) & (paid > 0), worth / paid, 0.0)
    highest = float(ratio.max(initial=0.0)), float(worth.max(initial=0.0))
    start = 0.0, np.zeros(worth.shape[1])
    if len(worth) <= SAMPLE:
        return _settle(worth, paid, budget, per_user, caps, start, highest, rounds=ROUNDS)
    some = np.random.default_rng(0).choice(
        len(worth), SAMPLE, replace=False
    )  # which prices come first, not which are found
    share = SAMPLE / len(worth)
    near = _settle(worth[some], paid[some], budget * share, per_user, caps * share, start, highest, rounds=ROUNDS)
    return _settle(worth, paid, budget, per_user, caps, near, highest, rounds=1, near=True)


def _settle(
    worth: Floats,
    paid: Floats,
    budget: float,
    per_user: int,
    caps: Floats,
    start: tuple[float, Floats],
    highest: tuple[float, float],
    *,
    rounds: int,
    near: bool = False,
) -> tuple[float, Floats]:
    """Prices in turns, each by bisection with the others held, until none moves. near: the start is nearly right."""
    price, offer_price = start[0], start[1].copy()
    for _ in range(rounds):
        before = price, offer_price.copy()

        def spent(candidate: float) -> float:
            return float(paid[_take(worth - candidate * paid - offer_price, per_user)].sum())

        price = _bisect(spent, budget, price if near else 0.0, highest[0])
        for offer in np.flatnonzero(caps < len(worth)):

            def count(candidate: float, offer: int = int(offer), money: float = price) -> float:
                prices = offer_price.copy()
                prices[offer] = candidate
                return float(_take(worth - money * paid - prices, per_user)[:, offer].sum())

            offer_price[offer] = _bisect(
                count, float(caps[offer]), float(offer_price[offer]) if near else 0.0, highest[1]
            )
        moved = max(abs(price - before[0]), float(np.abs(offer_price - before[1]).max()))
        if moved <= TOLERANCE * (price + float(offer_price.max()) + 1e-12):
            break
    return price, offer_price


def _bisect(used: Callable[[float], float], limit: float, guess: float, highest: float) -> float:
    """The lowest price at which no more than `limit` is used, to a millionth of it. guess: where to look first (0: nowhere)."""
    low, high = 0.0, highest * (1 + 1e-9) + 1e-12
    if guess:
        step = 0.02 * guess
        if used(guess) > limit:
            low = guess
            while guess + step < high and used(guess + step) > limit:
                low, step = guess + step, 2 * step
            high = min(high, guess + step)
        else:
            high = guess
            while guess - step > 0 and used(guess - step) <= limit:
                high, step = guess - step, 2 * step
            low = max(0.0, guess - step)
    if low == 0.0 and used(0.0) <= limit:
        return 0.0
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        if used(middle) > limit:
            low = middle
        else:
            high = middle
    return high


def _take(reduced: Floats, per_user: int) -> Bools:
    """(N, M) each customer's best offers at the prices, those worth more than they cost."""
    if per_user >= reduced.shape[1]:
        return reduced > 0
    taken = np.zeros(reduced.shape, dtype=bool)
    rows = np.arange(len(reduced))
    left = reduced if per_user == 1 else reduced.copy()
    for turn in range(per_user):
        best = left.argmax(axis=1)
        taken[rows, best] = left[rows, best] > 0
        if turn + 1 < per_user:
            left[rows, best] = -np.inf
    return taken


def _best(reduced: Floats, per_user: int) -> Floats:
    """The values of each customer's best offers."""
    if per_user >= reduced.shape[1]:
        return reduced
    return -np.partition(-reduced, per_user - 1, axis=1)[:, :per_user]


def _repair(
    taken: Bools, worth: Floats, paid: Floats, reduced: Floats, budget: float, per_user: int, caps: Floats
) -> None:
    """Make `taken` keep every limit (dropping what is worth least at the prices), then fill what is left over by worth per cost."""
    user, offer = np.nonzero(taken)
    order = np.argsort(-reduced[user, offer], kind="stable")
    user, offer = user[order], offer[order]
    for at in np.flatnonzero(np.isfinite(caps)):
        mine = np.flatnonzero(offer == at)
        taken[user[mine[int(caps[at]) :]], at] = False
    keep = taken[user, offer]
    user, offer = user[keep], offer[keep]
    over = np.cumsum(paid[user, offer]) > budget * (1 + 1e-12)
    taken[user[over], offer[over]] = False
    _fill(taken, worth, paid, budget, per_user, caps)


def _fill(
    taken: Bools, worth: Floats, paid: Floats, budget: float, per_user: int, caps: Floats, most: int = 20_000
) -> None:
    """Give what still fits, the most worth per cost first; looks at the `most` best pairs only."""
    left = budget - float(paid[taken].sum())
    room = caps - taken.sum(axis=0)
    held = taken.sum(axis=1)
    free = np.isfinite(worth) & ~taken & (held < per_user)[:, None] & (room >= 1)[None, :] & (paid <= left)
    user, offer = np.nonzero(free)
    rate = worth[user, offer] / np.maximum(paid[user, offer], 1e-12)
    if len(rate) > most:
        best = np.argpartition(-rate, most)[:most]
        user, offer, rate = user[best], offer[best], rate[best]
    for at in np.argsort(-rate, kind="stable"):
        i, j = user[at], offer[at]
        if paid[i, j] <= left and held[i] < per_user and room[j] >= 1:
            taken[i, j] = True
            left -= paid[i, j]
            held[i] += 1
            room[j] -= 1
