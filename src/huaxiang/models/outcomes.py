"""Journey step "train": every declared outcome through the exam; winners that beat the baseline predict for every user.

train dates → settings → validation date → winner, calibration, threshold → test date → figures, once
then: refit on all dates, calibrated out of fold, predictions with intervals and reasons
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from huaxiang.engine import Step
from huaxiang.engine.duck import quote
from huaxiang.engine.lake import write_atomically
from huaxiang.models.brought import brought_grids, check_outcomes, sweep_brought
from huaxiang.models.card import ScoreCard, Texts, learner_versions, say
from huaxiang.models.contest import FREE, Contest, Cost, hold_contest, why_not
from huaxiang.models.foresight import training_cost
from huaxiang.models.histories import HistoryReader
from huaxiang.models.labelled import feature_matrix, numeric_features, read_labelled
from huaxiang.models.metrics import Task
from huaxiang.models.next_item.sequences import Floats, Sequences
from huaxiang.models.past import Past
from huaxiang.models.predictor import SCHEMA, Predictor, finish_predictor, save_predictor
from huaxiang.models.scoring import make_card
from huaxiang.models.zoo import Config, Matrix, grids, sequence_grids, vector_boosting, vector_grids
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings
from huaxiang.settings.train import Zoo
from huaxiang.words import LANGS

log = logging.getLogger(__name__)
BATCH = 50_000  # users scored at a time


class Scorer(Protocol):
    """Where every customer is scored: here by DuckDB, or by Spark (spark_scoring.py)."""

    def add(self, outcome: dict[str, Any], predictor: Predictor, version: str) -> None:
        """Predict for all the outcome is about."""

    def finish(self) -> None:
        """Write what is still to be written of `predictions`."""


def train_outcomes(
    step: Step,
    settings: Settings,
    *,
    folder: Path,
    scorer: Scorer | None = None,
    past: Past | None = None,
    progress: Progress = SILENT,
) -> list[ScoreCard]:
    """The score card of each outcome of the last build; writes `predictions` and models/<outcome>/<version>/.

    past: the behaviour model of before the validation dates, whose vectors models may read
    An outcome that cannot be learned gets a card that says why; a shop that declares none gets no card.
    """
    built = step.lake.note("build")
    outcomes: list[dict[str, Any]] = built.get("outcomes", [])
    unbuilt: dict[str, str] = built.get("skipped_outcomes", {})
    if not outcomes and not unbuilt:
        log.info("train: the shop declares no outcome")
    wanted = {name: model.outcome for name, model in settings.models.items()}
    check_outcomes(wanted, [*(str(one["name"]) for one in outcomes), *unbuilt])
    histories = HistoryReader.of(step, settings) if scorer is None else None  # on Spark events stay with the cluster
    vectors = None
    if histories is not None and past is not None:
        vectors = _Vectors(past, folder)
        histories = replace(histories, embed=vectors.embed, embedded=past.embedded)
    learned = None  # what the contest reads of events
    if histories is not None and (past is not None or settings.train.zoo == "full"):
        learned = replace(histories, vectors_only=settings.train.zoo == "quick")
    scorer = scorer or LakeScorer(step, settings, histories)
    cards: list[ScoreCard] = []
    places: dict[str, str] = {}
    for name in unbuilt:
        cards.append(_unbuilt_card(name, settings))
    for outcome in outcomes:
        entered = _entered(outcome["kind"], settings.train.zoo, histories is not None, past)
        brought = sum(one.outcome == outcome["name"] for one in settings.models.values())
        pieces = (len(entered) + brought) * (1 + settings.train.folds) + 2
        with progress.task("train", str(outcome["name"]), total=pieces) as advance:
            card = _train_one(step, outcome, entered, learned, vectors, settings, folder, scorer, lambda: advance(1))
        cards.append(card)
        log.info("train %s: %s, %.1f s", card.outcome, card.model or card.status, card.seconds)
    scorer.finish()
    for card in cards:
        place = Path(card.outcome) / (card.version or "none")
        (folder / place).mkdir(parents=True, exist_ok=True)
        write_atomically(folder / place / "card.json", card.to_json())
        places[card.outcome] = str(place / "card.json")
    _sweep(folder, step.lake.note("train").get("cards", {}), places)
    sweep_brought(folder, settings.models)
    step.note["cards"] = places
    return cards


def _entered(task: Task, zoo: Zoo, reads_events: bool, past: Past | None) -> dict[str, tuple[Config, ...]]:
    """The models that take part, the baseline first; those of `full` only where asked for."""
    entered = grids(task)
    if reads_events and zoo == "full":
        entered |= sequence_grids(task)
    if reads_events and past is not None:
        entered |= vector_grids(task, past.version)
        if zoo == "full":
            entered |= vector_boosting(task, past.version)
    return entered


class _Vectors:
    """Makes the vectors of customers, and knows what that costs."""

    def __init__(self, past: Past, folder: Path) -> None:
        self._past = past
        self._bytes, self._seconds = training_cost(folder, past.version)
        self._rows, self._spent = 0, 0.0

    def embed(self, events: Sequences) -> Floats:
        start = time.perf_counter()
        made = self._past.embed(events)
        self._rows, self._spent = self._rows + len(events), self._spent + time.perf_counter() - start
        return made

    def cost(self) -> Cost:
        """Of the behaviour model, and so of everything that reads its vectors."""
        return Cost(self._bytes, self._seconds, self._spent * 1000 / max(self._rows, 1))


def _train_one(
    step: Step,
    outcome: dict[str, Any],
    entered: dict[str, tuple[Config, ...]],
    histories: HistoryReader | None,
    vectors: _Vectors | None,
    settings: Settings,
    folder: Path,
    scorer: Scorer,
    done: Callable[[], None],
) -> ScoreCard:
    start = time.perf_counter()
    train = settings.train
    declared = settings.outcomes.get(outcome["name"])
    if declared is not None:  # the build fills in default money; whether it was declared decides the threshold's rule
        outcome = outcome | {"value": declared.value, "cost": declared.cost}
    data = read_labelled(
        step, outcome["name"], outcome["kind"], max_rows=train.max_rows, seed=train.seed, histories=histories
    )
    why = why_not(data, train)
    if why is not None:
        return make_card(outcome, data, None, None, None, why=why, settings=train, seconds=time.perf_counter() - start)
    entered = dict(entered) | brought_grids(data, outcome["name"], settings.models, folder)
    contest = hold_contest(data, outcome, entered, train, done, vectors=vectors.cost() if vectors else FREE)
    done()
    predictor = version = None
    if contest.skill["beats"]:
        predictor = _predictor(outcome, contest, settings)
        place = save_predictor(predictor, folder)
        version = place.name
        scorer.add(outcome, predictor, version)
    done()
    card = make_card(outcome, data, contest, predictor, version, why=None, settings=train, seconds=0.0)
    return replace(card, seconds=time.perf_counter() - start)


def _predictor(outcome: dict[str, Any], contest: Contest, settings: Settings) -> Predictor:
    entry = contest.winner
    return finish_predictor(
        outcome["name"],
        entry.chosen.name,
        entry.chosen.config,
        contest.data,
        method=entry.method,
        threshold=entry.threshold if contest.data.task == "binary" else None,
        folds=settings.train.folds,
        level=settings.train.interval,
        seed=settings.train.seed,
    )


class LakeScorer:
    """Scores the `features` of the shop's own lake, batch by batch."""

    def __init__(self, step: Step, settings: Settings, histories: HistoryReader | None = None) -> None:
        self._step = step
        self._histories = histories
        self._settings = settings
        step.replace("predictions", SCHEMA.empty_table())

    def add(self, outcome: dict[str, Any], predictor: Predictor, version: str) -> None:
        step = self._step
        columns = tuple(numeric_features(step, "training"))
        features = "".join(f', f."{name}"::DOUBLE AS "{name}"' for name in columns)
        histories = None
        if predictor.model.config.reads_history:
            histories = self._histories or HistoryReader.of(step, self._settings)
        people = _population(step, outcome, self._settings)
        query = f"SELECT f.user_id, f.as_of::TIMESTAMP AS as_of{features} FROM ({people}) f"
        made: list[pa.Table] = []
        for batch in step.lake.engine.batches(query, BATCH):
            if batch.num_rows:
                users, as_of = batch.column("user_id"), batch.column("as_of")
                x = feature_matrix(batch, columns)
                if histories is not None:
                    dates = np.datetime_as_string(as_of.to_numpy(zero_copy_only=False).astype("datetime64[D]"))
                    x = Matrix(x.columns, x.values, history=histories.read(users, dates))
                made.append(predictor.predict(users, as_of, x, version))
            if len(made) == 4:
                step.append("predictions", pa.concat_tables(made))
                made = []
        if made:
            step.append("predictions", pa.concat_tables(made))

    def finish(self) -> None:
        """Every batch is written already."""


