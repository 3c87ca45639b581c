"""When something bought before is bought again: its own timing.

The logarithm of the days between two purchases of one item by one customer is taken as normal around a mean that is shared out between
the customer's own gaps of the item, the item's, and its category's: each level counts as many gaps as it has beside PRIOR gaps of the
level above (empirical Bayes). The spread is one for all. Due is the chance that the next purchase falls within the next HORIZON days,
given how long ago the last was.

source: Bhagat, Muralidharan, Lobzhanidze & Vishwanath 2018 (Buy It Again), whose modified Poisson-Gamma this is simpler than;
differs: log-normal gaps, shrunk over three levels
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import ndtr

from huaxiang.apply.recommend.past import Floats, Ints, Past, Shelf, distinct

PRIOR = 3.0  # gaps of the level above
HORIZON = 14.0  # days
RETURNS = 0.95  # the chance that who bought it on two days will buy it again at all
ONCE = 0.35  # of what was bought once only: the chance that it is ever bought again where the shop does not tell


@dataclass(frozen=True)
class Timing:
    """mean: (V,) of the log gap of each item; spread: its standard deviation; returns: (V,) of those who bought it once, the share who came
    back to it."""

    mean: Floats
    spread: float
    returns: Floats


@dataclass(frozen=True)
class Pairs:
    """Customer and item of each pair that was bought (P,), the day of the last purchase, how many days it was bought on, the sum of the log
    gaps between them, and their squares."""

    user: Ints
    item: Ints
    last: Ints
    times: Ints
    gaps: Floats
    squares: Floats


def pairs_of(bought: Past, items: int) -> Pairs:
    """Purchases of one item on one day count once."""
    first = int(bought.day.min(initial=0))
    span = int(bought.day.max(initial=0)) - first + 1
    key, day = np.divmod(distinct((bought.user * items + bought.item) * span + bought.day - first), span)
    same = key[1:] == key[:-1]
    gap = np.zeros(len(key))
    gap[1:][same] = np.log((day[1:] - day[:-1])[same])
    start = np.flatnonzero(np.concatenate([np.ones(min(len(key), 1), bool), ~same]))
    times = np.diff(np.append(start, len(key)))
    place = np.repeat(np.arange(len(start)), times)
    sums, squares = (np.bincount(place, values, minlength=len(start)).astype(np.float64) for values in (gap, gap**2))
    pair = key[start]
    return Pairs(pair // items, pair % items, day[start + times - 1] + first, times, sums, squares)


def fit_timing(bought: Past, shelf: Shelf, day: int) -> Timing:
    """Learns from the gaps between purchases."""
    items = len(shelf)
    pairs = pairs_of(bought, items)
    count = pairs.times - 1.0
    total = float(count.sum())
    general = float(pairs.gaps.sum() / total) if total else np.log(30.0)
    category = np.where(shelf.category >= 0, shelf.category, int(shelf.category.max(initial=-1)) + 1)
    sums, counts = (np.bincount(pairs.item, values, minlength=items) for values in (pairs.gaps, count))
    above = _shrunk(np.bincount(category, sums), np.bincount(category, counts), general)[category]
    mean = _shrunk(sums, counts, above)
    own = _shrunk(pairs.gaps, count, mean[pairs.item])
    left = pairs.squares - 2 * own * pairs.gaps + count * own**2
    spread = float(np.sqrt(max(left.sum() / total, 0.05))) if total > 10 else 1.0
    buyers = np.bincount(pairs.item, minlength=items)
    back = np.bincount(pairs.item, pairs.times > 1, minlength=items)
    share = float(back.sum() / buyers.sum()) if buyers.sum() else ONCE
    return Timing(mean, spread, (back + PRIOR * share) / (buyers + PRIOR))


def due(timing: Timing, bought: Past, shelf: Shelf, day: int, *, horizon: float = HORIZON) -> csr_matrix:
    """(U, V) the chance of each item bought before to be bought again within `horizon` days after `day`."""
    return due_of(timing, pairs_of(bought, len(shelf)), (len(bought.users), len(shelf)), day, horizon=horizon)


def due_of(timing: Timing, pairs: Pairs, shape: tuple[int, int], day: int, *, horizon: float = HORIZON) -> csr_matrix:
    """As `due`, of pairs."""
    mean = _shrunk(pairs.gaps, pairs.times - 1.0, timing.mean[pairs.item])
    since = np.maximum(day - pairs.last, 1).astype(float)
    already = ndtr((np.log(since) - mean) / timing.spread)
    by_then = ndtr((np.log(since + horizon) - mean) / timing.spread)
    returns = np.where(pairs.times > 1, RETURNS, timing.returns[pairs.item])
    # Of those who would return, 1 − already have not yet; whoever is still waiting may also be one who never will.
    chance = returns * (by_then - already) / (returns * (1 - already) + 1 - returns)
    found = csr_matrix((chance, (pairs.user, pairs.item)), shape=shape)
    found.eliminate_zeros()
    return found


def _shrunk(sums: Any, counts: Any, above: Any) -> Floats:
    """The mean of the values, drawn towards that of the level above by PRIOR of its values."""
    return np.asarray((sums + PRIOR * above) / (counts + PRIOR))
