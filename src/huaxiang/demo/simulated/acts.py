"""What happens within a visit: searches, views, carts, logins; and the lines of the order it may end in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from huaxiang.demo.simulated.catalogue import Catalogue, popular_items, promotions
from huaxiang.demo.simulated.choices import choose_items
from huaxiang.demo.simulated.people import People
from huaxiang.demo.simulated.visits import HABIT, RING, THEFT, Visits
from huaxiang.demo.simulated.world import Bools, Floats, Ints, World

EVENTS = ("session_start", "search", "view_item", "add_to_cart", "remove_from_cart", "fav", "login", "sign_up")
START, SEARCH, VIEW, CART, UNCART, WISH, LOGIN, SIGNUP = range(len(EVENTS))
SECOND = 1 / 86_400
MOST_VIEWS = 25


@dataclass(frozen=True)
class Acts:
    """One row an act, by time. visit: place in Visits; event: code of EVENTS; item: -1 where none; known: logged in at that moment."""

    visit: Ints
    day: Floats
    event: Ints
    item: Ints
    known: Bools


@dataclass(frozen=True)
class Lines:
    """One row an order line. visit: its order's; price: of a piece after promotions; discount: the coupon's, of the line;
    known: ordered under the account, not as a guest."""

    visit: Ints
    day: Floats
    item: Ints
    quantity: Ints
    price: Floats
    listed: Floats
    discount: Floats
    known: Bools


def draw_acts(world: World, catalogue: Catalogue, people: People, visits: Visits, piece: int) -> tuple[Acts, Lines]:
    chance = world.chance("acts", piece)
    count = len(visits)
    every = np.arange(count)
    view_visit, view_item, view_day, last = _views(catalogue, people, visits, chance)
    line_visit, line_item, at = _baskets(catalogue, people, visits, last, chance)
    ordered_day = last + (60 + chance.exponential(90, count)) * SECOND

    new = np.abs(visits.day - people.arrival[visits.user] - 1e-3) < 1e-7
    registered = visits.day >= people.arrival[visits.user]
    logs_in = registered & ~visits.remembered & (chance.random(count) < np.where(visits.buys, 0.93, 0.10))
    login_day = np.where(visits.buys & ~new, ordered_day - 20 * SECOND, visits.day + 8 * SECOND)
    logs_in |= new
    known_from = np.where(visits.remembered, -np.inf, np.where(logs_in, login_day, np.inf))

    searches = chance.random(count) < np.where(visits.kind == HABIT, 0.2, 0.42)
    leaves_cart = ~visits.buys & (chance.random(count) < 0.13)
    takes_out = leaves_cart & (chance.random(count) < 0.25)
    wishes = chance.random(count) < 0.05
    carted = at > 0  # one line in five goes straight to the order
    none = np.full(count, -1)
    parts: list[tuple[int, Ints, Floats, Ints]] = [
        (START, every, visits.day, none),
        (SEARCH, every[searches], visits.day[searches] + 5 * SECOND, none[searches]),
        (VIEW, view_visit, view_day, view_item),
        (CART, line_visit[carted], (last[line_visit] + at * SECOND)[carted], line_item[carted]),
        (CART, every[leaves_cart], last[leaves_cart] + 9 * SECOND, visits.anchor[leaves_cart]),
        (UNCART, every[takes_out], last[takes_out] + 40 * SECOND, visits.anchor[takes_out]),
        (WISH, every[wishes], last[wishes] + 6 * SECOND, visits.anchor[wishes]),
        (SIGNUP, every[new], login_day[new], none[new]),
        (LOGIN, every[logs_in & ~new], login_day[logs_in & ~new], none[logs_in & ~new]),
    ]
    visit = np.concatenate([part[1] for part in parts])
    day = np.concatenate([part[2] for part in parts])
    order = np.argsort(day, kind="stable")
    event = np.repeat([part[0] for part in parts], [len(part[1]) for part in parts])
    item = np.concatenate([part[3] for part in parts])
    known = day >= known_from[visit]
    acts = Acts(visit[order], day[order], event[order], item[order], known[order])
    return acts, _lines(catalogue, visits, line_visit, line_item, ordered_day, known_from, chance)


def _views(
    catalogue: Catalogue, people: People, visits: Visits, chance: np.random.Generator
) -> tuple[Ints, Ints, Floats, Floats]:
    """Visit, item and time of every view, and when each visit's last one is. One looks at what is like the item one comes to."""
    count = len(visits)
    many = np.where(visits.buys, chance.geometric(0.26, count), chance.geometric(0.34, count))
    many = np.where(visits.kind == HABIT, chance.geometric(0.6, count), many)
    many = np.where(visits.kind >= RING, chance.geometric(0.7, count), many)
    many = np.minimum(many, MOST_VIEWS)
    visit = np.repeat(np.arange(count), many)
    n, end = len(visit), np.cumsum(many)
    kind, leaf, anchor = visits.kind[visit], visits.leaf[visit], visits.anchor[visit]
    way = chance.random(n)
    way[(kind >= RING) | ((kind == HABIT) & (way > 0.3))] = 0.0
    way[end[visits.buys & (chance.random(count) < 0.7)] - 1] = 0.0
    step = np.round(chance.laplace(0, 1.8, n)).astype(np.int64)
    low, high = catalogue.first[leaf], catalogue.first[leaf] + catalogue.count[leaf] - 1
    item = np.where(way < 0.12, anchor, catalogue.alike[np.clip(catalogue.place[anchor] + step, low, high)])
    own = (way >= 0.62) & (way < 0.9)
    user = visits.user[visit]
    item[own] = choose_items(catalogue, people, user[own], leaf[own], visits.day[visit][own], chance, among=2)
    strays = way >= 0.9
    other = chance.integers(0, catalogue.leaves, int(strays.sum()))
    item[strays] = popular_items(catalogue, other, chance.random(len(other)))
    item = np.where(catalogue.launch[item] > visits.day[visit], anchor, item)
    gaps = chance.exponential(np.where(visits.buys[visit], 62.0, 44.0)) + 3
    gaps[kind >= RING] = gaps[kind >= RING] * 0.3
    passed = np.cumsum(gaps)
    since = passed - np.repeat(passed[end - many] - gaps[end - many], many)
    day = visits.day[visit] + (10 + since) * SECOND
    return visit, item, day, day[end - 1]


