"""`huaxiang table`: any plain table (features in columns, a label) through the exam, with a score card at the end.

Everything that learns is fitted inside the fold: filling, standardising, levels of categories, settings, early stopping
and the threshold (largest F1 on an inner fifth of the training folds). The judged fold sees only finished models.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from huaxiang.engine import Engine
from huaxiang.errors import ModelError
from huaxiang.models.card import ModelScore, ScoreCard, Texts, learner_versions, plain
from huaxiang.models.exam import Index, choose_settings, pick_threshold, size_bytes, spread_over_folds, stratified_folds
from huaxiang.models.judge import judge_curves, judge_importance
from huaxiang.models.metrics import LOSS, METRICS, Floats, measure
from huaxiang.models.show import show_table
from huaxiang.models.table_data import TableData, read_table
from huaxiang.models.zoo import BASELINE, Config, Model, grids, make_model
from huaxiang.progress import SILENT, Progress

__all__ = ["TableReport", "run_table", "show_table"]

log = logging.getLogger(__name__)
SEED = 20260101
INNER = 5  # one inner fifth of the training folds chooses settings and threshold


@dataclass(frozen=True)
class TableReport:
    """`models`: name -> metric -> {mean, sd} over folds. `card` holds the same and more, as for a shop's outcome."""

    name: str
    label: str
    positive: str  # the label's value that counts as yes ("" unless binary)
    folds: int
    best: str
    models: dict[str, dict[str, dict[str, float]]]
    kinds: dict[str, str]
    card: ScoreCard
    notes: list[Texts] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """What `huaxiang table --json` prints: the best model, and each model's cross-validated mean and sd."""
        found = plain({"best": self.best, "models": self.models})
        assert isinstance(found, dict)
        return found

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)


@dataclass
class _Taken:
    """One model's exam, fold by fold."""

    scores: Floats
    config: Config
    tried: list[dict[str, Any]] = field(default_factory=list)
    folds: list[dict[str, float]] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    seconds: float = 0.0


def run_table(
    path: Path | str,
    label: str = "last",
    *,
    folds: int = 5,
    seed: int = SEED,
    task: str = "auto",
    progress: Progress = SILENT,
) -> TableReport:
    """The zoo's cross-validated exam on the table at `path` (CSV, TSV, Parquet; plain or gzipped text).

    raises: SourceError where the file cannot be read, ModelError where its label cannot be learned
    """
    start = time.perf_counter()
    path = Path(path)
    if folds < 2:
        raise ModelError("models.folds", folds=folds)
    with Engine(memory_gb=1.5, threads=2) as engine:
        data = read_table(path, label, task=task, engine=engine)
    if data.task != "number":
        least = int(np.bincount(data.y.astype(int), minlength=len(data.classes)).min())
        if least < folds:
            raise ModelError("models.label_rare", label=data.label, count=least, folds=folds)
    fold = stratified_folds(data.y, folds, seed=seed, task=data.task)
    zoo = grids(data.task)
    with progress.task("table", path.name, total=len(zoo) * folds) as advance:
        taken = {
            name: _take_exam(name, grid, data, fold, seed=seed, done=lambda: advance(1)) for name, grid in zoo.items()
        }
    report = _report(path, data, fold, taken, folds=folds, seed=seed, seconds=time.perf_counter() - start)
    log.info("table %s: %d rows, best %s, %.1f s", path.name, len(data.y), report.best, report.card.seconds)
    return report


def _take_exam(
    name: str, grid: tuple[Config, ...], data: TableData, fold: Index, *, seed: int, done: Callable[[], None]
) -> _Taken:
    start = time.perf_counter()
    classes = max(2, len(data.classes))
    taken = _Taken(np.zeros((len(data.y), classes) if data.task == "class" else len(data.y)), grid[0])
    for k in np.unique(fold):
        inside, out = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        config, threshold, taken.tried = _choose_inside(name, grid, data, inside, seed=seed)
        model = make_model(config).fit(data.x.rows(inside), data.y[inside], seed=seed, classes=classes)
        taken.scores[out] = model.score(data.x.rows(out))
        taken.config = config
        taken.thresholds.append(threshold)
        taken.folds.append(measure(data.task, data.y[out], taken.scores[out], threshold=threshold))
        done()
    taken.seconds = time.perf_counter() - start
    return taken


