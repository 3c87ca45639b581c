"""How unlike the others a customer is, without any label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from huaxiang.models.metrics import Floats

FOREST_ROWS = 256
FOREST_TREES = 100


def ecod(values: Floats) -> Floats:
    """(N,) the larger the more unlike: minus the log of how rare each value is by the tails of its column, summed over the columns.

    source: Li et al. 2022 (ECOD), algorithm 1: the left, the right and the skewness-chosen tail, the largest of the three sums.
    A missing value counts as an ordinary one.
    """
    left, right = np.zeros_like(values), np.zeros_like(values)
    skewed = np.zeros(values.shape[1])
    for at, column in enumerate(values.T):
        known = np.flatnonzero(~np.isnan(column))
        if len(known) == 0:
            continue
        found = column[known]
        ordered = np.sort(found)
        left[known, at] = -np.log(np.searchsorted(ordered, found, side="right") / len(found))
        right[known, at] = -np.log((len(found) - np.searchsorted(ordered, found, side="left")) / len(found))
        skewed[at] = np.mean((found - found.mean()) ** 3)
    chosen = np.where(skewed < 0, left, right)
    return np.maximum(np.maximum(left.sum(1), right.sum(1)), chosen.sum(1))


def isolation(values: Floats, *, seed: int) -> Floats:
    """(N,) the larger the more unlike: how few random cuts set a row apart (Liu et al. 2008; scikit-learn). Missing values become medians."""
    from sklearn.ensemble import IsolationForest

    filled = np.where(np.isnan(values), _medians(values), values)
    forest = IsolationForest(n_estimators=FOREST_TREES, max_samples=min(FOREST_ROWS, len(values)), random_state=seed)
    return -np.asarray(forest.fit(filled).score_samples(filled))


def _medians(values: Floats) -> Floats:
    known = ~np.isnan(values)
    return np.array([np.median(column[there]) if there.any() else 0.0 for column, there in zip(values.T, known.T, strict=True)])  # fmt: skip


def share_below(score: Floats) -> Floats:
    """(N,) the share of customers with a lower score, 0 to 1."""
    ordered: NDArray[np.float64] = np.sort(score)
    return np.searchsorted(ordered, score, side="left") / len(score)
