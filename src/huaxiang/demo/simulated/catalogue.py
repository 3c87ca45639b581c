"""What the simulated shop sells: leaves of the category tree, brands, items and their prices."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from huaxiang.demo.simulated.world import Floats, Ints, World, hash01

TASTE_WIDTH = 3  # dimensions in which brands differ and customers' likings for them too


@cache
def shelf_words() -> dict[str, Any]:
    """catalogue.toml."""
    return tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Catalogue:
    """L leaves, B brands, I items; the items of one leaf stand together, the most popular first.

    first, count, price_mid, habit_days, month, goes_with: (L,) of leaves; she, young: (L,) who likes it more
    brands: (B, TASTE_WIDTH); leaf, brand, price, quality, launch (day): (I,)
    alike: (I,) items of each leaf in an order in which neighbours are alike; place: (I,) where an item stands in it
    """

    first: Ints
    count: Ints
    price_mid: Floats
    habit_days: Floats
    month: Ints
    goes_with: Ints
    she: Floats
    young: Floats
    brands: Floats
    leaf: Ints
    brand: Ints
    price: Floats
    quality: Floats
    launch: Floats
    alike: Ints
    place: Ints

    @property
    def leaves(self) -> int:
        return len(self.first)


def make_catalogue(world: World) -> Catalogue:
    words, chance = shelf_words(), world.chance("catalogue")
    leaves, brand_count = words["leaves"], len(words["brands"])
    total = int(np.clip(world.users // 4, 400, 20_000))
    share = chance.dirichlet(np.full(len(leaves), 6.0))
    count = np.maximum(6, (share * total).astype(np.int64))
    first = np.concatenate(([0], np.cumsum(count)[:-1]))
    leaf = np.repeat(np.arange(len(leaves)), count)
    brands = chance.normal(size=(brand_count, TASTE_WIDTH))
    sold = chance.random((len(leaves), brand_count)).argsort(axis=1)[:, :7]  # seven brands a leaf
    brand = sold[leaf, chance.integers(0, 7, len(leaf))]
    price_mid = np.array([float(one["price"]) for one in leaves])
    tier = 0.35 * brands[brand, 0] + chance.normal(0, 0.3, len(leaf))
    price = np.maximum(2.0, np.round(price_mid[leaf] * np.exp(tier))) - 0.1
    late = chance.random(len(leaf)) < 0.15
    late[first] = late[first + 1] = late[first + 2] = False
    launch = np.where(late, chance.uniform(20, world.days, len(leaf)), -1000.0)
    alike = np.lexsort((price, brand, leaf))
    place = np.empty_like(alike)
    place[alike] = np.arange(len(alike))
    names = [one["leaf"][1] for one in leaves]
    return Catalogue(
        first=first,
        count=count,
        price_mid=price_mid,
        habit_days=np.array([float(one["days"]) for one in leaves]),
        month=np.array([one["month"] for one in leaves]),
        goes_with=np.array([names.index(one["with"]) for one in leaves]),
        she=np.array([one.get("she", 0.0) for one in leaves]),
        young=np.array([one.get("young", 0.0) for one in leaves]),
        brands=brands,
        leaf=leaf,
        brand=brand,
        price=price,
        quality=chance.normal(0, 0.6, len(leaf)) + 0.25 * tier,
        launch=launch,
        alike=alike,
        place=place,
    )


def promotions(item: Ints, day: Floats) -> Floats:
    """The share taken off an item's price on a day: one item in eight each week, 10 to 40 %."""
    week = (day // 7).astype(np.int64)
    draw = hash01(item, week, 1)
    return np.where(draw < 0.125, 0.10 + np.floor(draw / 0.125 * 7) * 0.05, 0.0)


def popular_items(catalogue: Catalogue, leaf: Ints, draw: Floats) -> Ints:
    """An item of each leaf by `draw` in [0, 1), the k-th most popular about 1/k as often as the first (Zipf)."""
    rank = np.exp(draw * np.log(catalogue.count[leaf] + 1.0)).astype(np.int64) - 1
    return catalogue.first[leaf] + np.clip(rank, 0, catalogue.count[leaf] - 1)


def titles(catalogue: Catalogue) -> tuple[list[str], list[str]]:
    """Chinese and English title of every item."""
    words = shelf_words()
    chinese, english = [], []
    for number, (leaf, brand) in enumerate(zip(catalogue.leaf.tolist(), catalogue.brand.tolist(), strict=True)):
        noun, name = words["leaves"][leaf]["noun"], words["brands"][brand]
        adjective = words["adjectives"][number * 7 % len(words["adjectives"])]
        place = number - int(catalogue.first[leaf])
        chinese.append(f"{name[0]} {adjective[0]}{noun[0]} {place + 1:03d}款")
        english.append(f"{name[1]} {adjective[1]} {noun[1]} No. {place + 1}")
    return chinese, english
