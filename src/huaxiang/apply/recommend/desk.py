"""What `Shop.recommend` gives: it learns, lists for every customer, and answers for one, at any place of the shop.

home    for you                     again   buy again, when it is due
item    similar to an item          goes    goes with an item, or with a basket
email   what they do not know yet, from different categories
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from huaxiang.apply.recommend.learn import BLOCK, Exam, Look, fit_ranker, look_back, take_exam
from huaxiang.apply.recommend.past import Floats, Ints, Past, Shelf, day_of, read_past, read_shelf
from huaxiang.apply.recommend.rules import Lists, allowed, arrange
from huaxiang.apply.recommend.sources import SOURCES, Learned, candidates, learn_sources
from huaxiang.apply.recommend.store import load_desk, save_desk
from huaxiang.apply.recommend.table import Candidates, table_of
from huaxiang.engine import Lake
from huaxiang.errors import ModelError
from huaxiang.models.rank import Ranker
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings
from huaxiang.settings.recommend import RecommendSettings

STEP = "recommend"
TABLE = "recommendations"
SPEAKING = 4  # items of a past that are tried as a reason
FAINT = 1e-9  # fall of the score that is none
MOST = 99.0  # told of one that is no candidate any more
REPEATS = 0.1  # share of purchases that repeat, from which on what was bought is shown again
PLACES = ("home", "item", "goes", "again", "email")
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()), ("place", pa.int16()), ("item_id", pa.string()), ("score", pa.float64()), ("source", pa.string()),
        ("because", pa.string()), ("chance", pa.bool_()), ("propensity", pa.float64()), ("as_of", pa.date32()), ("version", pa.string()),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """One item at one place. source: what proposed it most; because: the item of the customer's past that speaks for it most ("" : none
    does), without which its score falls by `fall`; bought_ago: days since it was bought (None: never)."""

    item_id: str
    title: str
    score: float
    source: str
    because: str
    because_title: str
    fall: float
    bought_ago: int | None
    due: float | None


@dataclass(frozen=True)
class Desk:
    """What was learned: ready to list. rankers: "any", and "new" for what a customer has not bought."""

    shelf: Shelf
    learned: Learned
    rankers: dict[str, Ranker]
    drop_owned: bool
    version: str
    as_of: str

    def lists(
        self, past: Past, rules: RecommendSettings, *, new: bool, count: int, seed: int
    ) -> tuple[Candidates, Floats, Lists]:
        """Candidates, scores and lists of all customers of `past`."""
        scores = candidates(self.learned, past, self.shelf)
        table = table_of(scores, self.learned, past, self.shelf)
        bought = past.before(self.learned.day).purchases()
        owned = np.unique(bought.user * len(self.shelf) + bought.item)
        table = table.rows(allowed(table, self.shelf, rules, owned=owned, drop_owned=new))
        score = self.rankers["new" if new else "any"].score(table.values)
        return table, score, arrange(table, score, self.shelf, rules, count=count, seed=seed)


class Recommend:
    """raises: ShopError before a build; ModelError where too few buy, or nothing was learned yet"""

    def __init__(self, lake: Lake, settings: Settings, folder: Path, progress: Progress = SILENT) -> None:
        self.lake = lake
        self.settings = settings
        self.folder = folder  # models/
        self.progress = progress
        self._desk: Desk | None = None

    def train(self, *, seed: int | None = None) -> Exam:
        """Learns, takes the exam, and writes `recommendations`, the home list of every customer."""
        rules, chance = self.settings.recommend, self.settings.train.seed if seed is None else seed
        shelf = read_shelf(self.lake)
        past = read_past(self.lake, shelf)
        if not len(past.user):
            raise ModelError("recommend.no_events")
        today = day_of(str(self.lake.note("build")["as_of"]))
        window = rules.window_days
        with self.progress.task("recommend", "exam", 7) as advance:
            looks: list[Look] = []
            for back in (3, 2, 1):
                looks.append(look_back(past, shelf, today - back * window, window=window, seed=chance))
                advance(1)
            items = len(shelf)
            rankers = {"any": fit_ranker(looks[0], looks[1], items, seed=chance)}
            advance(1)
            rankers["new"] = fit_ranker(
                _fresh(looks[0], past, items), _fresh(looks[1], past, items), items, seed=chance
            )
            advance(1)
            rivals = {name: fit_ranker(looks[0], looks[1], items, seed=chance, without=(name,)) for name in SOURCES}
            exam = take_exam(looks[2], rankers["any"], rivals, past, shelf, window)
            exam = _with_new(exam, looks[2], rankers["new"], past, shelf, window)
            advance(1)
            desk = Desk(
                shelf,
                learn_sources(past, shelf, today),
                rankers,
                _drops(rules, past),
                "",
                str(date(1970, 1, 1) + timedelta(days=today)),
            )
            desk = save_desk(desk, self.folder / STEP)
            advance(1)
        self._desk = desk
        self._write(desk, past, exam)
        return exam

    def _write(self, desk: Desk, past: Past, exam: Exam) -> None:
        rules = self.settings.recommend
        with (
            self.lake.step(STEP) as step,
            self.progress.task("recommend", TABLE, -(-len(past.users) // BLOCK)) as advance,
        ):
            step.replace(TABLE, SCHEMA.empty_table())
            for low in range(0, len(past.users), BLOCK):
                users = np.arange(low, min(low + BLOCK, len(past.users)))
                some = _renumbered(past, users)
                table, score, lists = desk.lists(
                    some, rules, new=desk.drop_owned, count=rules.count, seed=self.settings.train.seed + low
                )
                step.append(TABLE, _rows(desk, some, table, score, lists))
                advance(1)
            step.note |= {
                "version": desk.version,
                "as_of": desk.as_of,
                "exam": asdict(exam),
                "drop_owned": desk.drop_owned,
            }
        _sweep(self.folder / STEP, {desk.version})

    @property
    def desk(self) -> Desk:
        """What the last training learned."""
        if self._desk is None:
            version = self.lake.note(STEP).get("version")
            if not version:
                raise ModelError("recommend.not_trained")
            self._desk = load_desk(self.folder / STEP / version, read_shelf(self.lake))
        return self._desk

    def exam(self) -> Exam | None:
        found = self.lake.note(STEP).get("exam")
        return Exam(**found) if found else None

    def show(self, user_id: str, *, place: str = "home", items: Sequence[str] = (), count: int = 0) -> list[Shown]:
        """What to show one customer (a pseudonym; one without a past gets what is popular now in the shop).

        place: one of PLACES; items: the item looked at, or the basket, for `item` and `goes`
        """
        if place not in PLACES:
            raise ModelError("recommend.place", place=place, known=", ".join(PLACES))
        desk, rules = self.desk, self.settings.recommend
        count = count or rules.count
        past = read_past(self.lake, desk.shelf, user_id=user_id)
        if place in ("item", "goes"):
            return self._beside(desk, past, place, items, count)
        if place == "email":
            rules = rules.model_copy(update={"per_category": 1})
        new = place == "email" or (place == "home" and desk.drop_owned)
        if place == "again":
            return self._again(desk, past, count)
        table, score, lists = desk.lists(past, rules, new=new, count=count, seed=self.settings.train.seed)
        rows = lists.row[0][lists.row[0] >= 0]
        cited, fall = _reasons(desk, past, table, score, rows, desk.rankers["new" if new else "any"])
        return [
            self._shown(
                desk, int(table.item[row]), float(score[row]), _source(table, row), int(one), float(less), table, row
            )
            for row, one, less in zip(rows, cited, fall, strict=True)
        ]

    def _shown(
        self,
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
            desk.shelf.title[cited] if cited >= 0 else "", fall, ago, due,
        )  # fmt: skip

    def _again(self, desk: Desk, past: Past, count: int) -> list[Shown]:
        from huaxiang.apply.recommend.again import due

        found = due(desk.learned.timing, past.purchases(), desk.shelf, desk.learned.day)
        order = found.indices[np.argsort(-found.data, kind="stable")]
        chance = dict(zip(found.indices.tolist(), found.data.tolist(), strict=True))
        bought = past.purchases()
        last = {
            int(item): int(day) for item, day in zip(bought.item, bought.day, strict=True)
        }  # by time: the last stays
        listed = [int(item) for item in order if desk.shelf.listed[item]][:count]
        made = [self._shown(desk, item, chance[item], "again", item, chance[item]) for item in listed]
        today = desk.learned.day
        return [
            replace(one, bought_ago=today - last[item], due=chance[item])
            for one, item in zip(made, listed, strict=True)
        ]

    def _beside(self, desk: Desk, past: Past, place: str, items: Sequence[str], count: int) -> list[Shown]:
        known = {name: at for at, name in enumerate(desk.shelf.ids)}
        asked = [known[name] for name in items if name in known]
        if not asked:
            raise ModelError("recommend.no_item", items=", ".join(items) or "-")
        near = _beside(desk, asked, place)
        near[asked] = 0.0
        near[~desk.shelf.listed] = 0.0
        order = np.argsort(-near, kind="stable")[:count]
        made = []
        for item in order[near[order] > 0]:
            rows = desk.learned.near if place == "item" else desk.learned.goes
            speaks = [float(rows[one, item]) for one in asked]
            kin = [one for one in asked if desk.shelf.group[one] == desk.shelf.group[item] >= 0]
            cited = asked[int(np.argmax(speaks))] if max(speaks) > 0 else kin[0] if kin else -1
            source = "basket" if place == "goes" else "similar" if cited in kin else "together"
            made.append(self._shown(desk, int(item), float(near[item]), source, cited, max(speaks)))
        return made


def _beside(desk: Desk, asked: list[int], place: str) -> Floats:
    """(V,) how close each item is to those asked about: similar ones share category, brand and customers; others share orders."""
    rows = desk.learned.near if place == "item" else desk.learned.goes
    found = np.asarray(rows[asked].sum(axis=0), dtype=float).ravel()
    found = found / max(found.max(initial=0.0), 1e-12)
    if place == "goes":
        return found
    shelf, known = desk.shelf, np.log1p(desk.learned.popular)
    found = 0.4 * found + 0.2 * known / max(float(known.max(initial=0.0)), 1e-12)
    kin = np.zeros(len(shelf))
    for one in asked:
        for codes, weight in ((shelf.category, 1.0), (shelf.group, 0.5), (shelf.brand, 0.2)):
            if codes[one] >= 0:
                kin += weight * (codes == codes[one])
    return np.where(kin > 0.2, kin + found, 0.0) if (kin > 0.2).sum() > len(asked) else kin + found


def _reasons(
    desk: Desk, past: Past, table: Candidates, score: Floats, rows: Ints, ranker: Ranker
) -> tuple[Ints, Floats]:
    """Of each listed candidate of one customer the item of their past whose removal lowers its score most (−1: none does), and by how much.

    Tried are the item itself, where it was bought, and the SPEAKING that are nearest to it. Each is taken away once, as if another customer had
    not done it, and all such customers are scored together.
    """
    seen = past.before(desk.learned.day)
    met, items = np.unique(seen.item), table.item[rows]
    none = np.full(len(rows), -1, np.int64), np.zeros(len(rows))
    if not len(met) or not len(rows):
        return none
    near = np.asarray((desk.learned.near[met][:, items] + desk.learned.goes[met][:, items]).toarray())  # (M, K)
    near[met[:, None] == items[None, :]] = np.inf
    tried = np.argsort(-near, axis=0, kind="stable")[:SPEAKING]  # (S, K) places in met
    speaks = np.take_along_axis(near, tried, axis=0) > 0
    gone = np.unique(tried[speaks])
    if not len(gone):
        return none
    scores = candidates(desk.learned, (rest := _each_without(past, met[gone])), desk.shelf)
    less = table_of(scores, desk.learned, rest, desk.shelf)
    key = less.user * len(desk.shelf) + less.item
    wanted = (
        np.searchsorted(gone, tried) * len(desk.shelf) + items
    )  # (S, K); of what does not speak it is not looked at
    at = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
    left = (
        np.where(key[at] == wanted, ranker.score(less.values)[at], -np.inf)
        if len(key)
        else np.full(wanted.shape, -np.inf)
    )
    fall = np.where(speaks, np.minimum(score[rows] - left, MOST), -np.inf)
    best = fall.argmax(axis=0)
    most = fall[best, np.arange(len(rows))]
    return np.where(most > FAINT, met[tried[best, np.arange(len(rows))]], -1), np.where(most > FAINT, most, 0.0)


def _each_without(past: Past, items: Ints) -> Past:
    """As many copies of one customer's past as there are items, each without one of them."""
    kept = past.item[None, :] != items[:, None]  # (G, E)
    user, event = np.nonzero(kept)
    cut = {name: getattr(past, name)[event] for name in ("item", "kind", "day", "known", "order")}
    return Past(tuple(map(str, range(len(items)))), user.astype(np.int64), **cut)


