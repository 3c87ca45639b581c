"""One exam for every model: folds, the choice of settings on validation data, spread over folds, bootstrap intervals.

Letters: N rows, K classes. A model never sees the rows it is judged on, nor do its preparation, settings, calibration
or threshold.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huaxiang.models.curves import best_threshold
from huaxiang.models.metrics import LOSS, Floats, Task, measure, row_losses
from huaxiang.models.zoo import Config, Matrix, Model, config_to_json, file_bytes, make_model, save_model

Index = NDArray[np.int64]
BOOTSTRAPS = 200
WORK = 4_000_000  # rows × resamples at most: large tests need fewer resamples to know their interval


@dataclass(frozen=True)
class Chosen:
    """A model fitted with the settings that validation data chose, and its validation scores."""

    name: str
    model: Model
    config: Config
    tried: list[dict[str, Any]]
    valid: Floats
    loss: float
    seconds: float


def stratified_folds(y: Floats, folds: int, *, seed: int, task: Task) -> Index:
    """The fold (0 … folds−1) of each row; each class is spread evenly over the folds."""
    random = np.random.default_rng(seed)
    fold = np.empty(len(y), dtype=np.int64)
    strata = np.zeros(len(y)) if task == "number" else y
    start = 0
    for stratum in np.unique(strata):
        rows = random.permutation(np.flatnonzero(strata == stratum))
        fold[rows] = (np.arange(len(rows)) + start) % folds
        start += len(rows)
    return fold


def grouped_folds(groups: NDArray[Any], folds: int, *, seed: int) -> Index:
    """The fold of each row; rows of one group (a user at several dates) always share a fold."""
    _, member = np.unique(groups, return_inverse=True)
    count = int(member.max()) + 1 if len(member) else 0
    return (np.random.default_rng(seed).permutation(count) % folds)[member]


def choose_settings(
    name: str,
    grid: Iterable[Config],
    train: tuple[Matrix, Floats],
    valid: tuple[Matrix, Floats],
    *,
    seed: int,
    classes: int = 2,
) -> Chosen:
    """The settings of `grid` with the least validation loss, fitted on `train`."""
    start = time.perf_counter()
    best: tuple[float, Model, Floats] | None = None
    tried: list[dict[str, Any]] = []
    for config in grid:
        model = make_model(config).fit(*train, seed=seed, classes=classes, watch=valid)
        scored = model.score(valid[0])
        loss = float(row_losses(config.task, valid[1], scored).mean())
        tried.append({"config": config_to_json(model.config), "loss": loss})
        if best is None or loss < best[0]:
            best = (loss, model, scored)
    assert best is not None, "an empty grid"
    loss, model, scored = best
    return Chosen(name, model, model.config, tried, scored, loss, time.perf_counter() - start)


def cross_scores(
    config: Config,
    x: Matrix,
    y: Floats,
    fold: Index,
    *,
    seed: int,
    classes: int = 2,
    done: Callable[[], None] | None = None,
) -> Floats:
    """Out-of-fold scores: each row scored by a model of `config` that did not see its fold."""
    scored = np.zeros((len(y), classes) if config.task == "class" else len(y))
    for k in np.unique(fold):
        out = fold == k
        model = make_model(config).fit(x.rows(np.flatnonzero(~out)), y[~out], seed=seed, classes=classes)
        scored[out] = model.score(x.rows(np.flatnonzero(out)))
        if done is not None:
            done()
    return scored


def pick_threshold(task: Task, y: Floats, p: Floats) -> float:
    """The probability with the largest F1 on these (never the test's) rows; .5 where the task has no threshold."""
    return best_threshold(y, p) if task == "binary" and y.any() else 0.5


def spread_over_folds(found: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """metric -> mean, sd and n over folds; undefined folds are left out."""
    spread: dict[str, dict[str, float]] = {}
    for metric in found[0]:
        values = np.array([fold[metric] for fold in found])
        values = values[np.isfinite(values)]
        if len(values):
            sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
            spread[metric] = {"mean": float(values.mean()), "sd": sd, "n": len(values)}
    return spread


def measure_folds(task: Task, y: Floats, p: Floats, fold: Index, threshold: float) -> dict[str, dict[str, float]]:
    """Each metric's mean and spread over the folds of out-of-fold scores."""
    parts = [(y[fold == k], p[fold == k]) for k in np.unique(fold)]
    return spread_over_folds([measure(task, *part, threshold=threshold) for part in parts])


def bootstrap(
    figures: Callable[[Index], dict[str, float]], rows: int, *, seed: int, times: int = BOOTSTRAPS
) -> dict[str, dict[str, float]]:
    """Each figure on all rows with its 95 % percentile interval over resampled rows."""
    random = np.random.default_rng(seed)
    times = int(np.clip(WORK // max(rows, 1), 40, times))
    values = figures(np.arange(rows))
    drawn = [figures(random.integers(0, rows, rows)) for _ in range(times)]
    found: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        seen = np.array([one[name] for one in drawn])
        seen = seen[np.isfinite(seen)]
        low, high = np.quantile(seen, [0.025, 0.975]) if len(seen) else (float("nan"), float("nan"))
        found[name] = {"value": value, "low": float(low), "high": float(high)}
    return found


def beats_baseline(
    task: Task, y: Floats, p: Floats, baseline: Floats, *, margin: float, seed: int
) -> dict[str, float | bool]:
    """Whether the loss is below the baseline's by more than `margin` (a share of it), beyond chance.

    skill = 1 − loss / baseline loss; `low` is its 2.5 % point over resampled rows, and must lie above 0.
    """
    ours, theirs = row_losses(task, y, p), row_losses(task, y, baseline)

    def skill(rows: Index) -> dict[str, float]:
        below = float(theirs[rows].sum())
        return {"skill": 1 - float(ours[rows].sum()) / below if below else 0.0}

    found = bootstrap(skill, len(y), seed=seed)["skill"]
    return found | {"margin": margin, "beats": bool(found["value"] > margin and found["low"] > 0)}


def loss_of(task: Task, metrics: dict[str, float]) -> float:
    return metrics[LOSS[task]]


def size_bytes(model: Model) -> int:
    """Bytes of the saved model, a brought file among them."""
    return len(json.dumps(save_model(model)).encode()) + file_bytes(model.config)
