"""A finished predictor of one outcome: model, calibration, intervals and threshold, saved as one JSON file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from huaxiang.engine.lake import write_atomically
from huaxiang.models.calibrate import Calibration, Method, fit_calibration
from huaxiang.models.exam import cross_scores, grouped_folds
from huaxiang.models.intervals import Intervals, fit_intervals
from huaxiang.models.labelled import Labelled
from huaxiang.models.metrics import Floats, Task
from huaxiang.models.zoo import Config, Files, Matrix, Model, OnnxConfig, load_model, make_model, save_model

REASONS = 5
FORMAT = "huaxiang.predictor/1"
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("outcome", pa.string()),
        ("value", pa.float64()),
        ("label", pa.string()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("confidence", pa.float64()),
        ("threshold", pa.float64()),
        ("reasons", pa.list_(pa.struct([("feature", pa.string()), ("value", pa.float64()), ("effect", pa.float64())]))),
        ("as_of", pa.timestamp("us")),
        ("model", pa.string()),
        ("version", pa.string()),
    ]
)


@dataclass(frozen=True)
class Predictor:
    """`name` is the model's name in the zoo; `threshold` is NULL where the outcome has none."""

    outcome: str
    task: Task
    name: str
    model: Model
    calibration: Calibration
    intervals: Intervals
    threshold: float | None
    classes: tuple[str, ...] = ()

    def score(self, x: Matrix) -> Floats:
        """Calibrated probabilities (N,) or (N, K), or numbers (N,) not below the smallest possible."""
        scored = self.model.score(x)
        if self.task != "number":
            return self.calibration.apply(scored)
        return scored if self.intervals.floor is None else np.maximum(scored, self.intervals.floor)

    def predict(self, users: pa.Array, as_of: pa.Array, x: Matrix, version: str) -> pa.Table:
        """A row of `predictions` for each user."""
        n = len(x)
        scored = self.score(x)
        called = scored.argmax(axis=1) if self.task == "class" else None
        value = scored if called is None else scored[np.arange(n), called]
        low, high, confidence = self.intervals.apply(value)
        labels = pa.nulls(n, pa.string()) if called is None else pa.array(self.classes).take(pa.array(called))
        columns = [
            users,
            pa.repeat(self.outcome, n),
            value,
            labels,
            low,
            high,
            confidence,
            pa.repeat(pa.scalar(self.threshold, pa.float64()), n),
            self.reasons(x),
            as_of,
            pa.repeat(self.name, n),
            pa.repeat(version, n),
        ]
        return pa.Table.from_arrays(
            [pa.array(c) if isinstance(c, np.ndarray) else c for c in columns], names=SCHEMA.names
        ).cast(SCHEMA)

    def reasons(self, x: Matrix) -> pa.ListArray:
        """The features that moved each user's raw score most, strongest first, with their value and effect."""
        effects, _ = self.model.explain(x)
        n, count = len(x), min(REASONS, effects.shape[1])
        top = np.argpartition(-np.abs(effects), count - 1, axis=1)[:, :count] if count else np.zeros((n, 0), dtype=int)
        every = np.arange(n)[:, None]
        top = top[every, np.argsort(-np.abs(effects[every, top]), axis=1, kind="stable")]
        values = x.take(self.model.columns)[every, top].ravel()
        rows = pa.StructArray.from_arrays(
            [
                pa.array(self.model.columns, pa.string()).take(pa.array(top.ravel())),
                pa.array(values, mask=np.isnan(values)),
                pa.array(effects[every, top].ravel()),
            ],
            names=["feature", "value", "effect"],
        )
        return pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * count), rows)

    def to_json(self) -> str:
        saved: dict[str, Any] = {
            "format": FORMAT,
            "outcome": self.outcome,
            "task": self.task,
            "name": self.name,
            "model": save_model(self.model),
            "calibration": self.calibration.state(),
            "intervals": self.intervals.state(),
            "threshold": self.threshold,
            "classes": list(self.classes),
        }
        return json.dumps(saved, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, files: Files | None = None) -> Predictor:
        """The saved predictor. files: where a brought model's file is found by its hash."""
        saved = json.loads(text)
        return cls(
            saved["outcome"],
            saved["task"],
            saved["name"],
            load_model(saved["model"], files),
            Calibration.from_state(saved["calibration"]),
            Intervals.from_state(saved["intervals"]),
            saved["threshold"],
            tuple(saved["classes"]),
        )

    @property
    def files(self) -> dict[str, bytes]:
        """Files that lie beside the JSON, by their SHA-256."""
        config = self.model.config
        return {config.sha256: config.content} if isinstance(config, OnnxConfig) else {}

    @property
    def version(self) -> str:
        """The first 12 hex digits of its content's hash: equal content, equal version."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


def finish_predictor(
    outcome: str,
    name: str,
    config: Config,
    data: Labelled,
    *,
    method: Method,
    threshold: float | None,
    folds: int,
    level: float,
    seed: int,
) -> Predictor:
    """The production model: refitted on all labelled dates, calibrated and given intervals out of fold (by user)."""
    classes = max(2, len(data.classes))
    fold = grouped_folds(data.user, config.folds(len(data.y), folds), seed=seed)
    crossed = cross_scores(config, data.x, data.y, fold, seed=seed, classes=classes)
    calibration = fit_calibration(method, data.y, crossed) if data.task != "number" else Calibration()
    intervals = fit_intervals(data.task, data.y, calibration.apply(crossed), level=level)
    model = make_model(config).fit(data.x, data.y, seed=seed, classes=classes)
    return Predictor(outcome, data.task, name, model, calibration, intervals, threshold, tuple(data.classes))


def save_predictor(predictor: Predictor, folder: Path) -> Path:
    """Write models/<outcome>/<version>/model.json; gives that folder."""
    place = folder / predictor.outcome / predictor.version
    place.mkdir(parents=True, exist_ok=True)
    write_atomically(place / "model.json", predictor.to_json())
    return place
