"""The candidates of all sources as one table: a row a customer and item, and what the ranker reads of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from huaxiang.apply.recommend.known import CHOSEN, PROFILE
from huaxiang.apply.recommend.past import Floats, Ints, Past, Shelf, distinct
from huaxiang.apply.recommend.sources import KEEP, Learned, Met, meet

MEASURES = (
    "bought_days", "bought_ago", "looked_ago", "taste", "item_popularity", "price_ratio", "price", "user_events", "user_items", "user_ago",
)  # fmt: skip
CONTRASTS = ("price_gap", "top_category", "brand_taste")  # of the item with the customer's price, category and brand
NEVER = 9_999.0  # days


@dataclass(frozen=True)
class Candidates:
    """(N,) user and item of each candidate, by user and item; values: (N, F), the columns of `columns`, each in one piece."""

    user: Ints
    item: Ints
    values: NDArray[np.floating[Any]]
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
        if kept.dtype == bool and kept.all():
            return self
        return Candidates(self.user[kept], self.item[kept], self.values.T[:, kept].T, self.columns, self.users)


def columns_of(sources: Iterable[str], *, profile: bool) -> tuple[str, ...]:
    """profile: whether the shop has features of its customers"""
    said = tuple(column for name in sources for column in (f"{name}_score", f"{name}_rank"))
    known = tuple(f"{PROFILE}_{name}" for name in (*CHOSEN, *CONTRASTS))
    return said + MEASURES + (known if profile else ())


def table_of(
    scores: Mapping[str, csr_matrix],
    learned: Learned,
    past: Past,
    shelf: Shelf,
    *,
    met: Met | None = None,
    only: Ints | None = None,
) -> Candidates:
    """Of every item that a source names for a customer: each source's score and rank (0 and KEEP + 1 where it does not name it), and
    measures of the customer with the item, of the item and of the customer at `learned.day`.

    met: what the customers met before that day, if at hand; only: keys user × V + item (ascending) beside which no candidate is asked about
    """
    items, users = len(shelf), len(past.users)
    for one in scores.values():
        one.sort_indices()
    keys = {name: _keys(one, items) for name, one in scores.items()}
    pair = distinct(np.concatenate([*keys.values(), np.zeros(0, np.int64)]))
    if only is not None:
        pair = only[np.isin(only, pair)]
    columns = columns_of(scores, profile=bool(past.profile.size))
    values = np.empty((len(columns), len(pair)), np.float32)
    for place, (name, one) in enumerate(scores.items()):
        values[2 * place] = _looked_up(pair, keys[name], one.data, 0.0)
        values[2 * place + 1] = _looked_up(pair, keys[name], _ranks(one), KEEP + 1.0)
    user, item = pair // items, pair % items
    measured = _measures(met or meet(past, shelf, learned.day), learned, shelf, pair)
    for place, measure in enumerate(measured, 2 * len(scores)):
        values[place] = measure
    return Candidates(user, item, values.T, columns, users)


def _measures(met: Met, learned: Learned, shelf: Shelf, pair: Ints) -> Iterator[np.ndarray]:
    """(N,) each of MEASURES of the customer with the item of each `pair`."""
    seen, day, items, users = met.seen, learned.day, len(shelf), len(met.seen.users)
    user, item = pair // items, pair % items
    known = met.pairs.user * items + met.pairs.item
    yield _looked_up(pair, known, met.pairs.times, 0.0)
    yield day - _looked_up(pair, known, met.pairs.last, day - NEVER)
    looked = seen.user * items + seen.item
    order = np.argsort(looked, kind="stable")  # of one customer and item by time: the last stays
    latest = order[np.append(np.diff(looked[order]) != 0, True)] if len(order) else order
    yield day - _looked_up(pair, looked[latest], seen.day[latest], day - NEVER)
    codes, kinds = shelf.category[item], met.taste.shape[1]
    liked = np.where(codes >= 0, _looked_up(user * kinds + codes, _keys(met.taste, kinds), met.taste.data, 0.0), 0.0)
    yield liked
    yield np.log1p(learned.popular)[item] if len(item) > items else np.log1p(learned.popular[item])
    price = shelf.price[item]
    yield price / _usual_price(seen, shelf)[user]
    yield price
    events = np.bincount(seen.user, minlength=users)
    yield events[user]
    yield np.bincount(seen.user[latest], minlength=users)[user]
    last = np.full(users, NEVER)
    last[events > 0] = day - seen.day[np.cumsum(events)[events > 0] - 1]
    yield last[user]
    if seen.profile.size:
        yield from _profiled(met, shelf, user, item, liked)


def _profiled(met: Met, shelf: Shelf, user: Ints, item: Ints, liked: Floats) -> Iterator[np.ndarray]:
    """(N,) each of CHOSEN and of CONTRASTS. liked: (N,) the share of the customer's attention that the item's category has"""
    profile = np.ascontiguousarray(met.seen.profile.T)
    for column in profile:
        yield column[user]
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.log(shelf.price[item] / profile[CHOSEN.index("price_mean_90d")][user])
    yield np.where(np.isfinite(gap), gap, np.nan)
    top = np.zeros(len(met.seen.users))
    np.maximum.at(top, np.repeat(np.arange(len(top)), np.diff(met.taste.indptr)), met.taste.data)
    yield (liked > 0) & (liked >= top[user])
    brand, kinds = shelf.brand[item], met.brands.shape[1]
    share = _looked_up(user * kinds + brand, _keys(met.brands, kinds), met.brands.data, 0.0)
    yield np.where(brand >= 0, share, 0.0)


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


def _ranks(scores: csr_matrix) -> Ints:
    """(nnz,) the place of each value among its row's, 1 for the greatest; of equal ones the further left."""
    counts = np.diff(scores.indptr)
    inside = np.arange(int(counts.max(initial=0))) < counts[:, None]
    values = np.full(inside.shape, np.inf)
    values[inside] = -scores.data
    order = np.argsort(values, axis=1, kind="stable")
    rank = np.empty(order.shape, np.int64)
    np.put_along_axis(rank, order, np.arange(1, order.shape[1] + 1)[None, :], axis=1)
    return rank[inside]


def _looked_up(wanted: Ints, known: Ints, values: np.ndarray, otherwise: float) -> Floats:
    """The value of each wanted key among `known` (ascending)."""
    if not len(known):
        return np.full(len(wanted), otherwise)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, values[at].astype(float), otherwise)
