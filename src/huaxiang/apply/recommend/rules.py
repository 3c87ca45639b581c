"""Rules after the ranker: what must not be shown, what may fill only so many places, variety, and a share left to chance.

All customers at once, a place of the list at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from huaxiang.apply.recommend.past import Floats, Ints, Shelf
from huaxiang.apply.recommend.table import Candidates
from huaxiang.settings.recommend import RecommendSettings

SAME_CATEGORY, SAME_BRAND = 0.7, 0.3  # how alike two items are, together 1
POOL = 60  # candidates of a customer that rules choose from


@dataclass(frozen=True)
class Lists:
    """(U, K) the candidate (its row) at each place, −1 where the list is shorter; chance: (U, K) whether exploration put it there;
    propensity: (U, K) the chance with which it stands there (1 where it was not left to chance)."""

    row: Ints
    chance: np.ndarray
    propensity: Floats


def items_allowed(shelf: Shelf, rules: RecommendSettings) -> np.ndarray:
    """(V,) which items may be shown to anybody, at any place: in stock, within the prices, not banned. An unknown price is within."""
    kept = shelf.listed.copy()
    if rules.price_from is not None:
        kept &= ~(shelf.price < rules.price_from)
    if rules.price_to is not None:
        kept &= ~(shelf.price > rules.price_to)
    if rules.never:
        kept &= ~np.isin(np.array(shelf.ids, dtype=str), rules.never)
    return kept


def capped(category: Ints, most: int) -> np.ndarray:
    """(N,) which of a list, best first, stay where no category may fill more than `most` places (0: any number). category: (N,), −1: none"""
    if not most:
        return np.ones(len(category), bool)
    order = np.argsort(category, kind="stable")
    place = np.empty(len(category), np.int64)
    place[order] = np.arange(len(category)) - np.searchsorted(category[order], category[order])
    return (place < most) | (category < 0)


def allowed(table: Candidates, shelf: Shelf, rules: RecommendSettings, *, owned: Ints, drop_owned: bool) -> np.ndarray:
    """(N,) which candidates may be shown; owned: (M,) sorted keys user × V + item of what was bought."""
    kept = items_allowed(shelf, rules)[table.item]
    if drop_owned and len(owned):
        kept &= ~np.isin(table.user * len(shelf) + table.item, owned)
    return kept


def arrange(
    table: Candidates, score: Floats, shelf: Shelf, rules: RecommendSettings, *, count: int, seed: int | Sequence[int]
) -> Lists:
    """The lists: at each place the candidate of the greatest score less `variety` times how alike it is to what stands above,
    no more than `per_category` of one category; with chance `explore` the place is drawn from the rest of the pool instead.

    source: Carbonell & Goldstein 1998 (maximal marginal relevance)
    """
    if not len(score):  # the rules leave nothing to anybody
        shape = table.users, count
        return Lists(np.full(shape, -1, np.int64), np.zeros(shape, bool), np.ones(shape))
    pool = _pool(table, score)
    users = len(pool)
    has = pool >= 0
    value = np.where(has, score[np.maximum(pool, 0)], -np.inf)
    low, high = np.where(has, value, np.inf).min(axis=1, initial=np.inf), value.max(axis=1, initial=-np.inf)
    spread = np.maximum(high - low, 1e-9)
    value = np.where(has, (value - np.where(np.isfinite(low), low, 0)[:, None]) / spread[:, None], -np.inf)
    item = table.item[np.maximum(pool, 0)]
    category, brand = shelf.category[item], shelf.brand[item]
    row = np.full((users, count), -1, np.int64)
    by_chance, propensity = np.zeros((users, count), bool), np.ones((users, count))
    alike = np.zeros_like(value)
    taken = np.zeros_like(has)
    random = np.random.default_rng(seed)
    everyone = np.arange(users)
    for place in range(min(count, pool.shape[1])):
        full = np.zeros_like(has)
        if rules.per_category and place >= rules.per_category:
            same = (
                category[:, :, None]
                == np.where(
                    row[:, None, :place] >= 0, shelf.category[table.item[np.maximum(row[:, None, :place], 0)]], -2
                )
            ).sum(axis=2)
            full = (same >= rules.per_category) & (category >= 0)
        free = has & ~taken & ~full
        net = np.where(free, value - rules.variety * alike, -np.inf)
        pick = net.argmax(axis=1)
        options = free.sum(axis=1)
        explored = (random.random(users) < rules.explore) & (options > 1)
        drawn = _drawn(free, random)
        rest = rules.explore / np.maximum(options, 1)
        propensity[:, place] = np.where(explored & (drawn != pick), rest, 1 - rules.explore + rest)
        by_chance[:, place] = explored & (drawn != pick)
        pick = np.where(explored, drawn, pick)
        some = options > 0
        row[some, place] = pool[everyone[some], pick[some]]
        taken[everyone[some], pick[some]] = True
        alike = np.maximum(
            alike,
            SAME_CATEGORY * ((category == category[everyone, pick][:, None]) & (category >= 0))
            + SAME_BRAND * ((brand == brand[everyone, pick][:, None]) & (brand >= 0)),
        )
    return Lists(row, by_chance, propensity)


def _pool(table: Candidates, score: Floats) -> Ints:
    """(U, P) the rows of each customer's best candidates, best first (−1: no more)."""
    order = np.lexsort((table.item, -score, table.user))
    sizes = table.sizes
    first = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - first[table.user[order]]
    found = np.full((table.users, min(POOL, max(int(sizes.max(initial=0)), 1))), -1, np.int64)
    kept = order[place[order] < found.shape[1]]
    found[table.user[kept], place[kept]] = kept
    return found


def _drawn(free: np.ndarray, random: np.random.Generator) -> Ints:
    """(U,) one free place of each row, drawn evenly (0 where there is none)."""
    return np.asarray(np.where(free, random.random(free.shape), -1.0).argmax(axis=1))
