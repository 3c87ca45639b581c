"""A small head on the frozen vector of the behaviour model, alone or beside the columns.

The vector comes with the rows (`Histories.vectors`): the behaviour model read each customer's events before the row's date, and was itself
trained only on what was known before the validation date. The head is a linear model, always the same, so that the vector is
judged and not the head; or gradient boosting, where both may use what they find.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from huaxiang.errors import ModelError
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo.base import Config
from huaxiang.models.zoo.boosting import Boosting, BoostingConfig
from huaxiang.models.zoo.history import RECENT_EVENTS
from huaxiang.models.zoo.linear import Linear, LinearConfig
from huaxiang.models.zoo.prepare import Matrix

VECTOR = "vector_"  # what the names of its numbers begin with
FEW = 2_000  # rows up to which a fit takes no time


@dataclass(frozen=True)
class VectorConfig(Config):
    """head: what reads the vector; features: whether it also reads the columns; version: of the behaviour model behind the vectors;
    l2, log: of the linear head (log: of the columns); weight: of the vector beside the columns there, as LinearConfig's; trees: of the boosting, the most (0: its own rule)."""

    head: Literal["linear", "lightgbm"] = "linear"
    features: bool = True
    version: str = ""
    l2: float = 0.03
    log: bool = True
    weight: float = 1.0
    trees: int = 0
    reads_history: ClassVar[bool] = True

    def folds(self, rows: int, wanted: int) -> int:
        """Two where the rows are many and the head is dear."""
        return wanted if self.head == "linear" or self.spread(rows) else min(2, wanted)

    def spread(self, rows: int) -> bool:
        return rows < FEW


class VectorModel:
    """raw = head([columns, vector])."""

    def __init__(self, config: VectorConfig) -> None:
        self.config: Config = config
        self.settings = config
        self.columns: tuple[str, ...] = ()
        self.inner: Linear | Boosting = self._head()
        self.effect_unit = self.inner.effect_unit

    def _head(self) -> Linear | Boosting:
        task = self.settings.task
        if self.settings.head == "linear":
            return Linear(
                LinearConfig(
                    task, l2=self.settings.l2, log=self.settings.log, weights=((VECTOR, self.settings.weight),)
                )
            )
        boosting = BoostingConfig(task, leaves=7, leaf_rows=40)
        return Boosting(replace(boosting, trees=self.settings.trees) if self.settings.trees else boosting)

    def fit(
        self, x: Matrix, y: Floats, *, seed: int, classes: int = 2, watch: tuple[Matrix, Floats] | None = None
    ) -> Self:
        self.columns = (*(x.columns if self.settings.features else ()), RECENT_EVENTS)
        watched = None if watch is None else (self._widened(watch[0]), watch[1])
        self.inner.fit(self._widened(x), y, seed=seed, classes=classes, watch=watched)
        if isinstance(self.inner, Boosting) and watch is not None:  # a refit grows as many as did best
            self.config = self.settings = replace(self.settings, trees=self.inner.settings.trees)
        return self

    def _widened(self, x: Matrix) -> Matrix:
        """The columns, and one for each number of the vector."""
        if x.history is None or x.history.vectors is None:
            raise ModelError("models.no_vectors")
        vectors = x.history.vectors[x.history.row].astype(float)
        names = tuple(f"{VECTOR}{place:03d}" for place in range(vectors.shape[1]))
        if not self.settings.features:
            return Matrix(names, vectors)
        own = self.columns[:-1]
        categories = x.categories & frozenset(own)
        return Matrix((*own, *names), np.hstack([x.take(own), vectors]), categories)

    def score(self, x: Matrix) -> Floats:
        return self.inner.score(self._widened(x))

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        """The effects of the vector's numbers are counted together, as RECENT_EVENTS (the last)."""
        effects, base = self.inner.explain(self._widened(x))
        own = len(self.columns) - 1
        return np.hstack([effects[:, :own], effects[:, own:].sum(axis=1, keepdims=True)]), base

    @property
    def dropped(self) -> dict[str, str]:
        return {name: why for name, why in self.inner.dropped.items() if name in self.columns}

    def state(self) -> dict[str, Any]:
        return {"columns": list(self.columns), "inner": self.inner.state()}

    @classmethod
    def from_state(cls, config: VectorConfig, state: dict[str, Any]) -> Self:
        made = cls(config)
        made.columns = tuple(state["columns"])
        made.inner = type(made.inner).from_state(made.inner.config, state["inner"])  # type: ignore[arg-type]
        return made
