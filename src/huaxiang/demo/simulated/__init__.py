"""A simulated shop whose truth is known: data/ as the shop would export it, truth/ beside it, which no step of the journey reads.

world.py       how many customers, which days, where chance comes from
catalogue.py   leaves, brands, items, promotions (their words: catalogue.toml)
people.py      tastes, lives, what each customer minds; devices, phones, addresses
coupons.py     campaigns: who was drawn for which coupon, with what chance
visits.py      when each comes and whether it ends in an order; choices.py: which leaf, which item
acts.py        searches, views, carts, logins, order lines; after.py: reviews and refunds
rings.py       fake buyers and coupon farms
shelves.py, ids.py, records.py   the export, with its holes, repetitions and late rows
truths.py      the truth; truth.py reads it and joins it to the shop's pseudonyms
make.py        all of it, piece by piece, to Parquet
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from importlib.resources import files
from pathlib import Path

from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ShopError
from huaxiang.progress import SILENT, Progress
from huaxiang.words import Lang

USERS = 2500  # by default: the whole journey of so many takes about two minutes
FEWEST, MOST = 50, 20_000_000


def lay_out_simulated(
    folder: Path,
    settings: Path,
    *,
    users: int = 0,
    seed: int = 1,
    until: date | None = None,
    lang: Lang = "en",
    progress: Progress = SILENT,
) -> None:
    """Write data/, truth/ and the file `settings` that maps them; raises ShopError for a number of customers it cannot make.

    users: how many customers (0: USERS); until: the day at whose first moment the records end (default: 1 January 2025)
    """
    users = users or USERS
    if not FEWEST <= users <= MOST:
        raise ShopError("shop.demo_users", users=users, fewest=FEWEST, most=MOST)
    from huaxiang.demo.simulated.make import make_shop
    from huaxiang.demo.simulated.world import World, year_until

    world = World(users=users, seed=seed)
    if until is not None:
        start, days = year_until(until)
        world = replace(world, start=start, days=days)
    make_shop(folder, world, progress=progress)
    text = files(__name__).joinpath("simulated.toml").read_text(encoding="utf-8")
    if lang == "zh":  # the export has both languages; the shop takes one
        text = re.sub(r'^(title|category|city|region) = "(\w+)_en"', r'\1 = "\2_zh"', text, flags=re.MULTILINE)
        text = text.replace('description = "title_zh"', 'description = "title_en"')
        text = text.replace('name = "Simulated shop"', 'name = "模拟店铺"')
        text = re.sub(r"^member_level = .*", 'member_level = "level"', text, flags=re.MULTILINE)
    write_atomically(settings, text.replace('language = "en"', f'language = "{lang}"'))
