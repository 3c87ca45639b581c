"""Intervals: how far a prediction may be from the truth, learned from out-of-fold scores, by bins of the score.

Number: split-conformal within bins of the predicted value (Mondrian), so that small spenders get narrow intervals.
Binary: the share truly positive in the bin, with its 95 % Wilson interval, moved along from the bin's mean score to the score itself (in log-odds),
so that a score far out in its bin is not the end of its own interval. Class: the same for "the class called is right".
Confidence, 0 … 1: binary 1 − width; class the calibrated probability of the class; number the predicted
value's part of itself and the interval's width together: .5 where the interval is as wide as the value is large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from huaxiang.models.calibrate import log_odds
from huaxiang.models.curves import bin_edges, wilson
from huaxiang.models.metrics import Floats, Task

BIN_ROWS = 100  # rows of a bin at least
MOST_BINS = 20


@dataclass(frozen=True)
class Intervals:
    """`edges` (B−1,) of the score; `low`, `high` (B,): the interval itself, or offsets from the score for numbers."""

    task: Task
    level: float
    edges: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    floor: float | None = None  # numbers never fall below it
    mean: tuple[
        float, ...
    ] = ()  # (B,) of a bin's scores; empty: of a model saved before they were kept, whose intervals stay where the bin's lie

    def apply(self, p: Floats) -> tuple[Floats, Floats, Floats]:
        """(N,) low, high and confidence of scores (N,): calibrated probability (of the class called) or number."""
        place = np.searchsorted(np.array(self.edges), p, side="left")
        low, high = np.array(self.low)[place], np.array(self.high)[place]
        if self.task != "number":
            if self.mean:
                moved = log_odds(p) - log_odds(np.array(self.mean)[place])
                low, high = (1 / (1 + np.exp(-(log_odds(end) + moved))) for end in (low, high))
            low, high = np.minimum(low, p), np.maximum(high, p)
            return low, high, (p if self.task == "class" else 1 - (high - low))
        low, high = p + np.minimum(low, 0), p + np.maximum(high, 0)
        if self.floor is not None:
            low, high = np.maximum(low, self.floor), np.maximum(high, self.floor)
        size, width = np.abs(p), high - low
        return low, high, np.divide(size, size + width, out=np.ones(len(p)), where=size + width > 0)

    def state(self) -> dict[str, Any]:
        return vars(self) | {
            "edges": list(self.edges),
            "low": list(self.low),
            "high": list(self.high),
            "mean": list(self.mean),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Intervals:
        return cls(**(state | {name: tuple(state.get(name, ())) for name in ("edges", "low", "high", "mean")}))


def fit_intervals(task: Task, y: Floats, p: Floats, *, level: float = 0.9) -> Intervals:
    """Intervals from truths `y` and scores `p` that did not see them: (N,), or (N, K) for classes."""
    if task == "class":
        y, p = (p.argmax(axis=1) == y).astype(float), p.max(axis=1)
    edges = bin_edges(p, int(np.clip(len(y) // BIN_ROWS, 1, MOST_BINS)))
    place = np.searchsorted(edges, p, side="left")
    low, high = np.zeros(len(edges) + 1), np.zeros(len(edges) + 1)
    for k in range(len(edges) + 1):
        inside = place == k if (place == k).any() else np.ones(len(y), dtype=bool)
        if task == "number":
            low[k], high[k] = _conformal(y[inside] - p[inside], level)
        else:
            low[k], high[k] = map(float, wilson(y[inside].sum(), inside.sum()))
    bounds = (tuple(map(float, edges)), tuple(map(float, low)), tuple(map(float, high)))
    if task != "number":
        means = [float(p[place == k].mean()) if (place == k).any() else float(p.mean()) for k in range(len(edges) + 1)]
        return Intervals(task, 0.95, *bounds, mean=tuple(means))
    return Intervals(task, level, *bounds, floor=0.0 if y.min() >= 0 else None)


def _conformal(residuals: Floats, level: float) -> tuple[float, float]:
    """Order statistics between which a new residual falls with at least `level` probability (where N allows it)."""
    ordered = np.sort(residuals)
    n = len(ordered)
    outside = (1 - level) / 2
    low = max(int(np.floor((n + 1) * outside)), 1)
    high = min(int(np.ceil((n + 1) * (1 - outside))), n)
    return float(ordered[low - 1]), float(ordered[high - 1])
