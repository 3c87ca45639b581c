"""Where candidates come from. Each source learns from a past and gives (U, V) sparse scores, the best KEEP of each customer.

together   taken soon after what the customer took last (co-occurrence)
basket     bought in the same order as what the customer took last
taste      popular now in the categories the customer likes, new items too
popular    popular now
peers      popular now among those who declared the same (peers.py), where customers declared anything
again      bought before, and due again by its own timing
behaviour  what the behaviour model foresees (where one was trained before the ranker's first date)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_matrix, diags

from huaxiang.apply.recommend.again import Pairs, Timing, due_of, fit_timing, pairs_of
from huaxiang.apply.recommend.past import Floats, Ints, Past, Shelf, distinct
from huaxiang.apply.recommend.peers import NAME as PEERS
from huaxiang.apply.recommend.peers import Peers, learn_peers
from huaxiang.models.next_item.base import strongest
from huaxiang.models.next_item.neighbours import NeighboursConfig, count_pairs
from huaxiang.models.next_item.sequences import Sequences

KEEP = 60
NEAR = 60  # neighbours kept an item
RECENT = 30  # events that speak
FADE = 0.85
HALF_LIFE = 14.0  # days, of popularity
LARGEST_ORDER = 60  # items; larger ones say little of what goes together
NEW = 0.3  # how popular an item without events counts, beside one event of today
Made: TypeAlias = Callable[[Past, Shelf, int], csr_matrix]  # what customers did, shelf, items kept -> (U, V) scores


@dataclass(frozen=True)
class Learned:
    """What the sources know at a day. near, goes: (V, V) top neighbours; popular: (V,) events, fading; of_category: (C, V) each category's
    items by popularity; timing: of buying again; peers: what is popular among whom;
    extra: further sources."""

    day: int
    near: csr_matrix
    goes: csr_matrix
    popular: Floats
    of_category: csr_matrix
    timing: Timing
    peers: Peers
    extra: Mapping[str, Made] = field(default_factory=dict)

    @cached_property
    def towards(self) -> csr_matrix:
        """(V, V) of each item those that speak for it."""
        return csr_matrix((self.near + self.goes).T)

    @cached_property
    def top(self) -> Ints:
        """The KEEP most popular items, by number."""
        found: Ints = np.sort(np.argsort(-self.popular, kind="stable")[:KEEP])
        return found[self.popular[found] > 0]


def learn_sources(past: Past, shelf: Shelf, day: int, extra: Mapping[str, Made] | None = None) -> Learned:
    """Learns from what was known before `day`."""
    seen = past.before(day)
    items = len(shelf)
    weight = seen.weight * 0.5 ** ((day - seen.day) / HALF_LIFE)
    popular = np.bincount(seen.item, weight, minlength=items).astype(np.float64)
    return Learned(
        day,
        _near(seen, items),
        _goes(seen.purchases(), items),
        popular,
        _of_category(popular, shelf),
        fit_timing(seen.purchases(), shelf, day),
        learn_peers(seen, weight, popular, KEEP),
        extra or {},
    )


@dataclass(frozen=True)
class Met:
    """What the sources and the table both read of the customers at a day. seen: what was known before it; pairs: purchases; taste: (U, C) the
    share of each customer's attention that each category has, fading; brands: the same of each brand."""

    seen: Past
    pairs: Pairs
    taste: csr_matrix
    brands: csr_matrix


def meet(past: Past, shelf: Shelf, day: int) -> Met:
    seen = past.before(day)
    pairs = pairs_of(seen.purchases(), len(shelf))
    return Met(seen, pairs, taste_of(seen, shelf.category, day), taste_of(seen, shelf.brand, day))


def candidates(learned: Learned, past: Past, shelf: Shelf, met: Met | None = None) -> dict[str, csr_matrix]:
    """source -> (U, V) scores of the customers of `past` (what is after `learned.day` is not looked at). met: of them at that day, if at hand"""
    met = met or meet(past, shelf, learned.day)
    seen, items = met.seen, len(shelf)
    place = seen.place
    late = np.flatnonzero(place < RECENT)
    weight = seen.weight[late] * FADE ** place[late]
    speaks = csr_matrix((weight, (seen.user[late], seen.item[late])), shape=(len(past.users), items))
    found = {
        "together": strongest(_times(speaks, learned.near), KEEP),
        "basket": strongest(_times(speaks, learned.goes), KEEP),
        "taste": strongest(_times(met.taste, learned.of_category), KEEP),
        "popular": _everybody(learned, len(past.users)),
        "again": strongest(due_of(learned.timing, met.pairs, speaks.shape, learned.day), KEEP),
    }
    if len(learned.peers.groups):
        found[PEERS] = learned.peers.of(seen, KEEP)
    return found | {name: made(seen, shelf, KEEP) for name, made in learned.extra.items()}


