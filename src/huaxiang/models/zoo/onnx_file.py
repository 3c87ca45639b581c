"""A model the shop brings as an ONNX file, made elsewhere (Keras, PyTorch, scikit-learn …): fixed, so `fit` learns only medians.

Letters: N rows, F features of the file, K classes of the outcome.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from huaxiang.errors import ModelError
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo.base import Config, softmax
from huaxiang.models.zoo.onnx_run import OnnxRun, Output
from huaxiang.models.zoo.prepare import Matrix
from huaxiang.models.zoo.shapley import sample_effects

log = logging.getLogger(__name__)

HELD = 1e-7  # probabilities are held this far from 0 and 1: a 32-bit file cannot tell nearer ones apart
SEED = 20260101  # of the orders in which `explain` walks the columns


@dataclass(frozen=True)
class OnnxConfig(Config):
    """columns: the features, in the order the file takes them; labels: of a class outcome, in the order the file gives them;
    classes: the outcome's own, in its order; nan: the file takes missing values itself; content: the file, kept beside the JSON.
    """

    file: str = ""
    sha256: str = ""
    columns: tuple[str, ...] = ()
    output: Output = "probability"
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    nan: bool = False
    content: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("columns", "labels", "classes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if (self.output == "number") != (self.task == "number"):
            raise ModelError("models.onnx.task", output=self.output, task=self.task)
        if hashlib.sha256(self.content).hexdigest() != self.sha256:
            raise ModelError("models.onnx.changed", file=self.file, sha256=self.sha256[:12])


class OnnxModel:
    """Scores as the file does. Missing values become the training medians, unless the file takes them."""

    def __init__(self, config: OnnxConfig) -> None:
        self.config: Config = config
        self.settings = config
        self.effect_unit = {"binary": "log_odds", "number": "number", "class": "probability"}[config.task]
        self.columns = config.columns
        self.medians = np.zeros(len(config.columns))  # (F,)

    def fit(
        self, x: Matrix, y: Floats, *, seed: int, classes: int = 2, watch: tuple[Matrix, Floats] | None = None
    ) -> Self:
        """Learns the medians of the file's features; raises ModelError where the file cannot answer for these rows."""
        values = x.take(self.columns)
        seen = ~np.isnan(values).all(axis=0)
        self.medians = np.zeros(len(self.columns))
        self.medians[seen] = np.nanmedian(values[:, seen], axis=0)
        answered = self._answers(self.medians[None, :])
        if not np.isfinite(answered).all():
            raise ModelError("models.onnx.nan", count=1, rows=1)
        return self

    def score(self, x: Matrix) -> Floats:
        return self._scores(self._filled(x))

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        """Sampled Shapley values against the customer of training medians; the base takes what 32 bits round away."""
        values = self._filled(x)
        scored = self._scores(values)
        k = scored.argmax(axis=1) if self.settings.task == "class" else np.zeros(len(values), dtype=np.int64)

        def raw(some: Floats, rows: NDArray[np.int64]) -> Floats:
            return self._raw(self._scores(some), k[rows])

        effects = sample_effects(raw, values, self.medians, seed=SEED)
        return effects, self._raw(scored, k) - effects.sum(axis=1)

    def check(self, x: Matrix) -> None:
        """Raises ModelError where the answers to these rows are no probabilities or numbers, or change with the rows beside them."""
        self.fit(x, np.zeros(len(x)), seed=0)
        values = self._filled(x)
        answered = self._answers(values)
        bad = int((~np.isfinite(answered)).reshape(len(values), -1).any(axis=1).sum())
        if bad:
            raise ModelError("models.onnx.nan", count=bad, rows=len(values))
        if self.settings.output == "probability":
            low, high = float(answered.min()), float(answered.max())
            if low < -1e-3 or high > 1 + 1e-3:
                raise ModelError("models.onnx.range", low=f"{low:.4g}", high=f"{high:.4g}")
            if answered.ndim == 2 and np.abs(answered.sum(axis=1) - 1).max() > 0.01:
                raise ModelError("models.onnx.sum", total=f"{answered.sum(axis=1).max():.4g}")
        self._scores(values)  # raises where it does not fit the outcome
        for row in range(min(3, len(values))):
            alone = self._answers(values[row : row + 1])[0]
            if not np.allclose(alone, answered[row], rtol=1e-3, atol=1e-4):
                raise ModelError("models.onnx.alone", alone=_said(alone), among=_said(answered[row]))

    @property
    def dropped(self) -> dict[str, str]:
        return {}

    def state(self) -> dict[str, Any]:
        return {"medians": self.medians.tolist()}

    @classmethod
    def from_state(cls, config: OnnxConfig, state: dict[str, Any]) -> Self:
        made = cls(config)
        made.medians = np.array(state["medians"], dtype=float)
        return made

    def _filled(self, x: Matrix) -> Floats:
        values = x.take(self.columns)
        return values if self.settings.nan else np.where(np.isnan(values), self.medians, values)

    def _answers(self, values: Floats) -> Floats:
        return open_file(self.settings).run(values)

    def _scores(self, values: Floats) -> Floats:
        """(N,) or (N, K) scores; where the file answers NaN, that of the customer of medians, so that nobody is left out."""
        answered = self._answers(values)
        bad = ~np.isfinite(answered).reshape(len(values), -1).all(axis=1)
        if bad.any():
            log.warning("%s: no answer for %d of %d rows", self.settings.file, int(bad.sum()), len(values))
            answered[bad] = self._answers(self.medians[None, :])
        if self.settings.task == "class":
            return self._in_order(answered)
        if self.settings.task == "number":
            return _one_number(answered, self.settings.task)
        if self.settings.output == "logit":
            z = answered[:, 1] - answered[:, 0] if answered.ndim == 2 and answered.shape[1] == 2 else answered
            p = 1 / (1 + np.exp(-np.clip(_one_number(z, self.settings.task), -500, 500)))
        else:
            p = answered[:, 1] if answered.ndim == 2 and answered.shape[1] == 2 else answered
        return np.clip(_one_number(p, self.settings.task), HELD, 1 - HELD)

    def _in_order(self, answered: Floats) -> Floats:
        """(N, K) probabilities of the outcome's classes from those of the file's labels."""
        named = open_file(self.settings).labels
        labels = named if set(named) & set(self.settings.classes) else self.settings.labels or named
        if answered.ndim != 2 or answered.shape[1] != len(labels):
            raise ModelError("models.onnx.labels_count", shape=answered.shape[1:], count=len(labels))
        place = {name: at for at, name in enumerate(labels)}
        shared = [name for name in self.settings.classes if name in place]
        if len(shared) < 2:
            known, given = ", ".join(self.settings.classes), ", ".join(labels)
            raise ModelError("models.onnx.labels", labels=given, classes=known)
        p = np.clip(answered if self.settings.output == "probability" else softmax(answered), HELD, 1)
        found = np.zeros((len(p), len(self.settings.classes)))
        found[:, [name in place for name in self.settings.classes]] = p[:, [place[name] for name in shared]]
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def _raw(self, scored: Floats, k: NDArray[np.int64]) -> Floats:
        if self.settings.task == "class":
            return scored[np.arange(len(scored)), k]
        return np.log(scored / (1 - scored)) if self.settings.task == "binary" else scored


@lru_cache(maxsize=8)
def open_file(config: OnnxConfig) -> OnnxRun:
    """The file of `config`, opened once a process."""
    return OnnxRun(config.content).bind(config.columns, config.task)


def _one_number(answered: Floats, task: str) -> Floats:
    if answered.ndim != 1:
        raise ModelError("models.onnx.answers", shape=answered.shape[1:], task=task)
    return answered


def _said(answer: Any) -> str:
    return " ".join(f"{value:.4g}" for value in np.atleast_1d(answer))
