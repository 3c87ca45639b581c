"""Part of journey step "train": the behaviour model learns from every customer's events, without labels, and speaks of every customer.

sequences, piece by piece, into a file → training, stopped by customers whose last item is held out → the simple models and the fusion
→ the one that foresees best on other customers held out → table `behaviour`: a vector, the items likely next, the customers
most alike.

It takes part only where it can: without PyTorch, without items, or with too few customers, `behaviour` is empty and the note says why.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from huaxiang.engine import Step
from huaxiang.errors import ModelError
from huaxiang.models.behaviour_table import MAP, MAP_SCHEMA, SCHEMA, TABLE, write_table
from huaxiang.models.card import Texts, say
from huaxiang.models.next_item.again import Again, AgainConfig
from huaxiang.models.next_item.base import Scorer
from huaxiang.models.next_item.content import Content, ContentConfig
from huaxiang.models.next_item.fusion import candidates, cross_ranks, fit_fusion, gains
from huaxiang.models.next_item.lake import ShopItems, count_users, pieces_of, read_items, read_pieces
from huaxiang.models.next_item.neighbours import Neighbours, NeighboursConfig
from huaxiang.models.next_item.popular import Popular, PopularConfig
from huaxiang.models.next_item.ranking import rank_targets
from huaxiang.models.next_item.sequences import Items, Sequences, joined
from huaxiang.models.next_item.splits import Questions
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import BehaviourSettings, Settings
from huaxiang.words import Words

log = logging.getLogger(__name__)

LEAST_USERS = 20  # with three events at least: fewer cannot be held out
ASKED = 4_000  # customers held out, at most; half stop the training, half judge
SHARE = 0.2  # of the customers held out, at most
LEARNED = 1_000  # events of a customer that are learned from, the last ones; the behaviour model reads fewer where [behaviour] reads says so
SHORTEST = 50
SIMPLE_EVENTS = 1_000_000  # the simple models learn from so many, about


@dataclass(frozen=True)
class Held:
    """Customers whose last item is asked: `stop` ends the training, weighs the fusion and chooses; `judge` says how good that is."""

    stop: Questions
    judge: Questions


def pretrain(step: Step, settings: Settings, *, folder: Path, progress: Progress = SILENT) -> str:
    """Trains, and writes the table `behaviour`; gives the version of what was learned ("" where nothing was)."""
    start = time.perf_counter()
    step.replace(TABLE, SCHEMA.empty_table())
    step.replace(MAP, MAP_SCHEMA.empty_table())
    why = why_not(step, settings)
    if why is None:
        try:
            return _pretrain(step, settings, folder, progress, start)
        except TooFewError:
            why = say("models.behaviour.why.few", need=LEAST_USERS)
    skip(step, why)
    return ""


def skip(step: Step, why: Texts) -> None:
    """Leaves an empty `behaviour`, and why."""
    step.replace(TABLE, SCHEMA.empty_table())
    step.replace(MAP, MAP_SCHEMA.empty_table())
    step.note[TABLE] = {"status": "skipped", "why": why}
    log.info("behaviour model: skipped: %s", why["en"])


class TooFewError(Exception):
    """Too few customers can be held out."""


def why_not(step: Step, settings: Settings) -> Texts | None:
    """Why a shop's behaviour model is not trained, or None."""
    if settings.behaviour.size == "off":
        return say("models.behaviour.why.off")
    if find_spec("torch") is None:
        return say("models.behaviour.why.no_torch")
    if not step.has("ready.events"):
        return say("models.behaviour.why.no_events")
    events = step.lake.engine.sql(step.table("ready.events"))
    items = int(step.lake.engine.value(f"SELECT count(DISTINCT item_no) FROM ({events})"))
    return say("models.behaviour.why.no_items", items=items) if items < 2 else None


