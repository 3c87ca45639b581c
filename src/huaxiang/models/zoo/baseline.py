"""What a model must beat: the share of positives, the commonest class, the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from huaxiang.models.metrics import Floats
from huaxiang.models.zoo.base import Config
from huaxiang.models.zoo.prepare import Matrix


@dataclass(frozen=True)
class BaselineConfig(Config):
    pass


class Baseline:
    """Says the same of everyone: the training share of each class, or the training mean."""

    effect_unit = "probability"

    def __init__(self, config: BaselineConfig) -> None:
        self.config: Config = config
        self.columns: tuple[str, ...] = ()
        self.shares: list[float] = []

    def fit(
        self, x: Matrix, y: Floats, *, seed: int, classes: int = 2, watch: tuple[Matrix, Floats] | None = None
    ) -> Self:
        self.columns = x.columns
        counts = np.bincount(y.astype(int), minlength=classes) if self.config.task == "class" else np.empty(0)
        self.shares = [float(y.mean())] if self.config.task != "class" else [float(c / len(y)) for c in counts]
        return self

    def score(self, x: Matrix) -> Floats:
        if self.config.task == "class":
            return np.tile(np.array(self.shares), (len(x), 1))
        return np.full(len(x), self.shares[0])

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        return np.zeros((len(x), len(self.columns))), np.full(len(x), max(self.shares))

    @property
    def dropped(self) -> dict[str, str]:
        return {}

    def state(self) -> dict[str, Any]:
        return {"columns": list(self.columns), "shares": self.shares}

    @classmethod
    def from_state(cls, config: BaselineConfig, state: dict[str, Any]) -> Self:
        made = cls(config)
        made.columns, made.shares = tuple(state["columns"]), state["shares"]
        return made
