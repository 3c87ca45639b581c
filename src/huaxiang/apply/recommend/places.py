"""What to show one customer at each place of the shop, and why.

home    for you                     again   buy again, when it is due
item    similar to an item          goes    goes with an item, or with a basket
email   what they do not know yet, from different categories
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from huaxiang.apply.recommend.again import due
from huaxiang.apply.recommend.desk import Desk
from huaxiang.apply.recommend.past import Floats, Past
from huaxiang.apply.recommend.reasons import FAINT, cite
from huaxiang.apply.recommend.rules import capped, items_allowed
from huaxiang.apply.recommend.table import Candidates
from huaxiang.errors import ModelError
from huaxiang.settings.recommend import RecommendSettings

PLACES = ("home", "item", "goes", "again", "email")
SPEAKING = 4  # items of a past that are tried as a reason
KIN = 0.2  # above: of the same category or of the one above it, not of the same brand alone


@dataclass(frozen=True)
class Shown:
    """One item at one place. source: what proposed it most; because: the item of the customer's past that speaks for it most ("" : none
    does), without which its score falls by `fall`; bought_ago: days since it was bought (None: never); chance, propensity: whether exploration put
    it there, and with which chance it stands there (log it: estimates of another list need it); as_of, version: what was known, and what listed it."""

    item_id: str
    title: str
    score: float
    source: str
    because: str
    because_title: str
    fall: float
    bought_ago: int | None
    due: float | None
    chance: bool = False
    propensity: float = 1.0
    as_of: str = ""
    version: str = ""


def show_list(
    desk: Desk, past: Past, rules: RecommendSettings, *, place: str, count: int, seed: Sequence[int]
) -> list[Shown]:
    """For you (home), or what they do not know yet (email): the list of the one customer of `past`, with its reasons."""
    if place == "email":
        rules = rules.model_copy(update={"per_category": 1})
    new = place == "email" or desk.drops(rules)
    table, score, lists = desk.lists(past, rules, new=new, count=count, seed=seed)
    stand = lists.row[0] >= 0
    rows = lists.row[0][stand]
    order = desk.orders["new" if new else "any"]
    cited, fall = cite(desk, past, order, table.user[rows], table.item[rows], score[rows], tries=SPEAKING)
    made = [
        _shown(desk, int(table.item[row]), float(score[row]), _source(table, row), int(one), float(less), table, row)
        for row, one, less in zip(rows, cited, fall, strict=True)
    ]
    drawn = zip(made, lists.chance[0][stand], lists.propensity[0][stand], strict=True)
    return [replace(one, chance=bool(chance), propensity=float(share)) for one, chance, share in drawn]


def show_again(desk: Desk, past: Past, rules: RecommendSettings, count: int) -> list[Shown]:
    """What they bought before the day of the lists, by how likely it is due; what is less likely than `again_from` is left out."""
    bought = past.before(desk.learned.day).purchases()
    found = due(desk.learned.timing, bought, desk.shelf, desk.learned.day)
    order = found.indices[np.argsort(-found.data, kind="stable")]
    chance = dict(zip(found.indices.tolist(), found.data.tolist(), strict=True))
    last = {int(item): int(day) for item, day in zip(bought.item, bought.day, strict=True)}  # by time: the last stays
    may = items_allowed(desk.shelf, rules)
    listed = [int(item) for item in order if may[item] and chance[item] >= rules.again_from][:count]
    made = [_shown(desk, item, chance[item], "again", item, chance[item]) for item in listed]
    today = desk.learned.day
    return [
        replace(one, bought_ago=today - last[item], due=chance[item]) for one, item in zip(made, listed, strict=True)
    ]


def show_beside(
    desk: Desk, past: Past, rules: RecommendSettings, *, place: str, items: Sequence[str], count: int
) -> list[Shown]:
    """What is similar to the item looked at (item), or goes with the basket (goes), for the one customer of `past`: no more than
    `per_category` of one category, and nothing they own where the rules leave that out."""
    known = {name: at for at, name in enumerate(desk.shelf.ids)}
    if unknown := [name for name in items if name not in known]:
        close = [other for name in unknown for other in difflib.get_close_matches(name, desk.shelf.ids, n=2)]
        said = ", ".join(dict.fromkeys(close))
        raise ModelError(f"recommend.{'item_near' if close else 'no_item'}", items=", ".join(unknown), near=said)
    asked = [known[name] for name in dict.fromkeys(items)]
    near = _beside(desk, asked, place)
    near[asked] = 0.0
    near[~items_allowed(desk.shelf, rules)] = 0.0
    if desk.drops(rules):
        near[past.before(desk.learned.day).purchases().item] = 0.0
    kin = _kin(desk, asked) if place == "item" else np.ones(len(near))
    order = np.lexsort((-near, kin <= KIN))  # of equals the earlier item
    order = order[near[order] > 0]
    order = order[capped(desk.shelf.category[order], rules.per_category)][:count]
    without = np.array([_beside(desk, [other for other in asked if other != one], place)[order] for one in asked])
    falls = near[order] - without  # (asked, K)
    made = []
    for at, item in enumerate(order):
        best, fall = int(falls[:, at].argmax()), float(falls[:, at].max())
        cited = asked[best] if fall > FAINT else -1
        same = cited >= 0 and desk.shelf.group[cited] == desk.shelf.group[item] >= 0
        source = "basket" if place == "goes" else "similar" if same else "together" if cited >= 0 else "popular"
        made.append(_shown(desk, int(item), float(near[item]), source, cited, max(fall, 0.0)))
    return made


def _shown(
    desk: Desk,
    item: int,
    score: float,
    source: str,
    cited: int,
    fall: float,
    table: Candidates | None = None,
    row: int = -1,
) -> Shown:
    ago = due = None
    if table is not None:
        days, chance = (table.values[row, table.columns.index(name)] for name in ("bought_ago", "again_score"))
        ago, due = (int(days) if days < 9_000 else None), (float(chance) if chance > 0 else None)
    return Shown(
        desk.shelf.ids[item], desk.shelf.title[item], score, source, desk.shelf.ids[cited] if cited >= 0 else "",
        desk.shelf.title[cited] if cited >= 0 else "", fall, ago, due, as_of=desk.as_of, version=desk.version,
    )  # fmt: skip


def _beside(desk: Desk, asked: list[int], place: str) -> Floats:
    """(V,) how close each item is to those asked about: similar ones share category, brand and customers (where there are such, others count
    only by their customers); for the basket, those that share orders."""
    rows = desk.learned.near if place == "item" else desk.learned.goes
    found = np.asarray(rows[asked].sum(axis=0), dtype=float).ravel()
    met, found = found > 0, found / max(found.max(initial=0.0), 1e-12)
    if place == "goes":
        return found
    known = np.log1p(desk.learned.popular)
    found = 0.4 * found + 0.2 * known / max(float(known.max(initial=0.0)), 1e-12)
    kin = _kin(desk, asked)
    enough = (kin > KIN).sum() > len(asked)
    return np.where((kin > KIN) | met | (not enough), kin + found, 0.0)


def _kin(desk: Desk, asked: list[int]) -> Floats:
    """(V,) how much each item shares with those asked about: category, the one above, brand."""
    shelf, kin = desk.shelf, np.zeros(len(desk.shelf))
    for one in asked:
        for codes, weight in ((shelf.category, 1.0), (shelf.group, 0.5), (shelf.brand, 0.2)):
            if codes[one] >= 0:
                kin += weight * (codes == codes[one])
    return kin


def _source(table: Candidates, row: int) -> str:
    """The source that puts the candidate highest."""
    ranks = {name: table.values[row, table.columns.index(f"{name}_rank")] for name in table.sources}
    return min(ranks, key=lambda name: (ranks[name], name == "popular"))