def _source(table: Candidates, row: int) -> str:
    """The source that puts the candidate highest."""
    ranks = {
        name.removesuffix("_rank"): table.values[row, at]
        for at, name in enumerate(table.columns)
        if name.endswith("_rank")
    }
    return min(ranks, key=lambda name: (ranks[name], name == "popular"))


def _fresh(look: Look, past: Past, items: int) -> Look:
    """The look without candidates and answers that the customer had bought before."""
    seen = past.before(look.day).purchases()
    had = np.unique(seen.user * items + seen.item)
    table = look.table.rows(~np.isin(look.table.user * items + look.table.item, had))
    return Look(look.day, look.learned, look.bought[~np.isin(look.bought, had)], look.asked, table)


def _with_new(exam: Exam, look: Look, ranker: Ranker, past: Past, shelf: Shelf, window: int) -> Exam:
    """The exam with the figures of the ranker of new items among `new`."""
    fresh = take_exam(_fresh(look, past, len(shelf)), ranker, {}, past, shelf, window)
    return replace(exam, new=exam.new | {"ranker of new items": fresh.new["ranker"]})


def _drops(rules: RecommendSettings, past: Past) -> bool:
    """Whether home lists leave out what was bought."""
    if rules.owned != "auto":
        return rules.owned == "drop"
    bought = past.purchases()
    days = (
        np.unique(np.stack([bought.user, bought.item, bought.day]), axis=1)
        if len(bought.user)
        else np.zeros((3, 0), np.int64)
    )
    pairs = len(np.unique(days[:2], axis=1).T) if days.shape[1] else 0
    return 1 - pairs / max(days.shape[1], 1) < REPEATS


