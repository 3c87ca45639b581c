"""A difference between two arms that may be looked at every day: CUPED, and an interval that stays valid under peeking.

CUPED takes out of each customer's outcome what their own past foretells: y' = y − θ (x − mean x), θ = cov(x, y) / var(x) within the arms;
the mean difference stays, its variance falls by the squared correlation. source: Deng et al. 2013.

The interval is that of the mixture sequential probability ratio test with a normal mixture N(0, τ²) over the difference; with v the
variance of the estimated difference now,

    estimate ± sqrt( 2 v (v + τ²) / τ² · ( ln(1/α) + ½ ln((v + τ²) / v) ) )

It covers the true difference at every look at once with probability 1 − α, so one may stop when it leaves 0. τ is set before the test
(the effect it was planned for). source: Johari, Pekelis & Walsh 2017, section 4 (large-sample form); it is wider than the fixed-time
interval, which is given beside it and holds for one look decided beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from huaxiang.errors import ModelError
from huaxiang.models.metrics import Floats


@dataclass(frozen=True)
class Difference:
    """Treated minus hold-out, in outcomes a customer. `p_value`: always valid; `variance_cut`: share of the variance CUPED took away."""

    treated: int
    holdout: int
    treated_mean: float
    holdout_mean: float
    estimate: float
    interval: tuple[float, float]
    fixed_interval: tuple[float, float]
    p_value: float
    variance_cut: float
    tau: float

    @property
    def is_null(self) -> bool:
        return self.interval[0] <= 0 <= self.interval[1]


def read_difference(
    treated: Floats, outcome: Floats, before: Floats | None, *, tau: float, alpha: float = 0.05
) -> Difference:
    """The difference between the arms.

    treated: (N,) 0/1 as assigned; outcome: (N,); before: (N,) the same measure before the campaign, for CUPED (None: without)
    tau: SD of the mixture, in the outcome's unit, set before the test
    raises: ModelError where an arm has fewer than two customers
    """
    is_treated = treated == 1
    counts = int(is_treated.sum()), int((~is_treated).sum())
    if min(counts) < 2:
        raise ModelError("market.one_arm", treated=counts[0], control=counts[1], need=2)
    raw = _difference(outcome, is_treated)
    estimate, variance = raw
    cut = 0.0
    if before is not None:
        adjusted = outcome - _theta(before, outcome, is_treated) * (before - before.mean())
        estimate, variance = _difference(adjusted, is_treated)
        cut = 1 - variance / raw[1] if raw[1] > 0 else 0.0
    half = always_valid_half(variance, tau, alpha)
    fixed = NormalDist().inv_cdf(1 - alpha / 2) * math.sqrt(variance)
    return Difference(
        treated=counts[0],
        holdout=counts[1],
        treated_mean=float(outcome[is_treated].mean()),
        holdout_mean=float(outcome[~is_treated].mean()),
        estimate=estimate,
        interval=(estimate - half, estimate + half),
        fixed_interval=(estimate - fixed, estimate + fixed),
        p_value=always_valid_p(estimate, variance, tau),
        variance_cut=cut,
        tau=tau,
    )


def always_valid_half(variance: float, tau: float, alpha: float) -> float:
    """Half the width of the always-valid interval (0 where nothing varies)."""
    if variance <= 0:
        return 0.0
    wide = variance + tau**2
    return math.sqrt(2 * variance * wide / tau**2 * (math.log(1 / alpha) + 0.5 * math.log(wide / variance)))


def always_valid_p(estimate: float, variance: float, tau: float) -> float:
    """1 over the mixture likelihood ratio, at most 1; at one look (the smallest of all looks so far is valid too)."""
    if variance <= 0:
        return 0.0 if estimate else 1.0
    wide = variance + tau**2
    log_ratio = 0.5 * math.log(variance / wide) + tau**2 * estimate**2 / (2 * variance * wide)
    return min(1.0, math.exp(-log_ratio)) if log_ratio > -700 else 1.0


def _difference(values: Floats, is_treated: np.ndarray) -> tuple[float, float]:
    one, none = values[is_treated], values[~is_treated]
    variance = one.var(ddof=1) / len(one) + none.var(ddof=1) / len(none)
    return float(one.mean() - none.mean()), float(variance)


def _theta(before: Floats, outcome: Floats, is_treated: np.ndarray) -> float:
    """cov(before, outcome) / var(before), within the arms, so that the effect itself is no part of it; 0 for a constant."""
    above = below = 0.0
    for arm in (is_treated, ~is_treated):
        x = before[arm] - before[arm].mean()
        above += float(x @ (outcome[arm] - outcome[arm].mean()))
        below += float(x @ x)
    return above / below if below > 0 else 0.0
