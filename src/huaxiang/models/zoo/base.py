"""What every model of the zoo promises."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from huaxiang.models.metrics import Floats, Task
from huaxiang.models.zoo.prepare import Matrix


@dataclass(frozen=True)
class Config:
    """Settings of a model; `task` says what it predicts.

    reads_history: whether it needs `Matrix.history`
    """

    task: Task
    reads_history: ClassVar[bool] = False

    def folds(self, rows: int, wanted: int) -> int:
        """Folds of a cross-validation over so many rows: those `wanted`, or fewer where fitting is dear."""
        return wanted

    def spread(self, rows: int) -> bool:
        """Whether its spread over the folds of so many training rows is measured: it chooses nothing, so that dear models go without."""
        return True


class Model(Protocol):
    """A trained thing. Letters: N rows, F columns of the Matrix it was fitted on, K classes."""

    config: Config
    columns: tuple[str, ...]
    effect_unit: str  # what `explain` adds up to: log_odds, probability or number

    @property
    def dropped(self) -> dict[str, str]:
        """Columns the model could not use -> why ("constant", "empty")."""
        ...

    def fit(
        self, x: Matrix, y: Floats, *, seed: int, classes: int = 2, watch: tuple[Matrix, Floats] | None = None
    ) -> Self:
        """Fit; `watch` is validation data for a model that stops early."""
        ...

    def score(self, x: Matrix) -> Floats:
        """(N,) probability of class 1, or number; (N, K) probabilities for classes. Columns are found by name."""
        ...

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        """(N, F) effect of each column and (N,) base: base + effects = the raw score (Shapley values).

        For classes: of the class each row is most likely in.
        """
        ...

    def state(self) -> dict[str, Any]: ...

    @classmethod
    def from_state(cls, config: Any, state: dict[str, Any]) -> Self: ...


def gather_by_source(effects: Floats, sources: NDArray[np.int64], columns: int) -> Floats:
    """(N, made) effects of prepared columns summed onto the (N, F) columns they were made from."""
    gathered = np.zeros((len(effects), columns))
    for made, source in enumerate(sources):
        gathered[:, source] += effects[:, made]
    return gathered


def softmax(z: Floats) -> Floats:
    powered = np.exp(z - z.max(axis=1, keepdims=True))
    return powered / powered.sum(axis=1, keepdims=True)


def config_to_json(config: Config) -> dict[str, Any]:
    """What JSON keeps of the settings: all but `content`, the bytes of a brought file, which lie beside it."""
    return {name: value for name, value in asdict(config).items() if name != "content"}


def file_bytes(config: Config) -> int:
    """Bytes that lie beside the JSON."""
    return len(getattr(config, "content", b""))
