"""Shapley values of a model that only answers: how far each column moved a score from that of a reference customer.

Letters: N rows, F columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from huaxiang.models.metrics import Floats

EVALUATIONS = 256  # of the model for a row, or 2 F where that is more: two orders of the columns at least
MOST_ORDERS = 16


def sample_effects(
    raw: Callable[[Floats, NDArray[np.int64]], Floats], values: Floats, reference: Floats, *, seed: int
) -> Floats:
    """(N, F) mean change of the raw score when a column takes the row's value instead of the reference's, one column after another.

    The changes of one order add up to raw(row) − raw(reference), so their mean does too. A column that equals the reference
    has no effect and costs no evaluation.
    raw: scores (M, F) values of the rows whose numbers (M,) are given
    source: Castro, Gómez, Tejada 2009 (sampled orders); Mitchell et al. 2022 (each order with its reverse: antithetic)
    """
    rows, width = values.shape
    effects = np.zeros((rows, width))
    start = raw(np.tile(reference, (rows, 1)), np.arange(rows))
    orders = list(_orders(width, seed))
    for order in orders:
        now, reached = np.tile(reference, (rows, 1)), start.copy()
        for column in order:
            wanted, held = values[:, column], now[:, column]
            moved = np.flatnonzero((wanted != held) & ~(np.isnan(wanted) & np.isnan(held)))
            if not len(moved):
                continue
            now[moved, column] = wanted[moved]
            score = raw(now[moved], moved)
            effects[moved, column] += score - reached[moved]
            reached[moved] = score
    return effects / max(1, len(orders))


def count_orders(width: int) -> int:
    """Orders of `width` columns that are walked: an even number."""
    return int(np.clip(2 * (EVALUATIONS // (2 * max(1, width))), 2, MOST_ORDERS))


def _orders(width: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Random orders of the columns, each followed by its reverse."""
    chance = np.random.default_rng(seed)
    for _ in range(count_orders(width) // 2):
        order = chance.permutation(width)
        yield order
        yield order[::-1]
