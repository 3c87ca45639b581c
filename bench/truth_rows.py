"""Rows of bench/decisions.py: a figure of the shop beside a plain baseline and the oracle, and how the figures are taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score


@dataclass(frozen=True)
class Row:
    """One figure against the truth. baseline, oracle: nan where there is none; n: of how many cases."""

    name: str
    metric: str
    shop: float
    baseline: float
    oracle: float
    n: int


def show(rows: Sequence[Row]) -> None:
    print(f"{'against the truth':<24}{'metric':<18}{'baseline':>10}{'shop':>10}{'oracle':>10}{'n':>8}")
    for row in rows:
        figures = "".join(
            f"{'–' if math.isnan(one) else format(one, '.3f'):>10}" for one in (row.baseline, row.shop, row.oracle)
        )
        print(f"{row.name:<24}{row.metric:<18}{figures}{row.n:>8,}")


def numbers(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)


def auc(real: np.ndarray, score: np.ndarray) -> float:
    return float(roc_auc_score(real, score))


def rank(real: np.ndarray, score: np.ndarray) -> float:
    return float(spearmanr(real, score).statistic)


def recall_at(real: np.ndarray, score: np.ndarray, false: float = 0.01) -> float:
    """The share of the true cases that score above all but `false` of the others."""
    level = np.quantile(score[~real], 1 - false)
    return float((score[real] > level).mean())


def mean(values: Sequence[float | bool]) -> float:
    return float(np.mean(values)) if values else math.nan
