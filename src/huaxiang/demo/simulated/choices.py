"""Which leaf a visit is about and which item it ends at: taste, season, what goes with the last order, price and habit."""

from __future__ import annotations

import numpy as np

from huaxiang.demo.simulated.catalogue import Catalogue, popular_items, promotions
from huaxiang.demo.simulated.people import People
from huaxiang.demo.simulated.world import Bools, Floats, Ints, hash01

AGAIN_DAYS = 21  # how long an order makes one look for what goes with it


def pull(catalogue: Catalogue, people: People, user: Ints, item: Ints, day: Floats) -> Floats:
    """How much each user likes each item at its price of the day; what is not yet on sale pulls nobody."""
    brand = np.einsum("nd,nd->n", people.likes[user], catalogue.brands[catalogue.brand[item]])
    dear = np.log(catalogue.price[item] / catalogue.price_mid[catalogue.leaf[item]])
    sensitive = people.sensitive[user]
    off = promotions(item, day)
    found = brand + 0.5 * catalogue.quality[item] - (0.5 + 0.7 * sensitive) * dear
    found += off * 2.5 * np.maximum(0.0, 0.6 + sensitive)
    return np.asarray(np.where(catalogue.launch[item] > day, -1e9, found))


def choose_items(
    catalogue: Catalogue,
    people: People,
    user: Ints,
    leaf: Ints,
    day: Floats,
    chance: np.random.Generator,
    *,
    among: int = 4,
) -> Ints:
    """An item of each leaf for each user: the best liked of a few that popularity brings before them."""
    best = popular_items(catalogue, leaf, chance.random(len(user)))
    best_pull = pull(catalogue, people, user, best, day) + chance.gumbel(0, 0.4, len(user))
    for _ in range(among - 1):
        other = popular_items(catalogue, leaf, chance.random(len(user)))
        other_pull = pull(catalogue, people, user, other, day) + chance.gumbel(0, 0.4, len(user))
        better = other_pull > best_pull
        best, best_pull = np.where(better, other, best), np.where(better, other_pull, best_pull)
    return np.where(best_pull < -1e8, catalogue.first[leaf], best)


def loyal_items(catalogue: Catalogue, people: People, user: Ints, leaf: Ints) -> Ints:
    """The one item of a leaf a customer comes back to, always the same: the best of ten that hang on who they are."""
    best, best_pull = catalogue.first[leaf], np.full(len(user), -np.inf)
    start = np.zeros(len(user))
    for number in range(10):
        other = popular_items(catalogue, leaf, hash01(people.number[user], leaf, number, 77))
        found = pull(catalogue, people, user, other, start)
        best, best_pull = np.where(found > best_pull, other, best), np.maximum(found, best_pull)
    return best


def choose_leaves(
    catalogue: Catalogue, people: People, user: Ints, day: Floats, buys: Bools, chance: np.random.Generator
) -> Ints:
    """What each visit is about, visits in each user's order of time."""
    cumulated = np.cumsum(people.taste, axis=1)
    month = (day % 366) / 30.5 + 1
    leaf = _by_taste(cumulated, user, chance)
    for _ in range(2):
        best = catalogue.month[leaf]
        away = np.abs((month - best + 6) % 12 - 6)
        stays = (best == 0) | (chance.random(len(user)) < np.where(away < 1.6, 1.0, 0.35))
        leaf = np.where(stays, leaf, _by_taste(cumulated, user, chance))
    follows = np.zeros(len(user), dtype=bool)
    follows[1:] = (user[1:] == user[:-1]) & buys[:-1] & (day[1:] - day[:-1] < AGAIN_DAYS)
    follows &= chance.random(len(user)) < 0.3
    before = np.concatenate((leaf[:1], leaf[:-1]))
    return np.where(follows, catalogue.goes_with[before], leaf)


def _by_taste(cumulated: Floats, user: Ints, chance: np.random.Generator) -> Ints:
    """A leaf by each user's taste: one search in all rows at once, row n holding the numbers from n to n + 1."""
    rows, leaves = cumulated.shape
    flat = (np.minimum(cumulated, 1.0 - 1e-12) + np.arange(rows)[:, None]).ravel()
    found = np.searchsorted(flat, user + chance.random(len(user)), side="right") - user * leaves
    return np.clip(found, 0, leaves - 1)
