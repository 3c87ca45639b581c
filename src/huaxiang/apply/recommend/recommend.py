"""What `Shop.recommend` gives: it learns, lists for every customer, and answers for one, at any place of the shop."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from huaxiang.apply.recommend.behaviour import NAME as BEHAVIOUR
from huaxiang.apply.recommend.behaviour import find_foreseer
from huaxiang.apply.recommend.desk import Desk
from huaxiang.apply.recommend.exam import WITH, WITHOUT, Exam, choose_order, take_exam
from huaxiang.apply.recommend.known import PROFILE, known_at
from huaxiang.apply.recommend.learn import Look, Order, fit_ranker, look_back
from huaxiang.apply.recommend.logged import Naming, estimate_log
from huaxiang.apply.recommend.offpolicy import OffPolicy
from huaxiang.apply.recommend.past import Past, count_fakes, day_of, read_past, read_shelf, with_quiet
from huaxiang.apply.recommend.places import PLACES, Shown, show_again, show_beside, show_list
from huaxiang.apply.recommend.reader import Reader
from huaxiang.apply.recommend.sources import Made, learn_sources
from huaxiang.apply.recommend.store import load_desk, save_desk
from huaxiang.apply.recommend.versions import shelves_at
from huaxiang.apply.recommend.written import TABLE, blocks_of, write_lists
from huaxiang.engine import Lake
from huaxiang.errors import ModelError
from huaxiang.models.rank import Ranker
from huaxiang.progress import SILENT, Advance, Progress
from huaxiang.settings import Settings

STEP = "recommend"
REPEATS = 0.1  # share of purchases that repeat, from which on what was bought is shown again


class Recommend:
    """raises: ShopError before a build; ModelError where too few buy, or nothing was learned yet"""

    def __init__(
        self,
        lake: Lake,
        settings: Settings,
        folder: Path,
        progress: Progress = SILENT,
        *,
        naming: Naming | None = None,
    ) -> None:
        """naming: the pseudonyms of the shop's own ids, for logs (None: they hold pseudonyms)"""
        self.lake = lake
        self.settings = settings
        self.folder = folder  # models/
        self.progress = progress
        self.naming = naming
        self._desk: Desk | None = None
        self._reader: Reader | None = None
        self._stamp: tuple[int, ...] = ()  # of the lake when it was looked at last
        self._known: tuple[str, int] = ("", -1)  # the lists' version and the items', as they were then

    def train(self, *, seed: int | None = None) -> Exam:
        """Learns, takes the exam, and writes `recommendations`, the home list of every customer."""
        chance = self.settings.train.seed if seed is None else seed
        shelf = read_shelf(self.lake)
        today = day_of(str(self.lake.note("build")["as_of"]))
        past = read_past(self.lake, shelf, before=today)
        if not len(past.user):
            raise ModelError("recommend.no_events")
        window = self.settings.recommend.window_days
        items, first = len(shelf), today - 3 * window
        foreseer = find_foreseer(self.lake, self.folder, shelf, before=first, users=len(past.users))
        extra: dict[str, Made] = {BEHAVIOUR: foreseer} if foreseer is not None else {}
        days = [today - back * window for back in (3, 2, 1)]
        with self.progress.task("recommend", "exam", 8) as advance:
            then = zip(
                days,
                shelves_at(self.lake, shelf, days, zone=self.settings.shop.timezone),
                known_at(self.lake, self.settings, past.users, days),
                strict=True,
            )
            advance(1)
            looks: list[Look] = []
            for day, held, profile in then:
                looks.append(look_back(past, held, day, window=window, seed=chance, extra=extra, profile=profile))
                advance(1)
            orders, valid, rivals = self._fit(looks, past, items, chance, advance)
            exam = take_exam(looks[2], orders, rivals, past, items, window, valid=valid, seed=chance)
            advance(1)
            desk = Desk(
                shelf,
                learn_sources(past, shelf, today, extra),
                orders,
                _seldom_again(past),
                "",
                str(date(1970, 1, 1) + timedelta(days=today)),
            )
            desk = save_desk(desk, self.folder / STEP)
            advance(1)
        self._write(desk, past, exam)
        return exam

    def _fit(
        self, looks: Sequence[Look], past: Past, items: int, seed: int, advance: Advance
    ) -> tuple[dict[str, Order], dict[str, dict[str, float]], dict[str, Ranker]]:
        """The orders, what each did on the window that ended the learning, and the rankers that stand beside the list in the exam."""
        orders: dict[str, Order] = {}
        valid: dict[str, dict[str, float]] = {}
        rivals: dict[str, Ranker] = {}
        for name in ("any", "new"):
            train, stop = (look if name == "any" else _fresh(look, past, items) for look in looks[:2])
            full, plain = fit_ranker(train, stop, items, seed=seed), None
            if past.profile.size:
                plain = fit_ranker(train, stop, items, seed=seed, without=(PROFILE,))
            orders[name], valid[name] = choose_order(full, stop, items, plain=plain)
            if plain is not None and name == "any":
                rivals[WITHOUT] = plain
                if orders[name].ranker is plain:
                    rivals[WITH] = full
            advance(1)
        for source in looks[0].table.sources:
            rivals[f"without {source}"] = fit_ranker(looks[0], looks[1], items, seed=seed, without=(source,))
        return orders, valid, rivals

    def _write(self, desk: Desk, past: Past, exam: Exam) -> None:
        past = with_quiet(self.lake, past)
        with self.lake.step(STEP) as step, self.progress.task("recommend", TABLE, blocks_of(past)) as advance:
            write_lists(step, desk, past, self.settings.recommend, seed=self.settings.train.seed, advance=advance)
            step.note |= {
                "version": desk.version,
                "as_of": desk.as_of,
                "exam": asdict(exam),
                "drop_owned": desk.drops(self.settings.recommend),
                "fakes": count_fakes(self.lake),
            }
        _sweep(self.folder / STEP, {desk.version})

    @property
    def desk(self) -> Desk:
        """What the last training learned, with the items as they are now."""
        if self._stamp != (stamp := self.lake.stamp()):
            tables = self.lake.manifest().tables
            known = (
                self.lake.note(STEP).get("version", ""),
                tables["ready.items"].version if "ready.items" in tables else -1,
            )
            if self._stamp and self._known != known:
                self._desk = self._reader = None
            self._stamp, self._known = stamp, known
        if self._desk is None:
            version = self._known[0]
            if not version:
                raise ModelError("recommend.not_trained")
            self._desk = load_desk(self.folder / STEP / version, read_shelf(self.lake))
        return self._desk

    def past_of(self, user_id: str) -> Past:
        """What one customer did, and what was known of it before the day of the lists: an answer for one is as of the same day as the
        table `recommendations`, whatever was built since. After the first of many it stays at hand."""
        desk = self.desk
        if self._reader is None or self._reader.shelf is not desk.shelf:
            self._reader = Reader(self.lake, desk.shelf, self.settings, day=desk.learned.day, profiled=desk.profiled)
        return self._reader.past_of(user_id)

    def fakes(self) -> dict[str, int]:
        """orders, events: that the last training left out, since the guard holds them fake."""
        return {"orders": 0, "events": 0} | self.lake.note(STEP).get("fakes", {})

    def exam(self) -> Exam | None:
        found = self.lake.note(STEP).get("exam")
        return Exam(**found) if found else None

    def estimate(self, log: Path) -> OffPolicy:
        """What other lists would have earned an impression, from a CSV or Parquet log of what was shown, with which chance, and what came of it
        (logged.py: its columns): the lists that the table `recommendations` holds, or, where the log has a column `wanted`, any other."""
        return estimate_log(self.lake, log, naming=self.naming, seed=self.settings.train.seed)

    def show(
        self,
        user_id: str,
        *,
        place: str = "home",
        items: Sequence[str] = (),
        count: int = 0,
        now: datetime | None = None,
    ) -> list[Shown]:
        """What to show one customer (a pseudonym; one without a past gets what is popular now in the shop).

        place: one of PLACES; items: the item looked at, or the basket, for `item` and `goes`; now: the moment asked (default: this one), which
        decides what exploration draws: another one at the next moment, and for the next customer
        """
        if place not in PLACES:
            raise ModelError("recommend.place", place=place, known=", ".join(PLACES))
        desk, rules = self.desk, self.settings.recommend
        count = count or rules.count
        if place in ("item", "goes"):
            if not items:
                raise ModelError("recommend.beside", place=place)
            return show_beside(desk, self.past_of(user_id), rules, place=place, items=items, count=count)
        past = self.past_of(user_id)
        if place == "again":
            return show_again(desk, past, rules, count)
        seed = _drawn_by(self.settings.train.seed, user_id, now or datetime.now(UTC))
        return show_list(desk, past, rules, place=place, count=count, seed=seed)