def _unbuilt_card(name: str, settings: Settings) -> ScoreCard:
    """The card of an outcome the build could make no labels for."""
    from huaxiang.features.build import check_definitions

    declared = settings.outcomes.get(name)
    kinds: dict[str, Task] = {found.name: found.kind for found in check_definitions(settings)[1]}
    task = kinds.get(name, "binary")
    text = (declared.meaning if declared else "") or name
    meaning: Texts = dict.fromkeys(LANGS, text)
    why = say("models.why.no_training")
    return ScoreCard(name, task, "skipped", False, meaning, why, seed=settings.train.seed, versions=learner_versions())


def _population(step: Step, outcome: dict[str, Any], settings: Settings) -> str:
    """SQL of the rows of `features` to predict for: a declared attribute for those who did not declare it."""
    engine = step.lake.engine
    declared = settings.outcomes.get(outcome["name"])
    wheres = ["true"]
    if declared is not None and declared.among:
        from huaxiang.features.build import check_definitions

        wheres += [found.among.sql for found in check_definitions(settings)[1] if found.name == outcome["name"]]
    attribute = outcome.get("attribute") or (declared.attribute if declared is not None else "")
    if attribute:
        labels = engine.sql(step.table("labels"))
        wheres.append(f"user_id NOT IN (SELECT user_id FROM ({labels}) WHERE outcome = {quote(outcome['name'])})")
        wheres += _undeclared(step, attribute.removeprefix("users."))
    return (
        f"SELECT * FROM ({engine.sql(step.table('features'))}) WHERE {' AND '.join(where for where in wheres if where)}"
    )


def _undeclared(step: Step, attribute: str) -> list[str]:
    """Leaves out users who declared `attribute` but are not in labels (a large shop's labels are a sample of users)."""
    if not step.has("ready.users"):
        return []
    users = step.table("ready.users")
    if not {attribute, "filled", "user_id"} <= set(users.columns):
        return []
    declared = f"{attribute} IS NOT NULL AND NOT coalesce(list_contains(filled, {quote(attribute)}), false)"
    return [
        f"user_id NOT IN (SELECT user_id FROM ({step.lake.engine.sql(users)}) WHERE {declared} AND user_id IS NOT NULL)"
    ]


def _sweep(folder: Path, before: dict[str, str], now: dict[str, str]) -> None:
    """Delete model folders that neither this training nor the last (still open in other processes) names."""
    kept = {folder / Path(place).parent for place in (*before.values(), *now.values())}
    for name in now:
        for place in (folder / name).iterdir():
            if place.is_dir() and place not in kept:
                shutil.rmtree(place)