def _times(left: csr_matrix, right: csr_matrix) -> csr_matrix:
    """left @ right. Of a few customers only the rows and columns that they reach: a product otherwise costs its width, however empty."""
    if left.nnz * NEAR > right.shape[1]:
        return left @ right
    rows, at = np.unique(left.indices, return_inverse=True)
    some = right[rows]
    columns = distinct(some.indices)
    some = csr_matrix((some.data, np.searchsorted(columns, some.indices), some.indptr), shape=(len(rows), len(columns)))
    found = csr_matrix((left.data, at, left.indptr), shape=(left.shape[0], len(rows))) @ some
    return csr_matrix((found.data, columns[found.indices], found.indptr), shape=(left.shape[0], right.shape[1]))


def taste_of(seen: Past, codes: Ints, day: int) -> csr_matrix:
    """(U, C) the share of a customer's attention that each code (a category, a brand) has, fading. codes: (V,) of each item, −1: none"""
    code = codes[seen.item]
    has = code >= 0
    weight = seen.weight * 0.5 ** ((day - seen.day) / 60)
    shape = len(seen.users), max(int(codes.max(initial=-1)) + 1, 1)
    found = csr_matrix((weight[has], (seen.user[has], code[has])), shape=shape)
    total = np.maximum(np.bincount(seen.user[has], weight[has], minlength=shape[0]), 1e-12)
    found.data /= np.repeat(total, np.diff(found.indptr))
    return found


def _near(seen: Past, items: int) -> csr_matrix:
    """Pairs taken soon after one another, by how often each is met."""
    config = NeighboursConfig(window=10, keep=NEAR)
    starts = np.searchsorted(seen.user, np.arange(len(seen.users) + 1))
    pairs = count_pairs(Sequences(starts.astype(np.int64), seen.item), items, window=config.window, fade=config.fade)
    met = np.maximum(np.bincount(seen.item, minlength=items), 1).astype(float)
    both = csr_matrix(pairs + config.back * pairs.T)
    near = csr_matrix(diags(met**-config.from_power) @ both @ diags(met**-config.to_power))
    near.setdiag(0)
    near.eliminate_zeros()
    return strongest(near, NEAR)


def _goes(bought: Past, items: int) -> csr_matrix:
    """Pairs of one order: how often, over the root of how often each is bought (cosine)."""
    has = bought.order >= 0
    _, order = np.unique(bought.order[has], return_inverse=True)
    held = csr_matrix((np.ones(len(order)), (order, bought.item[has])), shape=(int(order.max(initial=-1)) + 1, items))
    held.sum_duplicates()
    held.data[:] = 1.0
    size = np.diff(held.indptr)
    held = csr_matrix(held[(size > 1) & (size <= LARGEST_ORDER)])
    count = np.maximum(np.asarray(held.sum(axis=0)).ravel(), 1.0)
    pairs = csr_matrix(diags(count**-0.5) @ (held.T @ held) @ diags(count**-0.5))
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    return strongest(pairs, NEAR)


def _of_category(popular: Floats, shelf: Shelf) -> csr_matrix:
    """(C, V) of each category its items' share of its popularity; one that nobody met counts NEW."""
    has = (shelf.category >= 0) & shelf.listed
    value = np.sqrt(popular + np.where(popular > 0, 0.0, NEW))
    count = max(int(shelf.category.max(initial=-1)) + 1, 1)
    at = np.flatnonzero(has)
    found = strongest(csr_matrix((value[at], (shelf.category[at], at)), shape=(count, len(shelf))), KEEP // 2)
    total = np.maximum(np.asarray(found.sum(axis=1)).ravel(), 1e-12)
    return csr_matrix(diags(1 / total) @ found)


def _everybody(learned: Learned, users: int) -> csr_matrix:
    """The same most popular items for every customer."""
    top, popular = learned.top, learned.popular
    share = popular[top] / max(popular[top].max(initial=0.0), 1e-12)
    starts = np.arange(users + 1) * len(top)
    return csr_matrix((np.tile(share, users), np.tile(top, users), starts), shape=(users, len(popular)))
