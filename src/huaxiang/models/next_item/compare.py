"""`huaxiang compare`: the next-item models of a shop through the exam, on both splits, as one leaderboard."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from huaxiang.engine import Lake
from huaxiang.errors import ModelError
from huaxiang.models.card import Texts
from huaxiang.models.next_item.again import AgainConfig
from huaxiang.models.next_item.als import AlsConfig
from huaxiang.models.next_item.base import NextConfig
from huaxiang.models.next_item.board import Row, choice_of, choose, enter, fuse
from huaxiang.models.next_item.content import ContentConfig
from huaxiang.models.next_item.ease import EaseConfig
from huaxiang.models.next_item.item_content import From
from huaxiang.models.next_item.lake import count_users, read_shop
from huaxiang.models.next_item.neighbours import NeighboursConfig
from huaxiang.models.next_item.popular import PopularConfig
from huaxiang.models.next_item.sequences import Items, Sequences
from huaxiang.models.next_item.splits import Questions, Split, by_time, leave_one_out, time_cuts
from huaxiang.progress import SILENT, Progress
from huaxiang.words import LANGS

log = logging.getLogger(__name__)
FORMAT = "huaxiang.board/1"
READ = 2_000_000  # events a network reads in all its epochs, about: minutes, not hours
REPEATS = 0.1  # share of validation answers that a customer had already, from which on what was had counts
EVENTS = 10_000_000  # learned from and asked about, at most, about: 0.4 GB, and three times that within a split
ASKED = 20_000  # customers asked on a split, at most
OTHER = "unmasked_ndcg@10"  # the one figure beside the others that takes what was had the other way


@dataclass(frozen=True)
class Entry:
    """One model on one split. valid, test: metric -> mean, sd (0 of one seed), n; seconds to train; ms to score one customer."""

    name: str
    needs: tuple[str, ...]
    valid: Mapping[str, Mapping[str, float]]
    test: Mapping[str, Mapping[str, float]]
    seconds: float
    bytes: int
    ms_per_user: float
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Board:
    """The models of one split, the best on validation first. questions: customers asked in the test; chosen: what validation picks."""

    split: str
    questions: int
    chosen: str
    entries: tuple[Entry, ...]
    repeats: bool = (
        False  # customers take the same again: what they had counts, in what validation picks and in what is shown
    )

    def figure(self, entry: Entry, name: str) -> Mapping[str, float] | None:
        """What the test says of a model in a column of the board: mean, sd, n. Where customers take the same again, what they had counts,
        and is masked in the column OTHER; elsewhere the other way about. None: a comparison of before did not measure it."""
        if self.repeats:
            name = name.removeprefix("unmasked_") if name == OTHER else f"unmasked_{name}"
        return entry.test.get(name)


@dataclass(frozen=True)
class Leaderboard:
    """What a comparison found. users: who were learned from and asked, of `every_user` in the shop; left_out: split -> why it could not
    be asked, by language."""

    users: int
    items: int
    events: int
    seeds: tuple[int, ...]
    boards: tuple[Board, ...]
    left_out: Mapping[str, Texts]
    seconds: float
    every_user: int = 0

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT} | asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Leaderboard:
        saved = json.loads(text)
        saved.pop("format")
        boards = tuple(
            Board(
                **(
                    board
                    | {
                        "entries": tuple(
                            Entry(**(entry | {"needs": tuple(entry["needs"])})) for entry in board["entries"]
                        )
                    }
                )
            )
            for board in saved["boards"]
        )
        left_out = {
            split: why if isinstance(why, dict) else dict.fromkeys(LANGS, why)  # of before: English alone
            for split, why in saved["left_out"].items()
        }
        return cls(**(saved | {"boards": boards, "seeds": tuple(saved["seeds"]), "left_out": left_out}))


def compare_next(
    lake: Lake, *, seeds: Sequence[int], only: Sequence[str] = (), content: From = "auto", progress: Progress = SILENT
) -> Leaderboard:
    """Every next-item model the shop's data can feed, on both splits.

    only: names of models (empty: all); content: whose content vectors of items
    raises: ModelError where no event has an item, no customer can be asked, or `only` names what does not exist
    """
    start = time.perf_counter()
    every, items, _ = read_shop(lake, content, most=EVENTS)
    entered = grids(every, items)
    if unknown := [name for name in only if name not in entered]:
        raise ModelError("models.next.unknown", name=", ".join(unknown), known=", ".join(entered))
    entered = {name: grid for name, grid in entered.items() if not only or name in only}
    boards: list[Board] = []
    left_out: dict[str, Texts] = {}
    for name, make in SPLITS.items():  # one after the other: each holds the events three times
        try:
            split = make(every)
        except ModelError as error:
            left_out[name] = {lang: error.what(lang) for lang in LANGS}
            continue
        boards.append(_compare(few(split, seeds[0]), items, entered, seeds, progress))
        del split
    if not boards:
        raise ModelError("models.next.short", split=", ".join(left_out))
    seconds = time.perf_counter() - start
    log.info("compare: %d customers, %d items, %d models, %.1f s", len(every), len(items), len(entered), seconds)
    return Leaderboard(
        len(every),
        len(items),
        len(every.item),
        tuple(seeds),
        tuple(boards),
        left_out,
        round(seconds, 1),
        count_users(lake),
    )


SPLITS: dict[str, Callable[[Sequences], Split]] = {
    "leave-one-out": leave_one_out,
    "by time": lambda every: by_time(every, *time_cuts(every)),
}


def few(split: Split, seed: int) -> Split:
    """The same with ASKED customers asked at most, drawn by `seed`."""

    def drawn(asked: Questions) -> Questions:
        if len(asked) <= ASKED:
            return asked
        return asked.take(np.sort(np.random.default_rng(seed).permutation(len(asked))[:ASKED]))

    return Split(split.name, split.train, drawn(split.valid), drawn(split.test))


def grids(every: Sequences, items: Items) -> dict[str, tuple[NextConfig, ...]]:
    """The models by name, with the settings that validation chooses between: fewer than bench/next_item.py tries."""
    found: dict[str, tuple[NextConfig, ...]] = {
        "popular": (PopularConfig(),),
        "popular_7d": (PopularConfig(days=7),),
        "again": (AgainConfig(),),
    }
    if items.tags is not None or items.content is not None:
        looks = (1.0, 0.0, 4.0) if items.tags is not None and items.content is not None else (1.0,)
        found["content"] = tuple(ContentConfig(look=look) for look in looks)
    found["neighbours"] = (
        NeighboursConfig(),
        NeighboursConfig(decay=0.9, to_power=0.0),
        NeighboursConfig(decay=0.95, to_power=0.0, events=100),
    )
    found["ease"] = (EaseConfig(most=6000),)
    if find_spec("implicit") is not None:
        found["als"] = (AlsConfig(),)
    if find_spec("torch") is not None:
        from huaxiang.models.behaviour import BehaviourConfig, fitting, size_for, sized

        events = len(every.item)
        base = sized(BehaviourConfig(epochs=20, rate=2e-3, decay=True, patience=3), size_for(events))
        base = fitting(base, events, len(items), reads=READ)
        found["gru"] = (_with(base, encoder="gru", layers=1),)
        found["cnn"] = (_with(base, encoder="cnn"),)
        found["transformer"] = (base,)
        known = {
            "tags": items.tags,
            "content": items.content,
            "kinds": every.kind,
            "times": every.ts,
            "prices": every.price,
        }
        reads = {name: of is not None for name, of in known.items()}
        if any(reads.values()):  # else it is the Transformer
            found["behaviour"] = (_with(base, **reads, id_dropout=0.1),)
    return found


def _with(config: Any, **changed: Any) -> Any:
    from dataclasses import replace

    return replace(config, **changed)


def _compare(
    split: Split, items: Items, entered: Mapping[str, tuple[NextConfig, ...]], seeds: Sequence[int], progress: Progress
) -> Board:
    rows: dict[str, Row] = {}
    repeats = share_had(split.valid) >= REPEATS
    with progress.task("compare", split.name, len(entered)) as advance:
        for name, grid in entered.items():
            learned = name in ("als", "gru", "cnn", "transformer", "behaviour")
            if repeats:  # a network then stops, too, by what counts what was had
                grid = tuple(_with(one, repeats=True) if hasattr(one, "repeats") else one for one in grid)
            rows[name] = enter(name, grid, split, items, seeds=seeds if learned else seeds[:1], masked=not repeats)
            advance(1)
        if len(rows) > 1:
            rows["fusion"] = fuse(dict(rows), split, items, rivals=list(rows.values()), masked=not repeats)
    choice = choice_of(masked=not repeats)
    ordered = sorted(rows.values(), key=lambda row: -row.mean(choice, "valid"))
    return Board(split.name, len(split.test), choose(ordered, choice).name, tuple(map(_entry, ordered)), repeats)


def share_had(asked: Questions) -> float:
    """The share of questions whose answer the customer had already."""
    had = np.zeros(len(asked), dtype=bool)
    np.logical_or.at(had, asked.history.user, asked.history.item == asked.target[asked.history.user])
    return float(had.mean()) if len(asked) else 0.0


def _entry(row: Row) -> Entry:
    def told(found: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
        return {
            metric: {
                "mean": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
                "n": len(values),
            }
            for metric, values in found.items()
        }

    config = (
        json.loads(json.dumps(asdict(row.config)))
        if row.config is not None
        else {"parts": list(row.parts), "weights": [list(one.weights) for one in row.models]}
    )
    return Entry(
        row.name,
        row.needs,
        told(row.valid),
        told(row.test),
        float(np.mean(row.seconds)),
        row.bytes,
        row.ms_per_user,
        config,
    )
