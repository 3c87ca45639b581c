"""Predictions that follow the customer: the shop's predictors over features as they are now.

A predictor that reads events themselves (a sequence model, a head on the behaviour model's vector) takes them from `histories`; the
others need the features alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from huaxiang.engine import Lake, Step
from huaxiang.features.build import check_definitions
from huaxiang.features.in_python import Function, to_python
from huaxiang.models.labelled import numeric_features
from huaxiang.models.predictor import Predictor
from huaxiang.models.zoo import Matrix
from huaxiang.settings import Settings

Row = Mapping[str, Any]


@dataclass(frozen=True)
class LivePredictor:
    """One outcome. among: who it is about, over `columns` of a row (None: everybody)"""

    outcome: str
    predictor: Predictor
    among: Function | None
    columns: tuple[str, ...]

    def holds(self, row: Row) -> bool:
        """Whether the outcome is about this customer now."""
        return self.among is None or self.among([row.get(name) for name in self.columns]) is True


class LivePredictions:
    """The predictors of the last training that are worth using. folder: of the models"""

    def __init__(self, lake: Lake, settings: Settings, folder: Path) -> None:
        from huaxiang.models.brought import files_in

        step = Step(lake, "train")  # read only
        self.columns = tuple(numeric_features(step, "training")) if step.has("training") else ()
        known = tuple(step.table("features").columns) if step.has("features") else ()
        declared = {found.name: found for found in check_definitions(settings)[1]}
        self.alone: list[LivePredictor] = []
        self.reading: list[LivePredictor] = []  # events, too
        for outcome, card in lake.note("train").get("cards", {}).items():
            path = folder / Path(card).parent / "model.json"
            about = declared.get(outcome)
            if not path.exists() or about is None or about.attribute:  # what was declared is no matter of events
                continue
            predictor = Predictor.from_json(path.read_text(encoding="utf-8"), files_in(folder))
            node = about.among.node
            among = None if node is None else to_python(node, known.index)
            one = LivePredictor(outcome, predictor, among, known)
            (self.reading if predictor.model.config.reads_history else self.alone).append(one)

    def predict(self, rows: Sequence[Row]) -> dict[str, list[tuple[Any, float] | None]]:
        """Outcome → of each row what is predicted (a number, or the name of a class) and the confidence; None where the outcome is not
        about the customer. rows: features by name"""
        found: dict[str, list[tuple[Any, float] | None]] = {}
        if not self.alone or not rows:
            return found
        x = self._matrix(rows)
        for one in self.alone:
            about = np.flatnonzero([one.holds(row) for row in rows])
            made: list[tuple[Any, float] | None] = [None] * len(rows)
            if len(about):
                for place, value in zip(about.tolist(), judge(one.predictor, x.rows(about)), strict=True):
                    made[place] = value
            found[one.outcome] = made
        return found

    def _matrix(self, rows: Sequence[Row]) -> Matrix:
        values = np.array([[_number(row.get(name)) for name in self.columns] for row in rows], dtype=float)
        return Matrix(self.columns, values)


def judge(predictor: Predictor, x: Matrix) -> list[tuple[Any, float]]:
    """What is predicted of each row, and the confidence."""
    scored = predictor.score(x)
    if predictor.task == "class":
        called = scored.argmax(axis=1)
        value = scored[np.arange(len(x)), called]
        _, _, confidence = predictor.intervals.apply(value)
        return [(predictor.classes[at], float(sure)) for at, sure in zip(called, confidence, strict=True)]
    _, _, confidence = predictor.intervals.apply(scored)
    return [(float(value), float(sure)) for value, sure in zip(scored, confidence, strict=True)]


def _number(value: Any) -> float:
    number = np.nan if value is None else float(value)
    return number if np.isfinite(number) else np.nan