def _renumbered(past: Past, users: Ints) -> Past:
    """The past of some neighbouring customers, who are numbered from 0."""
    low, high = np.searchsorted(past.user, [users[0], users[-1] + 1])
    cut = {name: getattr(past, name)[low:high] for name in ("user", "item", "kind", "day", "known", "order")}
    return replace(past, users=past.users[users[0] : users[-1] + 1], **cut | {"user": cut["user"] - users[0]})


def _rows(desk: Desk, past: Past, table: Candidates, score: Floats, lists: Lists) -> pa.Table:
    user, place = np.nonzero(lists.row >= 0)
    row = lists.row[user, place]
    names = [name.removesuffix("_rank") for name in table.columns if name.endswith("_rank")]
    ranks = table.values[row][:, [table.columns.index(f"{name}_rank") for name in names]]
    cited = _cited(desk, past, user, table.item[row])
    ids, who = np.array([*desk.shelf.ids, None], dtype=object), np.array(past.users, dtype=object)
    return pa.table(
        [
            pa.array(who[user], pa.string()), pa.array(place + 1, pa.int16()), pa.array(ids[table.item[row]], pa.string()),
            pa.array(score[row]), pa.array(np.array(names, dtype=object)[ranks.argmin(axis=1)], pa.string()), pa.array(ids[cited], pa.string()),
            pa.array(lists.chance[user, place]), pa.array(lists.propensity[user, place]),
            pa.array(np.full(len(row), np.datetime64(desk.as_of))), pa.array([desk.version] * len(row), pa.string()),
        ],
        schema=SCHEMA,
    )  # fmt: skip


