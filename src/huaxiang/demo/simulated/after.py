"""What follows an order: reviews with stars and words, and refunds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from huaxiang.demo.simulated.acts import Lines
from huaxiang.demo.simulated.catalogue import Catalogue, shelf_words
from huaxiang.demo.simulated.people import KINDS, People
from huaxiang.demo.simulated.visits import Visits
from huaxiang.demo.simulated.world import Bools, Floats, Ints, World

FAKE, ABUSE = KINDS.index("fake_order"), KINDS.index("refund_abuse")


@dataclass(frozen=True)
class Reviews:
    """line: place in Lines; stars 1 to 5; text: place in review_texts()."""

    line: Ints
    day: Floats
    stars: Ints
    text: Ints


@dataclass(frozen=True)
class Refunds:
    """line: place in Lines; abused: not because of the goods, but because the customer makes a habit of it."""

    line: Ints
    day: Floats
    abused: Bools


def draw_after(
    world: World, catalogue: Catalogue, people: People, visits: Visits, lines: Lines, piece: int
) -> tuple[Reviews, Refunds, Floats]:
    """Reviews, refunds, and how satisfied each line left its customer (about a standard normal)."""
    chance, n = world.chance("after", piece), len(lines.visit)
    user, fraud = visits.user[lines.visit], visits.fraud[lines.visit]
    content = 0.65 * people.content[user] + 0.6 * catalogue.quality[lines.item] + chance.normal(0, 0.6, n)
    content -= np.where(chance.random(n) < 0.04, chance.uniform(1.5, 3.5, n), 0.0)  # broken, late or lost
    fake = fraud == FAKE
    says = chance.random(n) < np.where(fake, 0.85, 0.14 + 0.08 * np.abs(content))
    rows = np.nonzero(says & lines.known)[0]
    stars = np.clip(np.round(4.0 + 0.95 * content[rows]), 1, 5).astype(np.int64)
    stars[fake[rows]] = 5
    day = lines.day[rows] + np.where(fake[rows], chance.uniform(0.5, 2, len(rows)), 2 + chance.gamma(2, 2.5, len(rows)))
    group = np.searchsorted([3, 4], stars, side="right")  # 1-2 bad, 3 middling, 4-5 good
    text = _pick_texts(chance, group, people.chinese[user[rows]], fake[rows])
    reviews = Reviews(rows, day, stars, text)

    abuser = people.kind[user] == ABUSE
    back = chance.random(n) < np.where(abuser, 0.55, 1 / (1 + np.exp(3.3 + 1.2 * content)))
    back &= ~fake & lines.known
    rows = np.nonzero(back)[0]
    refunds = Refunds(rows, lines.day[rows] + 1 + chance.gamma(2, 2, len(rows)), abuser[rows])
    return reviews, refunds, content


@cache
def review_texts() -> tuple[list[str], Ints]:
    """All texts, and where each (language, group) begins: (3, 3), the third row the rings' few."""
    words = shelf_words()
    found: list[str] = []
    begins = np.zeros((3, 3), dtype=np.int64)
    for row, lang in enumerate(("zh", "en")):
        for column, group in enumerate(("bad", "mid", "good")):
            begins[row, column] = len(found)
            said = words["reviews"][lang]
            found += [one + more for one in said[group] for more in said[group + "_more"]]
    begins[2] = len(found)
    return found + words["ring_reviews"]["texts"], begins


def _pick_texts(chance: np.random.Generator, group: Ints, chinese: Bools, fake: Bools) -> Ints:
    begins = review_texts()[1]
    row = np.where(fake, 2, np.where(chinese, 0, 1))
    return begins[row, group] + (chance.random(len(group)) * np.where(fake, 4, 20)).astype(np.int64)
