"""What the lines of a basket say of its risk: what was bought, at what price, how many, and how such baskets turned out before.

Letters: B baskets, L lines. Labels are used only through `encode`, which is told whose labels it may see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix

Ints = NDArray[np.int64]
SMOOTH = (
    10.0  # baskets of the mean rate that every value starts with; 3 was no better on the first fold's training rows
)
INNER = 10  # folds within the training rows


@dataclass(frozen=True)
class Lines:
    """The lines of B baskets, sorted by basket, within one the dearest first.

    basket: (L,) 0 … B−1, each at least once; spend: (L,) price × quantity
    codes: name -> (L,) 0 … , equal where the values are (item, make, goods code …)
    baskets: name -> (B,) the same of whole baskets (the set of goods in it …)
    """

    count: int
    basket: Ints
    price: Floats
    quantity: Floats
    codes: Mapping[str, Ints]
    baskets: Mapping[str, Ints]

    @property
    def spend(self) -> Floats:
        return self.price * self.quantity

    @property
    def firsts(self) -> Ints:
        """(B,) the place of each basket's dearest line."""
        return np.searchsorted(self.basket, np.arange(self.count))


def read_lines(
    basket: Ints, price: Floats, quantity: Floats, values: Mapping[str, NDArray[np.str_]], *, sets: tuple[str, ...]
) -> Lines:
    """`Lines` from columns in any order. values: name -> (L,) texts; sets: names whose set in a basket is a value of it too."""
    count = int(basket.max()) + 1
    order = np.lexsort((-(price * quantity), basket))
    basket, price, quantity = basket[order], price[order], quantity[order]
    codes = {name: code(column[order]) for name, column in values.items()}
    return Lines(count, basket, price, quantity, codes, {name: _set_codes(basket, codes[name], count) for name in sets})


def code(values: NDArray[np.str_]) -> Ints:
    """(L,) 0 …, equal where `values` are."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _set_codes(basket: Ints, codes: Ints, count: int) -> Ints:
    """(B,) equal where two baskets hold the same values, each as often."""
    order = np.lexsort((codes, basket))
    parts = np.split(codes[order], np.searchsorted(basket[order], np.arange(1, count)))
    return np.unique(np.array(["|".join(map(str, part)) for part in parts]), return_inverse=True)[1].astype(np.int64)


def total(lines: Lines) -> Matrix:
    """What a basket is without its lines: (B, 3) money, lines, pieces."""
    return Matrix(("money", "lines", "pieces"), np.column_stack([
        _sum(lines, lines.spend), _sum(lines, np.ones(len(lines.basket))), _sum(lines, lines.quantity),
    ]))  # fmt: skip


def describe(lines: Lines, train: Ints) -> Matrix:
    """Features of the lines without labels. train: baskets from which usual prices and frequencies are learned."""
    inside = np.zeros(lines.count, dtype=bool)
    inside[train] = True
    known, first = inside[lines.basket], lines.firsts
    sums = total(lines).values
    made = {
        "dearest": lines.price[first],
        "cheapest": np.minimum.reduceat(lines.price, first),
        "dearest_share": lines.spend[first] / np.maximum(sums[:, 0], 1.0),
        "most_of_one": np.maximum.reduceat(lines.quantity, first),
        "mean_price": sums[:, 0] / sums[:, 2],
    }
    for name, codes in lines.codes.items():
        often = np.bincount(codes[known], minlength=codes.max() + 1)
        paid = np.bincount(codes[known], weights=lines.price[known], minlength=codes.max() + 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            usual = np.where(often > 0, paid / np.maximum(often, 1), np.nan)[codes]
            level = np.where(usual > 0, lines.price / usual, np.nan)  # 1: the usual price of this value
        rare = np.log1p(often)[codes]
        made |= {
            f"kinds_{name}": _distinct(lines, codes),
            f"rarest_{name}": np.minimum.reduceat(rare, first),
            f"often_{name}": rare[first],
            f"level_{name}": level[first],
            f"lowest_level_{name}": np.fmin.reduceat(level, first),
        }
    return Matrix((*total(lines).columns, *made), np.column_stack([sums, *made.values()]))


def encode(lines: Lines, y: Floats, train: Ints, rows: Ints) -> Matrix:
    """How baskets of `train` with the same values turned out, for the baskets `rows`: log-odds of the smoothed rate of each value,
    its largest and mean over the lines and the dearest line's.

    source: Micci-Barreca 2001 (target encoding), with a fixed prior weight
    """
    inside = np.zeros(lines.count, dtype=bool)
    inside[train] = True
    prior, first, made = float(y[train].mean()), lines.firsts, {}
    held = np.bincount(lines.basket, minlength=lines.count)
    for name, codes in lines.codes.items():
        odds = _log_odds(codes, inside[lines.basket], y[lines.basket], prior)
        made[f"risk_{name}"] = np.maximum.reduceat(odds, first)
        made[f"mean_risk_{name}"] = np.bincount(lines.basket, weights=odds, minlength=lines.count) / held
        made[f"first_risk_{name}"] = odds[first]
    for name, codes in lines.baskets.items():
        made[f"risk_set_{name}"] = _log_odds(codes, inside, y, prior)
    return Matrix(tuple(made), np.column_stack(list(made.values()))[rows])


def encode_within(lines: Lines, y: Floats, train: Ints, *, seed: int) -> Matrix:
    """`encode` of the training baskets themselves, each by the other folds of them: a basket never sees its own label."""
    fold = np.random.default_rng(seed).permutation(len(train)) % INNER
    parts = [encode(lines, y, train[fold != k], train[fold == k]) for k in range(INNER)]
    values = np.empty((len(train), len(parts[0].columns)))
    for k, part in enumerate(parts):
        values[fold == k] = part.values
    return Matrix(parts[0].columns, values)


def beside(left: Matrix, right: Matrix) -> Matrix:
    return Matrix((*left.columns, *right.columns), np.hstack([left.values, right.values]))


def _log_odds(codes: Ints, known: NDArray[np.bool_], y: Floats, prior: float) -> Floats:
    size = codes.max() + 1
    seen = np.bincount(codes[known], minlength=size)
    bad = np.bincount(codes[known], weights=y[known], minlength=size)
    rate = (bad + SMOOTH * prior) / (seen + SMOOTH)
    return np.log(rate / (1 - rate))[codes]


def _sum(lines: Lines, values: Floats) -> Floats:
    return np.bincount(lines.basket, weights=values, minlength=lines.count).astype(np.float64)


def _distinct(lines: Lines, codes: Ints) -> Floats:
    pairs = np.unique(np.stack([lines.basket, codes]), axis=1)
    return np.bincount(pairs[0], minlength=lines.count).astype(np.float64)
