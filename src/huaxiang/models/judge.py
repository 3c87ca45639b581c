"""The parts of a score card that are drawn from scores: calibration, lift, gains, business, importance."""

from __future__ import annotations

from typing import Any

import numpy as np

from huaxiang.models.curves import (
    best_share,
    calibration_error,
    earned_per_user,
    gains,
    lift_at,
    number_bins,
    reliability,
)
from huaxiang.models.exam import Index, bootstrap
from huaxiang.models.metrics import Floats, Task
from huaxiang.models.zoo import Matrix, Model

TOP = 0.1
SAMPLE = 5_000  # rows whose reasons are averaged into the importance of features


def judge_curves(task: Task, y: Floats, p: Floats, *, seed: int) -> dict[str, Any]:
    """`calibration` (bins, ece), `lift`, `gains` of scores nothing was chosen on.

    Classes are judged by the class called: is it called as often rightly as its probability says?
    """
    if task == "class":
        called = p.argmax(axis=1)
        right, sure = (called == y).astype(float), p.max(axis=1)
        ece = bootstrap(lambda rows: {"ece": calibration_error(right[rows], sure[rows])}, len(y), seed=seed, times=100)
        return {"calibration": {"bins": reliability(right, sure), **ece}, "lift": {}, "gains": []}
    found: dict[str, Any] = {"lift": {}, "gains": []}
    if y.min() >= 0:  # "times the average" and "share of the whole" mean nothing where amounts can be negative
        lift = bootstrap(lambda rows: {"lift": lift_at(y[rows], p[rows], TOP)}, len(y), seed=seed)["lift"]
        found = {"lift": {"share": TOP, **lift}, "gains": gains(y, p)}
    if task == "number":
        return found | {"calibration": {"bins": number_bins(y, p)}}
    ece = bootstrap(lambda rows: {"ece": calibration_error(y[rows], p[rows])}, len(y), seed=seed, times=100)
    return found | {"calibration": {"bins": reliability(y, p), **ece}}


def judge_business(
    valid: tuple[Floats, Floats], test: tuple[Floats, Floats], *, value: float, cost: float, seed: int
) -> dict[str, Any]:
    """Money per user of acting on the top share (chosen on validation), on all, and on a random share, on test data."""
    share = best_share(*valid, value=value, cost=cost)
    y, p = test

    def earned(rows: Index) -> dict[str, float]:
        return earned_per_user(y[rows], p[rows], share, value=value, cost=cost)

    return {"value": value, "cost": cost, "share": share, **bootstrap(earned, len(y), seed=seed)}


def judge_importance(model: Model, x: Matrix, *, seed: int, most: int = 20) -> list[dict[str, Any]]:
    """The features that move scores most: mean |effect|, its share of all, and whether more of it raises the score."""
    if len(x) > SAMPLE:
        x = x.rows(np.sort(np.random.default_rng(seed).choice(len(x), SAMPLE, replace=False)))
    effects, _ = model.explain(x)
    size = np.abs(effects).mean(axis=0)
    total = float(size.sum())
    order = np.argsort(-size, kind="stable")[:most]
    values = x.take(model.columns)
    return [
        {
            "feature": model.columns[j],
            "effect": float(size[j]),
            "share": float(size[j]) / total,
            "unit": model.effect_unit,
            "direction": _direction(values[:, j], effects[:, j]) if model.columns[j] not in x.categories else 0.0,
        }
        for j in order
        if size[j] > 0
    ]


def _direction(values: Floats, effects: Floats) -> float:
    """Correlation of a feature's value with its effect, −1 … 1 (0 where either is constant)."""
    seen = np.isfinite(values)
    if seen.sum() < 3 or values[seen].std() == 0 or effects[seen].std() == 0:
        return 0.0
    return float(np.corrcoef(values[seen], effects[seen])[0, 1])