def _pretrain(step: Step, settings: Settings, folder: Path, progress: Progress, start: float) -> str:
    from huaxiang.models.foresight import HOME, Foresight, save_foresight

    met = read_items(step, settings.behaviour.content)
    lesson = folder / HOME / "lesson"
    model, curve, held, simple, said = train_on(step, settings, met, lesson, progress)
    parts: dict[str, Scorer] = {"behaviour": model} | simple
    named = list(parts.values())
    seen = candidates(named, held.stop, len(met.items), masked=False)
    fusion, _ = fit_fusion(named, held.stop, len(met.items), masked=False, seen=seen)
    listed = settings.behaviour.next_items
    judged = {name: _judge(part, held, met.items, listed) for name, part in [*parts.items(), ("fusion", fusion)]}
    chosen = max(parts, key=lambda name: judged[name]["valid_ndcg@10"])
    crossed = cross_ranks(named, held.stop, len(met.items), masked=False, seen=seen)
    if crossed is not None:
        judged["fusion"] |= _figures(crossed.unmasked, "valid_", listed)
        if gains(crossed.unmasked, rank_targets(parts[chosen].score, held.stop, len(met.items)).unmasked):
            chosen = "fusion"
    found = Foresight(parts, fusion.weights, fusion.floors, chosen, met.items.ids, judged, tuple(curve), said)
    version = save_foresight(found, folder)
    shutil.rmtree(lesson)
    last = step.lake.note("train").get(TABLE, {})
    _sweep(folder / HOME, {version, last.get("version", ""), last.get("past", {}).get("version", ""), "lesson-past"})
    with progress.task(
        "train", Words(settings.shop.language)("models.behaviour.task.score"), pieces_of(step)
    ) as advance:
        users = write_table(step, found, met, settings.behaviour, version, settings.train.seed, advance)
    step.note[TABLE] = {
        "status": "trained", "version": version, "chosen": chosen, "exam": judged, "weights": dict(zip(parts, fusion.weights, strict=True)),
        "curve": curve, "users": users, "items": len(met.items), "seconds": round(time.perf_counter() - start, 1), "asked": len(held.judge), "listed": listed,
        "content": met.content.told(),
    } | said  # fmt: skip
    log.info(
        "behaviour model: %d customers, %d items, %s chosen, %.1f s",
        users,
        len(met.items),
        chosen,
        time.perf_counter() - start,
    )
    return version


def train_on(
    step: Step,
    settings: Settings,
    met: ShopItems,
    lesson: Path,
    progress: Progress,
    *,
    before: date | None = None,
    simple: bool = True,
) -> tuple[Any, list[dict[str, Any]], Held, dict[str, Scorer], dict[str, Any]]:
    """The behaviour model, its curve, who was held out, the simple models, and what is to be said of the training.

    before: learn only from what was known before that day; simple: whether the simple models are wanted
    """
    from huaxiang.models.behaviour.lesson import learn, learn_in_processes, load_lesson, write_lesson

    lesson.mkdir(parents=True, exist_ok=True)
    held, sample, events = _write_sequences(step, met, lesson / "sequences.parquet", settings, before)
    config, size = configure(settings.behaviour, met.items, events)
    write_lesson(lesson, met.items, held.stop, config, settings.train.seed)
    words = Words(settings.shop.language)
    label = words(
        "models.behaviour.task.train" if before is None else "models.behaviour.task.past",
        size=size,
        events=f"{events:,}",
    )
    with progress.task("train", label, 1.0) as advance:
        told = _teller(advance, words, config.epochs)
        if settings.behaviour.processes > 1:
            learn_in_processes(lesson, settings.behaviour.processes, told)
        else:
            learn(lesson, told)
    model, curve = load_lesson(lesson)
    beside: dict[str, Scorer] = (
        {}
        if not simple
        else {
            "neighbours": Neighbours(NeighboursConfig(window=10, keep=200)).fit(
                sample, met.items, seed=settings.train.seed
            ),
            "again": Again(AgainConfig()).fit(sample, met.items, seed=settings.train.seed),
            "popular": Popular(PopularConfig()).fit(sample, met.items, seed=settings.train.seed),
        }
    )
    if simple and met.items.content is not None:
        beside["content"] = Content(ContentConfig()).fit(sample, met.items, seed=settings.train.seed)
    return model, curve, held, beside, {"size": size, "events": events, "parameters": _count(model)}


def configure(settings: BehaviourSettings, items: Items, events: int) -> tuple[Any, str]:
    """The settings of a shop's behaviour model, and its size; events: those it learns from."""
    from huaxiang.models.behaviour import BehaviourConfig, fitting, size_for, sized

    size = size_for(events) if settings.size == "auto" else settings.size
    base = BehaviourConfig(
        tags=items.tags is not None, content=items.content is not None, kinds=True, times=True, prices=True, id_dropout=0.1, patience=2, repeats=True,
        dropout=0.2, input_dropout=0.2, rate=2e-3, decay=True, epochs=settings.epochs, threads=settings.threads, device="auto",
    )  # fmt: skip
    return fitting(sized(base, size), events, len(items), reads=settings.reads), str(size)  # type: ignore[arg-type]


