"""Rings: accounts made to order and review a seller's goods (刷单), and accounts made to farm coupons.

They share devices, payments and addresses, most rings not all of these. Some fake buyers also look around like anyone, which hides them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from huaxiang.demo.simulated.catalogue import TASTE_WIDTH, Catalogue
from huaxiang.demo.simulated.choices import choose_items
from huaxiang.demo.simulated.coupons import Exposures, campaign_days, draw_exposures
from huaxiang.demo.simulated.people import DEVICES, KINDS, OFFERS, People
from huaxiang.demo.simulated.visits import BROWSE, RING, Effects, Visits, join_visits
from huaxiang.demo.simulated.world import Bools, Floats, Ints, World, hash01

FAKE, FARM = KINDS.index("fake_order"), KINDS.index("coupon_farm")


@dataclass(frozen=True)
class Rings:
    """The rings' people, what they do, and ring (N,): which ring each belongs to."""

    people: People
    exposures: Exposures
    visits: Visits
    effects: Effects
    ring: Ints


def draw_rings(world: World, catalogue: Catalogue) -> Rings:
    chance = world.chance("rings")
    count = max(4, world.users // 400)
    farm = np.arange(count) % 5 >= 3  # three rings of fake buyers to two coupon farms
    size = chance.integers(8, 24, count)
    ring = np.repeat(np.arange(count), size)
    born = chance.uniform(40, world.days - 45, count)
    days = campaign_days(world)
    ahead = days[np.clip(np.searchsorted(days, born), 0, len(days) - 1)]
    born = np.where(farm, ahead - 2, born)  # a farm is sown just before a campaign
    people = _make_people(world, catalogue, chance, ring, farm, born)
    exposures = draw_exposures(world, people, world.pieces)
    parts = [
        _fake_visits(catalogue, chance, people, ring, born, count),
        _farm_visits(catalogue, chance, people, exposures),
        _camouflage(world, catalogue, chance, people, ring),
    ]
    none = np.zeros(len(exposures.user), dtype=np.int64)  # a farm's orders are no effect of the coupon on a customer
    return Rings(people, exposures, join_visits(parts), Effects(none, none), ring)


def _make_people(
    world: World, catalogue: Catalogue, chance: np.random.Generator, ring: Ints, farm: Bools, born: Floats
) -> People:
    n = len(ring)
    number = world.users + np.arange(n)
    arrival = np.maximum(born[ring] + chance.uniform(0, np.where(farm[ring], 1.5, 4.0)), 0.5)
    device = (world.users * 3 + ring * 8 + chance.integers(0, 3, n)) * DEVICES  # three devices a ring
    address = world.users * 3 + ring * 8 + chance.integers(0, 3, n)
    payment = world.users * 5 + ring * 16 + chance.integers(0, 5, n)
    hides = ring % 4  # a quarter of the rings shares all three; the others each hide something
    device = np.where(hides == 1, number * DEVICES, device)
    address = np.where(hides >= 2, number, address)
    payment = np.where(hides == 3, number, payment)
    zeros = np.zeros(n)
    return People(
        number=number,
        person=number,
        arrival=arrival,
        gone=np.full(n, float(world.days)),
        rate=zeros + 0.05,
        buys=zeros - 9,
        sensitive=chance.normal(size=n),
        content=zeros,
        loyal=zeros,
        owl=np.zeros(n, dtype=bool),
        chinese=np.ones(n, dtype=bool),
        female=chance.random(n) < 0.5,
        birth_year=chance.integers(1980, 2004, n),
        level=np.zeros(n, dtype=np.int64),
        taste=chance.dirichlet(np.ones(catalogue.leaves), n),
        likes=np.zeros((n, TASTE_WIDTH)),
        lift=np.zeros((n, len(OFFERS))),
        annoyed=zeros,
        device=np.stack((device, device, device), axis=1),
        devices=np.ones(n, dtype=np.int64),
        phone=number,
        address=address,
        payment=payment,
        kind=np.where(farm[ring], FARM, FAKE),
    )


def _fake_visits(
    catalogue: Catalogue, chance: np.random.Generator, people: People, ring: Ints, born: Floats, count: int
) -> Visits:
    """Each account orders one of the seller's three items, one to four times within twelve days."""
    fakes = np.nonzero(people.kind == FAKE)[0]
    user = np.repeat(fakes, chance.integers(1, 5, len(fakes)))
    leaf = chance.integers(0, catalogue.leaves, count)[ring[user]]
    place = np.minimum(3 + chance.integers(0, 3, len(user)), catalogue.count[leaf] - 1)
    anchor = catalogue.first[leaf] + place
    anchor = np.where(catalogue.launch[anchor] > 0, catalogue.first[leaf], anchor)
    day = np.floor(born[ring[user]] + 4 + chance.uniform(0, 12, len(user))) + chance.uniform(9, 18, len(user)) / 24
    return _visits(people, user, day, anchor, catalogue, FAKE)


def _farm_visits(catalogue: Catalogue, chance: np.random.Generator, people: People, exposures: Exposures) -> Visits:
    """Each account that gets a coupon in its first campaign uses it within a day, on what is easily sold on."""
    first = np.zeros(len(exposures.user), dtype=bool)
    first[np.unique(exposures.user, return_index=True)[1]] = True
    rows = np.nonzero(first & (people.kind[exposures.user] == FARM) & (exposures.arm >= 0))[0]
    user = exposures.user[rows]
    cheap = np.nonzero((catalogue.price < 45) & (catalogue.launch < 0))[0]
    anchor = cheap[chance.integers(0, len(cheap), len(rows))]
    day = exposures.day[rows] + chance.uniform(0.01, 0.6, len(rows))
    visits = _visits(people, user, day, anchor, catalogue, FARM)
    return replace(visits, offer=exposures.arm[rows], campaign=exposures.campaign[rows])


def _camouflage(world: World, catalogue: Catalogue, chance: np.random.Generator, people: People, ring: Ints) -> Visits:
    """Visits like anyone's: none in a third of the rings, few or several in the others."""
    user = np.repeat(np.arange(len(people)), chance.poisson((ring % 3) * 2.0))
    day = people.arrival[user] + 1 + chance.exponential(20, len(user))
    user, day = user[day < world.days], day[day < world.days]
    leaf = chance.integers(0, catalogue.leaves, len(user))
    anchor = choose_items(catalogue, people, user, leaf, day, chance)
    visits = _visits(people, user, day, anchor, catalogue, 0)
    return replace(visits, kind=np.full(len(user), BROWSE), buys=chance.random(len(user)) < 0.1)


def _visits(people: People, user: Ints, day: Floats, anchor: Ints, catalogue: Catalogue, fraud: int) -> Visits:
    n = len(user)
    return Visits(
        user=user,
        day=day,
        kind=np.full(n, RING),
        leaf=catalogue.leaf[anchor],
        anchor=anchor,
        buys=np.ones(n, dtype=bool),
        offer=np.full(n, -1),
        campaign=np.full(n, -1),
        device=people.device[user, 0],
        remembered=hash01(people.number[user], np.arange(n)) < 0.5,
        fraud=np.full(n, fraud),
    )