def _cited(desk: Desk, past: Past, user: Ints, item: Ints) -> Ints:
    """(N,) of each listed item the one of the customer's past that speaks most for it (itself where it was bought), −1 for none."""
    seen = past.before(desk.learned.day)
    met = seen.matrix(len(desk.shelf), seen.weight)
    towards = csr_matrix((desk.learned.near + desk.learned.goes).T)  # (V, V) from each item to those that speak for it
    size = len(desk.shelf)
    own = np.repeat(np.arange(met.shape[0]), np.diff(met.indptr)) * size + met.indices
    count = np.diff(towards.indptr)[item]
    pair = np.repeat(np.arange(len(item)), count)
    at = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count) + towards.indptr[item][pair]
    speaks = np.where(np.isin(user[pair] * size + towards.indices[at], own), towards.data[at], 0.0)
    order = np.lexsort((speaks, pair))  # the last of each pair's rows is its strongest
    last = np.append(np.flatnonzero(np.diff(pair[order])), len(order) - 1) if len(order) else np.zeros(0, np.int64)
    found = np.full(len(item), -1, np.int64)
    strongest = order[last]
    found[pair[strongest]] = np.where(speaks[strongest] > 0, towards.indices[at[strongest]], -1)
    return np.where(np.isin(user * size + item, own), item, found)


def _sweep(home: Path, kept: set[str]) -> None:
    for place in home.iterdir():
        if place.is_dir() and place.name not in kept:
            shutil.rmtree(place)