def _drawn_by(seed: int, user_id: str, now: datetime) -> tuple[int, int]:
    """What exploration draws from: the shop's seed, this customer and this moment."""
    said = hashlib.sha256(f"{user_id} {now.isoformat()}".encode()).digest()
    return seed, int.from_bytes(said[:8], "big")


def _fresh(look: Look, past: Past, items: int) -> Look:
    """The look without candidates and answers that the customer had bought before."""
    seen = past.before(look.day).purchases()
    had = np.unique(seen.user * items + seen.item)
    table = look.table.rows(~np.isin(look.table.user * items + look.table.item, had))
    return Look(look.day, look.learned, look.bought[~np.isin(look.bought, had)], look.asked, table)


def _seldom_again(past: Past) -> bool:
    """Whether fewer than REPEATS of the purchases repeat one of the same item."""
    bought = past.purchases()
    days = (
        np.unique(np.stack([bought.user, bought.item, bought.day]), axis=1)
        if len(bought.user)
        else np.zeros((3, 0), np.int64)
    )
    pairs = len(np.unique(days[:2], axis=1).T) if days.shape[1] else 0
    return 1 - pairs / max(days.shape[1], 1) < REPEATS


def _sweep(home: Path, kept: set[str]) -> None:
    for place in home.iterdir():
        if place.is_dir() and place.name not in kept:
            shutil.rmtree(place)
