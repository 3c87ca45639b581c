"""How well a ranking finds those whom the treatment moves: the Qini curve, its coefficient and AUUC, with bootstrap intervals.

Customers stand in falling order of predicted uplift; k is how many from the top. Over the first k:

    Q(k)  = Y_t − Y_c · N_t / N_c            incremental outcomes among the treated (Y outcome sums, N counts; t treated, c control)
    qini  = A(ranking) / A(perfect)          A: area between Q and the straight line from 0 to Q(n), which a random order gives
    auuc  = ∫ (Y_t/N_t − Y_c/N_c)(φ) · φ dφ  φ = k/n; in outcomes a customer; a random order gives half the average effect

0 is a random order for qini, below 0 worse than it. A(perfect) orders by what happened (treated buyers first, control buyers last): it
is a yardstick that no model reaches, so qini is small even where targeting pays. source: Radcliffe 2007; the normalisation is that of
scikit-uplift's `qini_auc_score` (negative_effect=True). The other one in use, A / (n · |Q(n)|), as causalml has it, is `share_of_total`:
it is larger and has no meaning where the average effect is near 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huaxiang.errors import ModelError
from huaxiang.models.metrics import Floats

CELLS = 2_000_000  # resamples × customers held at once
NEED_ARM = 10


@dataclass(frozen=True)
class Ranking:
    """What a ranking is worth. Each interval is (lower, upper), 95 %; `is_null`: the ranking cannot be told from a random order."""

    customers: int
    treated: int
    effect: float  # average, outcomes a customer
    effect_interval: tuple[float, float]
    qini: float
    qini_interval: tuple[float, float]
    auuc: float
    auuc_interval: tuple[float, float]
    auuc_random: float
    share_of_total: float  # NaN where some fold has no effect at all
    resamples: int

    @property
    def is_null(self) -> bool:
        return not self.qini_interval[0] > 0


def check_arms(treated: Floats, outcome: Floats) -> None:
    """Raises ModelError where one arm is empty or nearly so, or the outcome never varies."""
    arms = int(treated.sum()), int(len(treated) - treated.sum())
    if min(arms) < NEED_ARM:
        raise ModelError("market.one_arm", treated=arms[0], control=arms[1], need=NEED_ARM)
    if len(outcome) and float(outcome.min()) == float(outcome.max()):
        raise ModelError("market.flat_outcome", value=float(outcome[0]), rows=len(outcome))


def qini_curve(score: Floats, treated: Floats, outcome: Floats) -> tuple[Floats, Floats]:
    """(points,) share of customers from the top, and (points,) Q; customers of equal score enter together.

    score: (n,) predicted uplift; treated: (n,) 0/1; outcome: (n,)
    """
    order, ends = _order(score)
    q, _ = _curves(np.ones((1, len(score))), treated[order], outcome[order], ends)
    return np.append(0, ends + 1) / len(score), q[0]


def measure_ranking(
    score: Floats,
    treated: Floats,
    outcome: Floats,
    *,
    seed: int,
    resamples: int = 500,
    fold: NDArray[Any] | None = None,
    customer: NDArray[Any] | None = None,
) -> Ranking:
    """What the order of `score` is worth, and intervals from resampled customers.

    fold: (n,) the fold each customer's score was made in; figures are then means over folds, since scores of different models do not
    compare, and customers are resampled within their fold; customer: (n,) whose row it is: rows of one are resampled together
    raises: ModelError where one arm has fewer than ten customers or the outcome never varies
    """
    check_arms(treated, outcome)
    folds = np.zeros(len(score), dtype=int) if fold is None else fold
    point, drawn = [], []
    generator = np.random.default_rng(seed)
    for one in np.unique(folds):
        rows = folds == one
        own = None if customer is None else np.unique(customer[rows], return_inverse=True)[1]
        point.append(_figures(score[rows], treated[rows], outcome[rows], None, 0)[0])
        drawn.append(_figures(score[rows], treated[rows], outcome[rows], generator, resamples, own))
    mean = np.mean(point, axis=0)
    low, high = np.quantile(np.mean([one[:, :3] for one in drawn], axis=0), (0.025, 0.975), axis=0)
    return Ranking(
        customers=len(score),
        treated=int(treated.sum()),
        effect=float(mean[2]),
        effect_interval=(float(low[2]), float(high[2])),
        qini=float(mean[0]),
        qini_interval=(float(low[0]), float(high[0])),
        auuc=float(mean[1]),
        auuc_interval=(float(low[1]), float(high[1])),
        auuc_random=float(mean[2] / 2),
        share_of_total=float(mean[3]),
        resamples=resamples,
    )


def quick_qini(score: Floats, treated: Floats, outcome: Floats) -> float:
    """The coefficient alone."""
    return float(_figures(score, treated, outcome, None, 0)[0, 0])


def _figures(
    score: Floats,
    treated: Floats,
    outcome: Floats,
    generator: np.random.Generator | None,
    resamples: int,
    customer: NDArray[Any] | None = None,
) -> Floats:
    """(resamples or 1, 4): qini, auuc, average effect, share_of_total; each resample weighs customers anew (Poisson(1) weights)."""
    customers = len(score) if customer is None else int(customer.max()) + 1
    order, ends = _order(score)
    best, best_ends = _order(_perfect(treated, outcome))
    n = len(score)
    if generator is None or not resamples:
        return _weighed(np.ones((1, n)), treated, outcome, (order, ends), (best, best_ends))
    step = max(1, CELLS // n)
    parts = []
    for begin in range(0, resamples, step):
        weights = generator.poisson(1.0, (min(step, resamples - begin), customers)).astype(float)
        weights = weights if customer is None else weights[:, customer]
        parts.append(_weighed(weights, treated, outcome, (order, ends), (best, best_ends)))
    return np.concatenate(parts)


def _weighed(weights: Floats, treated: Floats, outcome: Floats, ranked: Any, perfect: Any) -> Floats:
    areas = []
    for order, ends in (ranked, perfect):
        w = weights[:, order]
        q, gain = _curves(w, treated[order], outcome[order], ends)
        depth = np.cumsum(w, axis=1)[:, ends]
        depth = np.concatenate([np.zeros((len(w), 1)), depth], axis=1)
        depth /= depth[:, -1:]
        areas.append((np.trapezoid(q, depth, axis=1) - q[:, -1] / 2, q[:, -1], gain, depth))
    (area, total, gain, depth), (yardstick, *_) = areas
    auuc = np.trapezoid(gain * depth, depth, axis=1)
    size = np.abs(total)
    qini = np.divide(area, yardstick, out=np.zeros_like(area), where=yardstick > 0)
    share = np.divide(area, size, out=np.full_like(area, np.nan), where=size > 0)  # no effect at all has no share
    return np.column_stack([qini, auuc, gain[:, -1], share])


def _curves(weights: Floats, treated: Floats, outcome: Floats, ends: NDArray[Any]) -> tuple[Floats, Floats]:
    """(resamples, points) Q and difference of means, from 0 on, at the rows `ends`; rows are in order."""
    sums = [
        np.cumsum(weights * column, axis=1)[:, ends]
        for column in (treated, 1 - treated, treated * outcome, (1 - treated) * outcome)
    ]
    n_t, n_c, y_t, y_c = (np.concatenate([np.zeros((len(weights), 1)), one], axis=1) for one in sums)
    control = np.divide(y_c, n_c, out=np.zeros_like(y_c), where=n_c > 0)
    q = y_t - control * n_t
    gain = np.divide(q, n_t, out=np.zeros_like(q), where=n_t > 0)
    return q, gain


def _order(score: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows by falling score, and the last place of each run of equal scores."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    return order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))


def _perfect(treated: Floats, outcome: Floats) -> Floats:
    """The yardstick's order. Of 0/1 outcomes as scikit-uplift has it; of amounts by what the treated gave and the control did not."""
    if not np.isin(outcome, (0.0, 1.0)).all():
        return outcome * (2 * treated - 1)
    more_control = (outcome * (1 - treated)).sum() > (outcome * treated).sum()
    return 2.0 * (outcome == treated) + (outcome if more_control else treated)
