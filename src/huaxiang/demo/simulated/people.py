"""Customers as they really are: tastes, lives, what they mind; and the devices, phones and addresses they use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from huaxiang.demo.simulated.catalogue import TASTE_WIDTH, Catalogue
from huaxiang.demo.simulated.world import PIECE, Bools, Floats, Ints, World

OFFERS = ("cash", "percent", "shipping")
DEVICES = 3  # at most, a customer
KINDS = ("", "fake_order", "coupon_farm", "refund_abuse", "takeover")  # what a customer or an order may be, by code


@dataclass(frozen=True)
class People:
    """N customers. number: in the whole world, ids follow from it; person: the human behind the account.

    arrival, gone: days of registration and of leaving for good; rate: sessions a day while here
    buys: log odds that a session ends in an order; sensitive: to prices; content: with the shop (satisfaction); loyal: to an item, 0 to 1
    taste: (N, L) shares of leaves; likes: (N, TASTE_WIDTH) of brands; owl: shops at night
    lift: (N, offers) extra orders in 14 days that a coupon brings; annoyed: (N,) share of orders a coupon costs instead
    device: (N, DEVICES) numbers, the first `devices` of them used; phone, address, payment: numbers, equal where shared; kind: code of KINDS
    """

    number: Ints
    person: Ints
    arrival: Floats
    gone: Floats
    rate: Floats
    buys: Floats
    sensitive: Floats
    content: Floats
    loyal: Floats
    owl: Bools
    chinese: Bools
    female: Bools
    birth_year: Ints
    level: Ints
    taste: Floats
    likes: Floats
    lift: Floats
    annoyed: Floats
    device: Ints
    devices: Ints
    phone: Ints
    address: Ints
    payment: Ints
    kind: Ints

    def __len__(self) -> int:
        return len(self.number)


def draw_people(world: World, catalogue: Catalogue, piece: int) -> People:
    """The ordinary customers of one piece; among them the few who abuse refunds, and who will lose their account to a thief."""
    chance = world.chance("people", piece)
    number = np.arange(piece * PIECE, min(world.users, (piece + 1) * PIECE))
    n = len(number)
    female, birth_year = chance.random(n) < 0.55, 2006 - np.minimum(chance.gamma(4.0, 5.0, n), 55).astype(np.int64)
    taste = _tastes(chance, catalogue, number, female, birth_year)
    likes = chance.normal(0, 0.7, (n, TASTE_WIDTH))
    sensitive, content = chance.normal(size=n), chance.normal(size=n)
    arrival = chance.uniform(-300, world.days, n)
    hazard = np.exp(-0.7 * content) * chance.gamma(2.0, 0.5, n) / 260
    gone = arrival + chance.exponential(size=n) / hazard
    rate = np.minimum(chance.gamma(1.1, 0.13, n) + 0.012, 1.5)
    loyal = chance.beta(2, 2, n)
    annoyed = np.where((chance.random(n) < 0.18) & (sensitive < 0.3), chance.uniform(0.2, 0.6, n), 0.0)
    device, devices = _devices(chance, number)
    phone, address, person, payment = number.copy(), number.copy(), number.copy(), number.copy()
    second = _pairs(chance, n, 0.03)  # a second account of the customer before: same phone and first device
    for column in (phone, address, person, payment, arrival):
        column[second] = column[second - 1]
    device[second, 0] = device[second - 1, 0]
    for matrix in (taste, likes):
        matrix[second] = matrix[second - 1]
    arrival[second] = np.minimum(arrival[second] + chance.exponential(60, len(second)) + 1, world.days - 1.0)
    gone[second] = np.maximum(gone[second], arrival[second] + 1)
    family = np.setdiff1d(_pairs(chance, n, 0.06), np.concatenate((second, second + 1)))  # one address, some one tablet
    address[family] = address[family - 1]
    lockers = chance.random(n) < 0.08  # have their parcels sent to a locker that a dozen others use
    address[lockers] = world.users * 9 + number[lockers] // 150
    shares = family[chance.random(len(family)) < 0.5]
    device[shares, 1], devices[shares] = device[shares - 1, 0], np.maximum(devices[shares], 2)
    kind = np.zeros(n, dtype=np.int64)
    odd = chance.random(n)
    kind[odd < 0.008] = 3
    kind[(odd > 0.993) & (arrival < world.days - 60) & (gone > 60)] = 4
    return People(
        number=number,
        person=person,
        arrival=arrival,
        gone=gone,
        rate=rate,
        buys=chance.normal(-1.6, 0.7, n) + 0.25 * content,
        sensitive=sensitive,
        content=content,
        loyal=loyal,
        owl=chance.random(n) < 0.18,
        chinese=chance.random(n) < 0.75,
        female=female,
        birth_year=birth_year,
        level=np.searchsorted([0.10, 0.28], rate + chance.normal(0, 0.03, n)),
        taste=taste,
        likes=likes,
        lift=_lifts(sensitive, loyal, rate, annoyed),
        annoyed=annoyed,
        device=device,
        devices=devices,
        phone=phone,
        address=address,
        payment=payment,
        kind=kind,
    )


def _tastes(chance: np.random.Generator, catalogue: Catalogue, number: Ints, female: Bools, born: Ints) -> Floats:
    """(N, L) shares: own, shared with one's circle of sixteen friends, and what goes with sex and age."""
    n, leaves = len(number), catalogue.leaves
    circle = number // 16 - number[0] // 16
    base = chance.normal(0, 1.25, (n, leaves)) + chance.normal(0, 0.7, (circle[-1] + 1, leaves))[circle]
    sex = np.where(female, 1.0, -1.0)[:, None] * catalogue.she / 2
    youth = ((born - 1985) / 12.0)[:, None] * catalogue.young / 2
    taste = np.exp(base + sex + youth)
    return np.asarray(taste / taste.sum(axis=1, keepdims=True))


def _lifts(sensitive: Floats, loyal: Floats, rate: Floats, annoyed: Floats) -> Floats:
    """(N, offers): cash moves the price-sensitive, percent those who buy little by habit, shipping the rare visitor."""
    cash = 0.42 / (1 + np.exp(-1.8 * (sensitive - 0.2)))
    percent = 0.38 * (1 - loyal) / (1 + np.exp(-1.2 * sensitive))
    shipping = 0.16 * np.exp(-rate / 0.15)
    return np.asarray(np.where(annoyed[:, None] > 0, 0.0, np.stack((cash, percent, shipping), axis=1)))


def _devices(chance: np.random.Generator, number: Ints) -> tuple[Ints, Ints]:
    device = number[:, None] * DEVICES + np.arange(DEVICES)
    return device, 1 + np.searchsorted([0.5, 0.9], chance.random(len(number)))


def _pairs(chance: np.random.Generator, n: int, share: float) -> Ints:
    """Places of customers paired with the one before them; no two pairs share anyone."""
    odd = np.arange(1, n, 2)
    return odd[chance.random(len(odd)) < share]
