"""How many customers a test needs: two proportions, and two means.

source: Fleiss, Levin & Paik 2003, ch. 4 (proportions, normal approximation, unequal arms); Chow, Shao & Wang 2008, ch. 3 (means).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from huaxiang.errors import DefinitionError


@dataclass(frozen=True)
class SampleSize:
    """Customers in each arm, for a two-sided test of level `alpha` that finds a true difference `effect` with probability `power`."""

    treated: int
    holdout: int
    effect: float
    alpha: float
    power: float

    @property
    def customers(self) -> int:
        return self.treated + self.holdout


def size_for_shares(
    base: float, effect: float, *, holdout: float = 0.5, alpha: float = 0.05, power: float = 0.8
) -> SampleSize:
    """Customers needed to tell a share of `base` from one of base + effect.

    base: share of the hold-out that does it, 0 to 1; effect: difference of shares; holdout: share of customers held out
    raises: DefinitionError where no such test exists
    """
    _check(holdout=holdout, alpha=alpha, power=power)
    if not (0 < base < 1 and 0 < base + effect < 1 and effect):
        raise DefinitionError("market.size_shares", base=base, effect=effect)
    other = base + effect
    pooled = holdout * base + (1 - holdout) * other
    under_null = pooled * (1 - pooled) / (holdout * (1 - holdout))
    under_effect = base * (1 - base) / holdout + other * (1 - other) / (1 - holdout)
    z_alpha, z_power = _z(1 - alpha / 2), _z(power)
    total = ((z_alpha * math.sqrt(under_null) + z_power * math.sqrt(under_effect)) / effect) ** 2
    return _split(total, holdout, effect, alpha, power)


def size_for_means(
    sd: float, effect: float, *, holdout: float = 0.5, alpha: float = 0.05, power: float = 0.8
) -> SampleSize:
    """Customers needed to tell two means apart that differ by `effect`; sd: of one customer's value, in the same unit.

    raises: DefinitionError where no such test exists
    """
    _check(holdout=holdout, alpha=alpha, power=power)
    if not (sd > 0 and effect):
        raise DefinitionError("market.size_means", sd=sd, effect=effect)
    total = (_z(1 - alpha / 2) + _z(power)) ** 2 * sd**2 / (effect**2 * holdout * (1 - holdout))
    return _split(total, holdout, effect, alpha, power)


def detectable_effect(
    customers: int, sd: float, *, holdout: float = 0.5, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The smallest difference of means that so many customers find with probability `power`."""
    _check(holdout=holdout, alpha=alpha, power=power)
    return (_z(1 - alpha / 2) + _z(power)) * sd / math.sqrt(max(1, customers) * holdout * (1 - holdout))


def _split(total: float, holdout: float, effect: float, alpha: float, power: float) -> SampleSize:
    return SampleSize(math.ceil(total * (1 - holdout)), math.ceil(total * holdout), effect, alpha, power)


def _check(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 < value < 1:
            raise DefinitionError("market.share", name=name, value=value)


def _z(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)