def _choose_inside(
    name: str, grid: tuple[Config, ...], data: TableData, rows: Index, *, seed: int
) -> tuple[Config, float, list[dict[str, Any]]]:
    """Settings and threshold chosen on an inner fifth of `rows`."""
    inner = stratified_folds(data.y[rows], INNER, seed=seed, task=data.task)
    train, valid = rows[inner != 0], rows[inner == 0]
    chosen = choose_settings(
        name,
        grid,
        (data.x.rows(train), data.y[train]),
        (data.x.rows(valid), data.y[valid]),
        seed=seed,
        classes=max(2, len(data.classes)),
    )
    return chosen.config, pick_threshold(data.task, data.y[valid], chosen.valid), chosen.tried


def _report(
    path: Path, data: TableData, fold: Index, taken: dict[str, _Taken], *, folds: int, seed: int, seconds: float
) -> TableReport:
    baseline, loss = BASELINE[data.task], LOSS[data.task]
    spread = {name: spread_over_folds(one.folds) for name, one in taken.items()}
    best = min((name for name in taken if name != baseline), key=lambda name: spread[name][loss]["mean"])
    model = make_model(taken[best].config).fit(data.x, data.y, seed=seed, classes=max(2, len(data.classes)))
    curves = judge_curves(data.task, data.y, taken[best].scores, seed=seed)
    gap = 1 - spread[best][loss]["mean"] / spread[baseline][loss]["mean"] if spread[baseline][loss]["mean"] else 0.0
    card = ScoreCard(
        outcome=data.label,
        kind=data.task,
        status="trained" if gap > 0 else "null",
        worth_using=gap > 0,
        meaning={"en": data.label, "zh": data.label},
        why=_why(best, data.task, spread[best][loss]["mean"], folds),
        model=best,
        baseline=baseline,
        classes=data.classes,
        data=_counts(data),
        models=[_score(name, one, spread[name], data, seed=seed) for name, one in taken.items()],
        skill={"value": gap, "loss": loss},
        threshold={"value": float(np.mean(taken[best].thresholds)), "rule": "f1", "chosen_on": "inner"}
        if data.task == "binary"
        else {},
        calibration={"method": "none"} | curves["calibration"],
        lift=curves["lift"],
        gains=curves["gains"],
        importance=judge_importance(model, data.x, seed=seed),
        seed=seed,
        seconds=seconds,
        bytes=size_bytes(model),
        versions=learner_versions(),
    )
    models = {
        name: {metric: {key: found[key] for key in ("mean", "sd")} for metric, found in spread[name].items()}
        for name in taken
        if name != baseline
    }
    for name in models:
        models[name] = {
            metric: models[name].get(metric, {"mean": float("nan"), "sd": float("nan")})
            for metric in METRICS[data.task]
        }
    positive = data.classes[1] if data.task == "binary" else ""
    return TableReport(path.name, data.label, positive, folds, best, models, data.kinds, card, data.notes)


def _why(best: str, task: str, value: float, folds: int) -> Texts:
    from huaxiang.words import LANGS, Words

    return {
        lang: Words(lang)(
            "models.why.table",
            model=Words(lang)(f"models.name.{best}"),
            loss=Words(lang)(f"models.metric.{LOSS[task]}"),  # type: ignore[index]
            value=f"{value:.4g}",
            folds=folds,
        )
        for lang in LANGS
    }


def _counts(data: TableData) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": {"all": len(data.y)}, "features": len(data.x.columns)}
    if data.task == "binary":
        found |= {"positives": {"all": int(data.y.sum())}, "base_rate": {"all": float(data.y.mean())}}
    elif data.task == "number":
        found |= {"mean": {"all": float(data.y.mean())}, "sd": {"all": float(data.y.std())}}
    else:
        counts = np.bincount(data.y.astype(int), minlength=len(data.classes))
        found["classes"] = {name: int(count) for name, count in zip(data.classes, counts, strict=True)}
    return found


def _score(name: str, taken: _Taken, spread: dict[str, dict[str, float]], data: TableData, *, seed: int) -> ModelScore:
    start = time.perf_counter()
    classes = max(2, len(data.classes))
    model: Model = make_model(taken.config).fit(data.x, data.y, seed=seed, classes=classes)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    model.score(data.x)
    per_user = (time.perf_counter() - start) * 1000 / len(data.y)
    return ModelScore(
        name=name,
        settings=vars(model.config) | {},
        tried=taken.tried,
        cv=spread,
        valid={},
        test={},
        threshold=float(np.mean(taken.thresholds)) if data.task == "binary" else None,
        calibration="none",
        seconds=seconds,
        bytes=size_bytes(model),
        ms_per_user=per_user,
    )
