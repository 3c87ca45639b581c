"""Matrix: named columns of numbers; and Preparation: what is learned from training rows before a model is fitted.

Missing is NaN. A column of a category holds level codes 0, 1, …; which levels are common enough to stand alone is
learned from the training rows, the others share one code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from huaxiang.errors import ModelError
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo.history import RECENT_EVENTS, Histories

Style = Literal["dense", "codes", "native"]
MAX_LEVELS = 30
CLIP = 10.0  # standard deviations: a customer further out is held there, so that no linear score runs away


@dataclass(frozen=True)
class Matrix:
    """`values` is (N, len(columns)); `categories` names the columns that hold level codes; `history`: each row's events, or None."""

    columns: tuple[str, ...]
    values: Floats
    categories: frozenset[str] = frozenset()
    history: Histories | None = None

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: NDArray[Any]) -> Matrix:
        history = None if self.history is None else self.history.rows(index)
        return Matrix(self.columns, self.values[index], self.categories, history)

    def take(self, columns: tuple[str, ...]) -> Floats:
        """The named columns in the order asked, RECENT_EVENTS (how many there are) where there is a history; raises ModelError
        for one that is not here."""
        if columns == self.columns:
            return self.values
        place = {name: at for at, name in enumerate(self.columns)}
        values = self.values
        if self.history is not None and RECENT_EVENTS in columns and RECENT_EVENTS not in place:
            place[RECENT_EVENTS] = values.shape[1]
            values = np.column_stack([values, self.history.lengths])
        lack = [name for name in columns if name not in place]
        if lack:
            raise ModelError("models.lacks_columns", columns=", ".join(lack[:5]), count=len(lack))
        return values[:, [place[name] for name in columns]]


@dataclass
class Preparation:
    """Learned from training rows. `dense`: one-hot, filled, flagged, standardised (linear models). `codes`: level codes,
    filled, flagged (decision tree). `native`: level codes, missing left missing (LightGBM)."""

    style: Style
    columns: tuple[str, ...]
    categories: tuple[str, ...]
    kept: list[int]  # columns that vary in the training rows
    dropped: dict[str, str]  # column -> why ("constant", "empty")
    medians: list[float]  # of each kept column; 0 for categories
    flagged: list[int]  # kept columns that had missing values in training
    levels: dict[str, list[float]]  # category -> its common levels, the most common first
    logged: list[int] = field(default_factory=list)  # kept columns with a long right tail, taken as log(1 + value)
    mean: list[float] = field(default_factory=list)
    sd: list[float] = field(default_factory=list)

    @classmethod
    def fit(cls, x: Matrix, style: Style, *, log: bool = False) -> Preparation:
        values = x.values
        missing = np.isnan(values)
        kept, dropped = _varying(x, missing)
        levels = {x.columns[j]: _common_levels(values[:, j]) for j in kept if x.columns[j] in x.categories}
        medians = [0.0 if x.columns[j] in levels else float(np.nanmedian(values[:, j])) for j in kept]
        flagged = [j for j in kept if x.columns[j] not in levels and missing[:, j].any()]
        made = cls(style, x.columns, tuple(sorted(x.categories)), kept, dropped, medians, flagged, levels)
        if log:
            made.logged = [j for j in kept if x.columns[j] not in levels and _long_tailed(values[:, j])]
        if style == "dense":
            dense = made._raw(values)
            made.mean = [float(mean) for mean in dense.mean(axis=0)]
            made.sd = [float(sd) or 1.0 for sd in dense.std(axis=0)]
        return made

    def apply(self, x: Matrix) -> Floats:
        """(N, made) prepared values; `sources` tells the column each was made from."""
        raw = self._raw(x.take(self.columns))
        if self.style != "dense":
            return raw
        return np.clip((raw - np.array(self.mean)) / np.array(self.sd), -CLIP, CLIP)

    @property
    def sources(self) -> NDArray[np.int64]:
        """The column (index into `columns`) each prepared column was made from."""
        made: list[int] = []
        for j in self.kept:
            count = len(self.levels.get(self.columns[j], [])) + 1 if self.style == "dense" else 1
            made += [j] * (count if self.columns[j] in self.levels else 1)
        return np.array(made + (self.flagged if self.style != "native" else []), dtype=np.int64)

    @property
    def category_places(self) -> list[int]:
        """Which prepared columns hold level codes (styles `codes` and `native`)."""
        return [at for at, j in enumerate(self.kept) if self.columns[j] in self.levels]

    def state(self) -> dict[str, Any]:
        return dict(vars(self)) | {"columns": list(self.columns), "categories": list(self.categories)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Preparation:
        return cls(**(state | {"columns": tuple(state["columns"]), "categories": tuple(state["categories"])}))

    def _raw(self, values: Floats) -> Floats:
        made: list[Floats] = []
        for j, median in zip(self.kept, self.medians, strict=True):
            column, name = values[:, j], self.columns[j]
            if name in self.levels:
                made += self._coded(column, self.levels[name])
            elif self.style == "native":
                made.append(column)
            else:
                filled = np.where(np.isnan(column), median, column)
                made.append(np.log1p(np.maximum(filled, 0.0)) if j in self.logged else filled)
        if self.style != "native":
            made += [np.isnan(values[:, j]).astype(float) for j in self.flagged]
        return np.column_stack(made) if made else np.zeros((len(values), 0))

    def _coded(self, column: Floats, levels: list[float]) -> list[Floats]:
        """Level codes by falling frequency, rare and unseen ones sharing the last; or one column a level."""
        order = np.argsort(levels)
        at = np.clip(np.searchsorted(np.array(levels)[order], column), 0, len(levels) - 1)
        code = np.where(np.array(levels)[order][at] == column, order[at], len(levels)).astype(float)
        if self.style == "dense":
            return [(code == level).astype(float) for level in range(len(levels) + 1)]
        return [code]


def _varying(x: Matrix, missing: NDArray[np.bool_]) -> tuple[list[int], dict[str, str]]:
    kept: list[int] = []
    dropped: dict[str, str] = {}
    for j, name in enumerate(x.columns):
        seen = x.values[~missing[:, j], j]
        if not len(seen):
            dropped[name] = "empty"
        elif seen.min() == seen.max() and len(seen) == len(x):
            dropped[name] = "constant"
        else:
            kept.append(j)
    return kept, dropped


def _long_tailed(column: Floats) -> bool:
    """Whether values are never negative and their skewness passes 2."""
    seen = column[~np.isnan(column)]
    sd = float(seen.std())
    if seen.min() < 0 or not sd:
        return False
    return float(np.mean(((seen - seen.mean()) / sd) ** 3)) > 2


def _common_levels(column: Floats) -> list[float]:
    """Levels seen in at least 10 rows and .5 % of them, the most common first, at most MAX_LEVELS."""
    found, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    enough = counts >= min(max(10, 0.005 * len(column)), counts.max())
    order = np.argsort(-counts[enough], kind="stable")[:MAX_LEVELS]
    return [float(level) for level in found[enough][order]]
