"""The contest of the zoo for one outcome: everything is chosen on training and validation dates, judged once on the test date."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from huaxiang.models.calibrate import Calibration, Method, choose_calibration, fit_calibration
from huaxiang.models.card import Texts, say
from huaxiang.models.curves import best_share
from huaxiang.models.exam import (
    Chosen,
    beats_baseline,
    bootstrap,
    choose_settings,
    cross_scores,
    grouped_folds,
    measure_folds,
    pick_threshold,
)
from huaxiang.models.labelled import SPLITS, Labelled
from huaxiang.models.metrics import Floats, measure, row_losses
from huaxiang.models.zoo import BASELINE, Config
from huaxiang.models.zoo.vector import VectorConfig
from huaxiang.settings import TrainSettings
from huaxiang.words import LANGS, Words


@dataclass(frozen=True)
class Cost:
    """Bytes kept, seconds to train, milliseconds to score one customer."""

    bytes: int = 0
    seconds: float = 0.0
    ms_per_user: float = 0.0


FREE = Cost()


@dataclass
class Entry:
    """One model in the contest; `under`: what the behaviour model costs whose vectors it reads; `valid` are cross-fitted calibrated validation scores, `test` calibrated test scores."""

    chosen: Chosen
    method: Method
    losses: dict[str, float]  # validation loss by calibration method
    valid: Floats
    test: Floats
    threshold: float
    cv: dict[str, dict[str, float]] = field(default_factory=dict)
    test_metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    ms_per_user: float = 0.0
    under: Cost = FREE


@dataclass
class Contest:
    data: Labelled
    entries: dict[str, Entry]
    winner: Entry
    baseline: Entry
    skill: dict[str, Any]  # of the winner on validation: value, low, high, margin, beats
    rule: str  # of the threshold: business or f1

    def truth(self, split: str) -> Floats:
        return self.data.y[self.data.rows(split)]


def why_not(data: Labelled, settings: TrainSettings) -> Texts | None:
    """Why this outcome cannot be learned, or None."""
    if not len(data.y):
        return say("models.why.no_training")
    counts = [len(data.rows(split)) for split in SPLITS]
    if len(data.y) < settings.min_labels or min(counts) < 10:
        return say("models.why.few", count=len(data.y), need=settings.min_labels)
    for split in SPLITS:
        y = data.y[data.rows(split)]
        if len(np.unique(y)) < 2:
            share = f"{y.mean():.0%}" if data.task == "binary" else "–"
            return {
                lang: Words(lang)("models.why.one_class", split=Words(lang)(f"models.split.{split}"), share=share)
                for lang in LANGS
            }
    train = data.x.values[data.rows("train")]
    if (
        not train.shape[1]
        or not (np.nanmax(np.nan_to_num(train), axis=0) > np.nanmin(np.nan_to_num(train), axis=0)).any()
    ):
        return say("models.why.no_features")
    return None


def hold_contest(
    data: Labelled,
    outcome: dict[str, Any],
    entered: Mapping[str, Sequence[Config]],
    settings: TrainSettings,
    done: Callable[[], None],
    *,
    vectors: Cost = FREE,
) -> Contest:
    """Every model entered: settings, calibration and threshold on validation, k-fold by user on training, then the test.

    entered: name -> the settings validation chooses between; the baseline is among them
    vectors: what the behaviour model costs that makes the vectors which some of them read
    """
    business = data.task == "binary" and outcome.get("value") is not None and outcome.get("cost") is not None
    money = (float(outcome["value"]), float(outcome["cost"])) if business else None
    entries: dict[str, Entry] = {}
    for name, grid in entered.items():
        entries[name] = _enter(name, grid, data, settings.seed, money)
        if isinstance(grid[0], VectorConfig):
            entries[name].under = vectors
        done()
    baseline = entries[BASELINE[data.task]]
    valid = data.y[data.rows("valid")]
    rivals = [entry for entry in entries.values() if entry is not baseline]
    winner = min(rivals, key=lambda entry: float(row_losses(data.task, valid, entry.valid).mean()))
    skill = beats_baseline(data.task, valid, winner.valid, baseline.valid, margin=settings.margin, seed=settings.seed)
    for entry in entries.values():
        _cross_validate(entry, data, settings, done)
    for entry in entries.values():
        _test(entry, data, settings.seed)
    held = data.y[data.rows("test")]
    losses = [float(row_losses(data.task, held, entry.test).mean()) for entry in (winner, baseline)]
    # The test date chooses nothing; it may only withhold: what then did worse than the baseline is not shown as a prediction.
    skill |= {"won": skill["beats"], "beats": bool(skill["beats"]) and losses[0] < losses[1]}
    return Contest(data, entries, winner, baseline, skill, "business" if business else "f1")


def _enter(name: str, grid: Sequence[Config], data: Labelled, seed: int, money: tuple[float, float] | None) -> Entry:
    train, valid, test = (data.part(data.rows(split)) for split in SPLITS)
    chosen = choose_settings(name, grid, train, valid, seed=seed, classes=max(2, len(data.classes)))
    start = time.perf_counter()
    scored = chosen.model.score(test[0])
    per_user = (time.perf_counter() - start) * 1000 / len(scored)
    if data.task == "number":
        low = 0.0 if data.y.min() >= 0 else -np.inf
        method: Method = "none"
        losses = {"none": chosen.loss}
        crossed, scored = np.maximum(chosen.valid, low), np.maximum(scored, low)
    elif (
        data.task == "class" and name == BASELINE[data.task]
    ):  # a binary one knows the share on the validation date, as all do
        method, losses, crossed = "none", {"none": chosen.loss}, chosen.valid
    else:
        fold = grouped_folds(data.user[data.rows("valid")], 5, seed=seed)
        method, losses, crossed = choose_calibration(valid[1], chosen.valid, fold)
        scored = (fit_calibration(method, valid[1], chosen.valid) if method != "none" else Calibration()).apply(scored)
    threshold = (
        _business_threshold(valid[1], crossed, *money) if money else pick_threshold(data.task, valid[1], crossed)
    )
    return Entry(chosen, method, losses, crossed, scored, threshold, ms_per_user=per_user)


def _business_threshold(y: Floats, p: Floats, value: float, cost: float) -> float:
    """The probability of the last user worth acting on: midway to the next; 1 where acting on nobody earns most."""
    ordered = np.sort(p)[::-1]
    k = round(best_share(y, p, value=value, cost=cost) * len(y))
    if k == 0:
        return 1.0
    return float((ordered[k - 1] + (ordered[k] if k < len(y) else 0.0)) / 2)


def _cross_validate(entry: Entry, data: Labelled, settings: TrainSettings, done: Callable[[], None]) -> None:
    """k-fold by user over the training dates, with the settings and threshold already chosen; not of models too dear for it."""
    x, y = data.part(data.rows("train"))
    if not entry.chosen.config.spread(len(y)):
        for _ in range(settings.folds):
            done()
        return
    folds = entry.chosen.config.folds(len(y), settings.folds)
    fold = grouped_folds(data.user[data.rows("train")], folds, seed=settings.seed)
    for _ in range(settings.folds - folds):
        done()
    classes = max(2, len(data.classes))
    scored = cross_scores(entry.chosen.config, x, y, fold, seed=settings.seed, classes=classes, done=done)
    entry.cv = measure_folds(data.task, y, scored, fold, entry.threshold)


def _test(entry: Entry, data: Labelled, seed: int) -> None:
    y = data.y[data.rows("test")]
    entry.test_metrics = bootstrap(
        lambda rows: measure(data.task, y[rows], entry.test[rows], threshold=entry.threshold), len(y), seed=seed
    )
