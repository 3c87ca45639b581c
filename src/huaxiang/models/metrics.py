"""The figures of the exam, from arrays: binary, number and class outcomes.

A figure that is not defined (ROC-AUC of one class, R² of a constant) is NaN here and null in JSON.
`y` are 0/1, numbers, or class indices 0 … K−1; `p` probabilities (N,) or (N, K).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["binary", "number", "class"]
Floats = NDArray[np.float64]

TINY = 1e-15  # probabilities are held this far from 0 and 1 in logarithms
METRICS: dict[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "pr_auc", "accuracy", "precision", "recall", "f1", "log_loss", "brier"),
    "number": ("mse", "rmse", "mae", "r2", "spearman"),
    "class": ("accuracy", "macro_f1", "log_loss", "roc_auc"),
}
# What a model is chosen by: proper scores, smaller is better.
LOSS: dict[Task, str] = {"binary": "log_loss", "number": "rmse", "class": "log_loss"}


def measure(task: Task, y: Floats, p: Floats, *, threshold: float = 0.5) -> dict[str, float]:
    """Every metric of `task`, by name."""
    if task == "binary":
        return measure_binary(y, p, threshold=threshold)
    return measure_number(y, p) if task == "number" else measure_class(y, p)


def measure_binary(y: Floats, p: Floats, *, threshold: float) -> dict[str, float]:
    """The metrics of probabilities `p` for labels `y`; a case is called positive where p ≥ threshold."""
    called = p >= threshold
    hits = float(np.sum(called & (y == 1)))
    positives, calls = float(y.sum()), float(called.sum())
    precision = hits / calls if calls else 0.0
    recall = hits / positives if positives else 0.0
    return {
        "roc_auc": roc_auc(y, p),
        "pr_auc": pr_auc(y, p),
        "accuracy": float(np.mean(called == (y == 1))),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "log_loss": float(row_losses("binary", y, p).mean()),
        "brier": float(np.mean((p - y) ** 2)),
    }


def measure_number(y: Floats, p: Floats) -> dict[str, float]:
    """The metrics of predicted numbers `p` for true numbers `y`."""
    mse = float(np.mean((y - p) ** 2))
    spread = float(np.mean((y - y.mean()) ** 2))
    return {
        "mse": mse,
        "rmse": float(np.sqrt(mse)),
        "mae": float(np.mean(np.abs(y - p))),
        "r2": 1 - mse / spread if spread else float("nan"),
        "spearman": spearman(y, p),
    }


def measure_class(y: Floats, p: Floats) -> dict[str, float]:
    """The metrics of class probabilities `p` (N, K) for class indices `y`; averages run over classes present in `y`."""
    called = p.argmax(axis=1)
    present = [int(k) for k in np.unique(y)]
    scores = [_f1(y == k, called == k) for k in present]
    areas = [roc_auc((y == k).astype(float), p[:, k]) for k in present] if len(present) > 1 else [float("nan")]
    return {
        "accuracy": float(np.mean(called == y)),
        "macro_f1": float(np.mean(scores)),
        "log_loss": float(row_losses("class", y, p).mean()),
        "roc_auc": float(np.mean(areas)),
    }


def row_losses(task: Task, y: Floats, p: Floats) -> Floats:
    """The loss of each row: −y·log p − (1−y)·log(1−p), its form for classes, or the squared error."""
    if task == "number":
        return (y - p) ** 2
    if task == "class":
        share = p / p.sum(axis=1, keepdims=True)
        return -np.log(np.clip(share[np.arange(len(y)), y.astype(int)], TINY, 1))
    q = np.clip(p, TINY, 1 - TINY)
    return -(y * np.log(q) + (1 - y) * np.log1p(-q))


def roc_auc(y: Floats, p: Floats) -> float:
    """The chance that a random positive scores above a random negative, ties counting half."""
    positives = float(y.sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return float("nan")
    return float((_ranks(p)[y == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def pr_auc(y: Floats, p: Floats) -> float:
    """Average precision: precision at each distinct score, weighted by the recall gained there."""
    positives = float(y.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-p, kind="stable")
    score, hit = p[order], np.cumsum(y[order])
    last = np.append(score[1:] != score[:-1], True)
    hit, calls = hit[last], np.flatnonzero(last) + 1
    return float(np.sum(np.diff(hit, prepend=0.0) / positives * hit / calls))


def spearman(y: Floats, p: Floats) -> float:
    """Correlation of ranks, ties sharing their mean rank."""
    a, b = _ranks(y), _ranks(p)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else float("nan")


def _f1(truth: NDArray[np.bool_], called: NDArray[np.bool_]) -> float:
    hits = float(np.sum(truth & called))
    return 2 * hits / float(truth.sum() + called.sum()) if hits else 0.0


def _ranks(values: Floats) -> Floats:
    """Ranks 1 … N; equal values share their mean rank."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    counts = np.diff(np.append(starts, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(starts + (counts + 1) / 2, counts)
    return ranks