def _baskets(
    catalogue: Catalogue, people: People, visits: Visits, last: Floats, chance: np.random.Generator
) -> tuple[Ints, Ints, Floats]:
    """Visit and item of every order line, and the seconds after the last view it was put into the cart (0: never):
    the item the visit came to, and what goes with it."""
    buying = np.nonzero(visits.buys)[0]
    alone = visits.kind[buying] >= RING
    more = np.where(alone, 0, np.minimum(chance.poisson(0.75, len(buying)), 6))
    visit = np.repeat(buying, more)
    leaf = visits.leaf[visit]
    leaf = np.where(chance.random(len(visit)) < 0.55, catalogue.goes_with[leaf], leaf)
    item = choose_items(catalogue, people, visits.user[visit], leaf, visits.day[visit], chance, among=3)
    visits_all = np.concatenate((buying, visit))
    items_all = np.concatenate((visits.anchor[buying], item))
    key = visits_all * (len(catalogue.leaf) + 1) + items_all
    once = np.sort(np.unique(key, return_index=True)[1])
    seconds = 8 + 40 * chance.random(len(visits_all))
    seconds[chance.random(len(seconds)) < 0.2] = 0.0
    return visits_all[once], items_all[once], seconds[once]


def _lines(
    catalogue: Catalogue,
    visits: Visits,
    visit: Ints,
    item: Ints,
    ordered: Floats,
    known_from: Floats,
    chance: np.random.Generator,
) -> Lines:
    day, listed = ordered[visit], catalogue.price[item]
    price = np.round(listed * (1 - promotions(item, day)), 2)
    quantity = 1 + np.minimum(chance.poisson(np.where(catalogue.habit_days[catalogue.leaf[item]] > 0, 0.35, 0.05)), 5)
    amount = price * quantity
    total = np.bincount(visit, weights=amount, minlength=len(visits))[visit]
    offer = visits.offer[visit]
    coupon = np.select(
        [offer == 0, offer == 1, offer == 2],
        [np.minimum(15.0, total * 0.5), total * 0.12, np.full(len(visit), 8.0)],
        0.0,
    )
    discount = np.round(np.minimum(coupon * amount / total, amount), 2)
    known = (day >= known_from[visit]) | (visits.kind[visit] == THEFT)
    return Lines(visit, day, item, quantity, price, listed, discount, known)
