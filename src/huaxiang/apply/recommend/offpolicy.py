"""What another list would have earned, from a log of what was shown, with which chance, and what came of it.

Of each logged impression i: r the reward, p the chance with which it was shown, q the chance with which the other policy would show it there,
and where a model of rewards is at hand, m̂ᵢ what it expects of what was shown and v̂ᵢ what it expects under the other policy.

    ips     mean of (q / p) · r                                 unbiased, wide
    snips   Σ (q / p) · r ÷ Σ (q / p)                           slightly biased, narrower
    dr      mean of v̂ + (q / p) · (r − m̂)                       right if either the chances or the model are

Weights beyond `cap` are cut, and the share of impressions cut is told; so is the effective number of impressions, (Σw)² ÷ Σw². Intervals are of the
bootstrap over `group` (customers), since what is shown to one customer hangs together.
source: Horvitz & Thompson 1952; Swaminathan & Joachims 2015 (self-normalised); Dudík, Langford & Li 2011 (doubly robust)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from huaxiang.errors import ModelError

Floats = NDArray[np.float64]
RESAMPLES = 1_000
LEAST = 30  # effective impressions below which nothing is claimed


@dataclass(frozen=True)
class Estimate:
    """Reward an impression, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OffPolicy:
    """logged: what the log itself earned; estimates: by name; effective: impressions that the estimate rests on; cut: share of weights that
    were capped; enough: whether `effective` reaches LEAST."""

    impressions: int
    logged: Estimate
    estimates: dict[str, Estimate]
    effective: float
    cut: float
    enough: bool


def estimate_policy(
    reward: Floats,
    shown: Floats,
    wanted: Floats,
    *,
    seed: int,
    group: NDArray[np.int64] | None = None,
    expected_shown: Floats | None = None,
    expected_wanted: Floats | None = None,
    cap: float = 50.0,
) -> OffPolicy:
    """What the policy of `wanted` would have earned an impression.

    reward, shown, wanted: (N,) r, p, q; group: (N,) customers; expected_shown, expected_wanted: (N,) m̂, v̂, for `dr`
    raises: ModelError where a chance is not in (0, 1] (of `shown`) or [0, 1] (of `wanted`), or there is no impression
    """
    reward, shown, wanted = (np.asarray(one, dtype=np.float64) for one in (reward, shown, wanted))
    if not len(reward):
        raise ModelError("recommend.no_log")
    if (
        not ((shown > 0) & (shown <= 1)).all()
        or not ((wanted >= 0) & (wanted <= 1)).all()
        or not np.isfinite(reward).all()
    ):
        raise ModelError(
            "recommend.bad_log",
            rows=int((~((shown > 0) & (shown <= 1) & (wanted >= 0) & (wanted <= 1) & np.isfinite(reward))).sum()),
        )
    raw = wanted / shown
    weight = np.minimum(raw, cap)
    parts = {"ips": (weight * reward, np.ones(len(reward))), "snips": (weight * reward, weight)}
    if expected_shown is not None and expected_wanted is not None:
        parts["dr"] = (
            np.asarray(expected_wanted) + weight * (reward - np.asarray(expected_shown)),
            np.ones(len(reward)),
        )
    _, place = np.unique(np.arange(len(reward)) if group is None else group, return_inverse=True)
    effective = float(weight.sum() ** 2 / max(float((weight**2).sum()), 1e-300))
    return OffPolicy(
        len(reward),
        _estimate(reward, np.ones(len(reward)), place, seed),
        {name: _estimate(*part, place, seed) for name, part in parts.items()},
        effective,
        float((raw > cap).mean()),
        effective >= LEAST,
    )


def _estimate(top: Floats, below: Floats, place: NDArray[np.int64], seed: int) -> Estimate:
    """Σ top ÷ Σ below, and its interval from customers drawn anew (Poisson weights)."""
    tops, belows = np.bincount(place, top), np.bincount(place, below)
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        times = random.poisson(1.0, len(tops))
        under = float(times @ belows)
        if under > 0:
            drawn.append(float(times @ tops) / under)
    whole = float(belows.sum())
    value = float(tops.sum()) / whole if whole > 0 else 0.0
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (value, value)
    return Estimate(value, float(low), float(high))
