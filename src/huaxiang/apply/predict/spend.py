"""Gamma-Gamma: what a customer pays a buy, drawn from their own mean towards everybody's, the less they bought the more.

source: Fader & Hardie 2013, "The Gamma-Gamma model of monetary value"; eq. 1a and 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from huaxiang.errors import ModelError
from huaxiang.models.metrics import Floats

NEED_PAYING = 20
BOUND = 12.0


@dataclass(frozen=True)
class GammaGamma:
    """`p`, `q`, `v` of the paper. mean: of the population, where it exists (q > 1)."""

    p: float
    q: float
    v: float

    def expect(self, count: Floats, mean: Floats) -> Floats:
        """(N,) money a buy expected of customers with `count` buys of `mean` money each; who paid nothing yet counts as unknown."""
        n = np.where(mean > 0, count, 0.0)
        return self.p * (self.v + n * np.where(n > 0, mean, 0.0)) / np.maximum(self.p * n + self.q - 1, 1e-9)


def fit_spend(count: Floats, mean: Floats) -> GammaGamma:
    """The parameters of greatest likelihood for customers with `count` ≥ 1 buys of `mean` money; those who paid nothing are left out.

    raises: ModelError where too few paid anything
    """
    from scipy.optimize import minimize

    used = (count > 0) & (mean > 0)
    if int(used.sum()) < NEED_PAYING:
        raise ModelError("predict.few_paying", paying=int(used.sum()), need=NEED_PAYING)
    scale = float(mean[used].mean())  # money in its own mean: shops of any currency start alike
    rows = np.column_stack([count[used], mean[used] / scale])
    start = np.log([6.0, 4.0, 0.5])
    # q is held above 1, so that the population has a mean
    found = minimize(_loss, start, args=(rows[:, 0], rows[:, 1]), jac=True, method="L-BFGS-B", bounds=[(-6, BOUND), (0.01, BOUND), (-BOUND, BOUND)])  # fmt: skip
    if not np.isfinite(found.fun):
        raise ModelError("predict.no_fit", model="Gamma-Gamma")
    p, q, v = np.exp(found.x)
    return GammaGamma(float(p), float(q), float(v * scale))


def _loss(at: Floats, x: Floats, mean: Floats) -> tuple[float, Floats]:
    """Mean negative log-likelihood and its gradient by the logarithms of p, q, v."""
    from scipy.special import digamma, gammaln

    p, q, v = np.exp(at)
    total = np.log(v + x * mean)
    log = gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(v)
    log += (p * x - 1) * np.log(mean) + p * x * np.log(x) - (p * x + q) * total
    by_p = x * (digamma(p * x + q) - digamma(p * x) + np.log(mean) + np.log(x) - total)
    by_q = digamma(p * x + q) - digamma(q) + np.log(v) - total
    by_v = q / v - (p * x + q) / (v + x * mean)
    return float(-log.mean()), -np.array([by_p.mean() * p, by_q.mean() * q, by_v.mean() * v])
