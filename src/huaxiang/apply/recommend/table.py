"""The candidates of all sources as one table: a row a customer and item, and what the ranker reads of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from huaxiang.apply.recommend.again import pairs_of
from huaxiang.apply.recommend.past import Floats, Ints, Past, Shelf
from huaxiang.apply.recommend.sources import KEEP, Learned, taste_of

MEASURES = (
    "bought_days", "bought_ago", "looked_ago", "taste", "item_popularity", "price_ratio", "price", "user_events", "user_items", "user_ago",
)  # fmt: skip
NEVER = 9_999.0  # days


@dataclass(frozen=True)
class Candidates:
    """(N,) user and item of each candidate, by user and item; values: (N, F), the columns of `columns`."""

    user: Ints
    item: Ints
    values: Floats
    columns: tuple[str, ...]
    users: int

    @property
    def sizes(self) -> Ints:
        """(U,) candidates of each customer."""
        return np.bincount(self.user, minlength=self.users).astype(np.int64)

    @property
    def sources(self) -> list[str]:
        return [name.removesuffix("_rank") for name in self.columns if name.endswith("_rank")]

    def alone(self, source: str) -> Floats:
        """(N,) the score of a list that is one source's own; −inf for what it does not name."""
        rank = self.values[:, self.columns.index(f"{source}_rank")]
        return np.where(rank <= KEEP, -rank, -np.inf)

    def rows(self, kept: np.ndarray) -> Candidates:
        return Candidates(self.user[kept], self.item[kept], self.values[kept], self.columns, self.users)


def columns_of(sources: Iterable[str]) -> tuple[str, ...]:
    return tuple(column for name in sources for column in (f"{name}_score", f"{name}_rank")) + MEASURES


def table_of(scores: Mapping[str, csr_matrix], learned: Learned, past: Past, shelf: Shelf) -> Candidates:
    """Of every item that a source names for a customer: each source's score and rank (0 and KEEP + 1 where it does not name it), and
    measures of the customer with the item, of the item and of the customer at `learned.day`."""
    items, users = len(shelf), len(past.users)
    pair = np.unique(np.concatenate([_keys(one, items) for one in scores.values()] or [np.zeros(0, np.int64)]))
    user, item = pair // items, pair % items
    made: list[Floats] = []
    for one in scores.values():
        score, rank = np.zeros(len(pair)), np.full(len(pair), KEEP + 1.0)
        at = np.searchsorted(pair, _keys(one, items))
        score[at] = one.data
        rank[at] = _ranks(one)
        made += [score, rank]
    seen, day = past.before(learned.day), learned.day
    bought = seen.purchases()
    held = pairs_of(bought, items)
    known = held.user * items + held.item
    times, since = _looked_up(pair, known, held.times, 0.0), day - _looked_up(pair, known, held.last, day - NEVER)
    looked = seen.user * items + seen.item
    last, at = np.unique(looked[::-1], return_index=True)
    looked_ago = day - _looked_up(pair, last, seen.day[::-1][at], day - NEVER)
    taste = taste_of(seen, shelf, day)
    category = shelf.category[item]
    liked = (
        np.where(category >= 0, np.asarray(taste[user, np.maximum(category, 0)]).ravel(), 0.0)
        if len(pair)
        else np.zeros(0)
    )
    events = np.bincount(seen.user, minlength=users).astype(float)
    latest = np.full(users, day - NEVER)
    np.maximum.at(latest, seen.user, seen.day.astype(float))
    price = shelf.price[item]
    usual = _usual_price(seen, shelf)[user]
    own_items = np.bincount(np.unique(looked) // items, minlength=users).astype(float)
    made += [
        times, since, looked_ago, liked, np.log1p(learned.popular[item]), price / usual, price, events[user], own_items[user], day - latest[user],
    ]  # fmt: skip
    values = np.column_stack(made) if made else np.zeros((0, 0))
    return Candidates(user, item, values, columns_of(scores), users)


def _usual_price(seen: Past, shelf: Shelf) -> Floats:
    """(U,) the mean price of what a customer took; NaN where none is known."""
    price = shelf.price[seen.item]
    known = np.isfinite(price) & (price > 0)
    total = np.bincount(seen.user[known], price[known], minlength=len(seen.users))
    count = np.bincount(seen.user[known], minlength=len(seen.users))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _keys(scores: csr_matrix, items: int) -> Ints:
    row = np.repeat(np.arange(scores.shape[0], dtype=np.int64), np.diff(scores.indptr))
    return row * items + scores.indices


def _ranks(scores: csr_matrix) -> Floats:
    """(nnz,) the place of each value among its row's, 1 for the greatest."""
    row = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    order = np.lexsort((scores.indices, -scores.data, row))
    rank = np.empty(len(order))
    rank[order] = np.arange(len(order)) - scores.indptr[row[order]] + 1
    return rank


def _looked_up(wanted: Ints, known: Ints, values: np.ndarray, otherwise: float) -> Floats:
    """The value of each wanted key among `known` (ascending)."""
    if not len(known):
        return np.full(len(wanted), otherwise)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, values[at].astype(float), otherwise)
