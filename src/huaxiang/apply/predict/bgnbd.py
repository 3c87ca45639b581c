"""BG/NBD: customers buy at a steady rate of their own until, after some purchase, they are gone for good.

source: Fader, Hardie & Lee 2005, "Counting your customers" the easy way; differs: the conditional expectation uses Euler's
transformation of the hypergeometric function, so that customers with hundreds of purchases do not overflow it.
Letters: x repeat buys, t_x age at the last, T age now; rates are gamma (r, α), the chance to leave after a buy beta (a, b).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from huaxiang.apply.predict.buys import Summary
from huaxiang.errors import ModelError
from huaxiang.models.metrics import Floats

NEED_CUSTOMERS = 20  # below, four parameters are a guess
NEED_REPEAT = 5
WEEK = 7.0  # days: time is counted in weeks while fitting, which brings all four parameters near 1
# Of the logarithms of r, α, a, b. Above 400 a and b say no more than their ratio does, and powers of them leave the numbers' range.
BOUNDS = ((-12.0, 12.0), (-12.0, 12.0), (-12.0, 6.0), (-12.0, 6.0))


@dataclass(frozen=True)
class BgNbd:
    """The four parameters; α in weeks. log_likelihood: of the customers it was fitted on, their sum."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float = float("nan")

    def expect(self, known: Summary, days: float | Floats) -> Floats:
        """(N,) buys expected in the `days` to come; eq. 10."""
        t = np.asarray(days) / WEEK
        x, age = known.frequency, known.age / WEEK
        a = self.a if abs(self.a - 1) > 1e-6 else 1 + 1e-6  # the formula has a removable gap at 1
        left = (self.alpha + age) / (self.alpha + age + t)
        made = (a + self.b + x - 1) / (a - 1) * (1 - _stay(self.r, a, self.b, x, left)) * self.alive(known)
        return np.maximum(made, 0.0)

    def alive(self, known: Summary) -> Floats:
        """(N,) chance that the customer is not gone; 1 for those who bought once, as the model has it."""
        x, recency, age = known.frequency, known.recency / WEEK, known.age / WEEK
        gone = np.log(self.a) - np.log(np.where(x > 0, self.b + x - 1, 1.0)) if self.a > 0 else np.full(len(x), -np.inf)
        log = gone + (self.r + x) * (np.log(self.alpha + age) - np.log(self.alpha + recency))
        return np.where(x > 0, 1 / (1 + np.exp(np.clip(log, -500, 500))), 1.0)

    def bought_by(self, known: Summary, days: float | Floats) -> Floats:
        """(N,) chance that the next buy comes within `days`: gone customers never buy, the others at a gamma rate."""
        t, age = np.asarray(days) / WEEK, known.age / WEEK
        waits = ((self.alpha + age) / (self.alpha + age + t)) ** (self.r + known.frequency)
        return self.alive(known) * (1 - waits)

    def next_after(self, known: Summary, level: Floats) -> Floats:
        """(N,) days by which the next buy has come with chance `level` (N,); infinite where the customer is gone too surely."""
        share = level / self.alive(known)
        with np.errstate(divide="ignore", over="ignore"):
            stretch = np.where(share < 1, (1 - np.minimum(share, 1.0)) ** (-1 / (self.r + known.frequency)), np.inf)
        return (self.alpha + known.age / WEEK) * (stretch - 1) * WEEK


def _stay(r: float, a: float, b: float, x: Floats, left: Floats) -> Floats:
    """left^(r+x) · ₂F₁(r+x, b+x; a+b+x−1; 1−left), in the form that stays within the numbers' range (tried against 60 digits)."""
    from scipy.special import hyp2f1

    with np.errstate(all="ignore"):
        found = left ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, 1 - left)
        odd = ~np.isfinite(found)  # a large, and a first buy today: the plain form holds there
        if odd.any():
            plain = left ** (r + x) * hyp2f1(r + x, b + x, a + b + x - 1, 1 - left)
            found = np.where(odd, np.where(np.isfinite(plain), plain, 0.0), found)
    return found


def fit_bgnbd(known: Summary) -> BgNbd:
    """The parameters of greatest likelihood; seconds for millions, since equal customers are counted once.

    raises: ModelError where too few customers, or too few who came again, are there
    """
    from scipy.optimize import minimize

    repeat = int((known.frequency > 0).sum())
    if len(known) < NEED_CUSTOMERS or repeat < NEED_REPEAT:
        raise ModelError(
            "predict.few_buyers", customers=len(known), repeat=repeat, need=NEED_CUSTOMERS, need_repeat=NEED_REPEAT
        )
    rows = np.column_stack([known.frequency, known.recency / WEEK, known.age / WEEK])
    (x, recency, age), count = (made := np.unique(rows, axis=0, return_counts=True))[0].T, made[1].astype(float)
    found = minimize(_loss, np.zeros(4), args=(x, recency, age, count), jac=True, method="L-BFGS-B", bounds=BOUNDS)
    if not np.isfinite(found.fun):
        raise ModelError("predict.no_fit", model="BG/NBD")
    r, alpha, a, b = map(float, np.exp(found.x))
    return BgNbd(r, alpha, a, b, log_likelihood=float(-found.fun * count.sum()))


def _loss(at: Floats, x: Floats, recency: Floats, age: Floats, count: Floats) -> tuple[float, Floats]:
    """Mean negative log-likelihood and its gradient by the logarithms of r, α, a, b; eq. 6 in logarithms."""
    from scipy.special import digamma, gammaln

    r, alpha, a, b = np.exp(at)
    below = np.where(x > 0, b + x - 1, 1.0)
    stays = -(r + x) * np.log(alpha + age)
    leaves = np.where(x > 0, np.log(a) - np.log(below) - (r + x) * np.log(alpha + recency), -np.inf)
    either = np.logaddexp(stays, leaves)
    log = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + either
    log += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    gone = np.exp(leaves - either)  # the share of the likelihood that comes from having left
    by_r = (
        digamma(r + x) - digamma(r) + np.log(alpha) - (1 - gone) * np.log(alpha + age) - gone * np.log(alpha + recency)
    )
    by_alpha = r / alpha - (r + x) * ((1 - gone) / (alpha + age) + gone / (alpha + recency))
    by_a = digamma(a + b) - digamma(a + b + x) + gone / a
    by_b = digamma(a + b) + digamma(b + x) - digamma(b) - digamma(a + b + x) - gone / below
    slope = np.array([count @ by_r * r, count @ by_alpha * alpha, count @ by_a * a, count @ by_b * b])
    return float(-(count @ log) / count.sum()), -slope / count.sum()
