"""What one's neighbours look like: of every signal the mean and the largest among the customers one shares keys with, and how many they are.

No parameters are learned; gradient boosting over these columns is the strong baseline of graph fraud benchmarks.
source: Tang et al. 2023 (GADBench), tree ensembles with neighbour aggregation; differs: over shared keys, one step.
"""

from __future__ import annotations

import numpy as np

from huaxiang.apply.guard.ties import Ties
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix


def aggregate(ties: Ties, values: Floats, names: tuple[str, ...]) -> Matrix:
    """(U, 2F + 2) near_mean_*, near_max_* of the others (NaN: no neighbour), `near_count` (ties to others, several to one counted each)
    and `near_keys`. values: (U, F), NaN is left out."""
    users, keys = ties.users, ties.keys
    others = np.bincount(ties.user, weights=(ties.holders - 1)[ties.key], minlength=users)
    made = [others, np.bincount(ties.user, minlength=users).astype(np.float64)]
    for column in values.T:
        made += _of_column(ties, column, users, keys)
    titles = ["near_count", "near_keys"] + [f"near_{what}_{name}" for name in names for what in ("mean", "max")]
    return Matrix(tuple(titles), np.column_stack(made))


def _of_column(ties: Ties, column: Floats, users: int, keys: int) -> list[Floats]:
    mine = column[ties.user]
    known = ~np.isnan(mine)
    filled = np.where(known, mine, 0.0)
    total, count = (np.bincount(ties.key, weights=w, minlength=keys) for w in (filled, known.astype(np.float64)))
    near_total = np.bincount(ties.user, weights=total[ties.key] - filled, minlength=users)
    near_count = np.bincount(ties.user, weights=count[ties.key] - known, minlength=users)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(near_count > 0, near_total / np.maximum(near_count, 1), np.nan)
    # The largest of a key and the largest of all but one who has it: a customer is no neighbour of its own.
    low = np.where(known, mine, -np.inf)
    first = np.full(keys, -np.inf)
    np.maximum.at(first, ties.key, low)
    top = low == first[ties.key]
    second, tops = np.full(keys, -np.inf), np.bincount(ties.key, weights=top, minlength=keys)
    np.maximum.at(second, ties.key[~top], low[~top])
    seen = np.where(top & (tops[ties.key] < 2), second[ties.key], first[ties.key])
    largest = np.full(users, -np.inf)
    np.maximum.at(largest, ties.user, seen)
    return [mean, np.where(np.isfinite(largest), largest, np.nan)]