def _teller(advance: Any, words: Words, epochs: int) -> Any:
    """Shows where training stands: epoch, loss, speed, time left."""
    done = 0.0

    def told(said: Mapping[str, float]) -> None:
        nonlocal done
        note = words(
            "models.behaviour.task.stands", epoch=int(said["epoch"]), epochs=epochs, loss=f"{said['loss']:.3f}",
            speed=f"{said['events_per_s']:,.0f}", left=f"{said['left_s']:.0f}",
        )  # fmt: skip
        advance(said["done"] - done, note)
        done = said["done"]

    return told


def _write_sequences(
    step: Step, met: ShopItems, path: Path, settings: Settings, before: date | None
) -> tuple[Held, Sequences, int]:
    """Writes what is learned from, customer by customer; gives those held out, what the simple models learn from, and the events."""
    from huaxiang.models.behaviour.lesson import ask_last
    from huaxiang.models.behaviour.source import sequence_table

    pieces, seed = pieces_of(step), settings.train.seed
    last = _last_read(step, settings.behaviour.reads)
    asked: list[Sequences] = []
    sample: list[Sequences] = []
    enough, events, held_events = 0, 0, 0
    writer: pq.ParquetWriter | None = None
    try:
        for number, (every, _) in enumerate(read_pieces(step, met, pieces=pieces, before=before, last=LEARNED)):
            able = np.flatnonzero(every.lengths >= 3)
            enough += len(able)
            most = min(-(-ASKED // pieces), int(SHARE * len(every)) + 1)
            picked = np.sort(np.random.default_rng([seed, number]).permutation(able)[:most])
            lengths = every.lengths.copy()
            lengths[picked] -= 1
            learned = every.first(lengths)
            asked.append(every.take(picked))
            read = learned.last(last)
            table = sequence_table(read)
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=max(len(learned), 1))
            events += len(read.item)
            if held_events < SIMPLE_EVENTS:
                sample.append(learned)
                held_events += len(learned.item)
    finally:
        if writer is not None:
            writer.close()
    together = joined(asked)
    if len(together) < 2 or enough < LEAST_USERS:
        raise TooFewError
    order = np.random.default_rng(seed).permutation(len(together))
    halves = [np.sort(part) for part in np.array_split(order, 2)]
    stop, judge = (ask_last(together.take(part)) for part in halves)
    return Held(stop, judge), joined(sample), events


def _last_read(step: Step, reads: int) -> int:
    """How many events of each customer, the last ones, the behaviour model learns from, so that an epoch has `reads` at most (where
    nobody has few: then less than that), and SHORTEST of each at least."""
    return min(LEARNED, max(reads // max(count_users(step), 1), SHORTEST))


def _judge(part: Scorer, held: Held, items: Items, listed: int) -> dict[str, float]:
    """How well a model foresees, what was had already included: on those who stopped the training, and on the others; listed: items
    that a profile lists."""
    found: dict[str, float] = {}
    for name, asked in (("valid_", held.stop), ("", held.judge)):
        found |= _figures(rank_targets(part.score, asked, len(items)).unmasked, name, listed)
    return found


def _figures(rank: np.ndarray, name: str, listed: int) -> dict[str, float]:
    """Of ranks (Q,): the share found among ten, and among those a profile lists, and NDCG@10."""
    return {
        f"{name}recall@10": float((rank <= 10).mean()),
        f"{name}recall@listed": float((rank <= listed).mean()),
        f"{name}ndcg@10": float(((rank <= 10) / np.log2(rank + 1)).mean()),
    }


def _count(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.network.parameters())


def _sweep(home: Path, kept: set[str]) -> None:
    for place in home.iterdir():
        if place.is_dir() and place.name not in kept:
            shutil.rmtree(place)


def check_version(note: Mapping[str, Any]) -> str:
    """The version of the behaviour model of the last training; raises ModelError where there is none."""
    said = note.get(TABLE, {})
    if said.get("status") != "trained":
        raise ModelError("models.behaviour.none", why=said.get("why", "-"))
    return str(said["version"])
