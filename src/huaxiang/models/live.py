"""Predictions that follow the customer: the shop's predictors over features as they are now.

A predictor with a head on the behaviour model's vector also reads that, where it is known (live_history.py); the others need the features
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from huaxiang.engine import Lake, Step
from huaxiang.features.build import check_definitions
from huaxiang.features.in_python import Function, to_python
from huaxiang.models.labelled import numeric_features
from huaxiang.models.predictor import Predictor
from huaxiang.models.zoo import Matrix
from huaxiang.models.zoo.history import Histories, no_history
from huaxiang.models.zoo.vector import VectorConfig
from huaxiang.settings import Settings

Row = Mapping[str, Any]
SEEN = "_seen"  # of a row: [how many events there are, the behaviour model's vector]
KEEP: tuple[Any, float] = (..., 0.0)  # no new prediction


@dataclass(frozen=True)
class LivePredictor:
    """One outcome. among: who it is about, over the values of `columns` (None: everybody)"""

    outcome: str
    predictor: Predictor
    among: Function | None
    columns: tuple[str, ...]

    def holds(self, row: Row) -> bool:
        """Whether the outcome is about this customer now."""
        return self.among is None or self.among([row[name] for name in self.columns]) is True


class LivePredictions:
    """The predictors of the last training that are worth using. folder: of the models"""

    def __init__(self, lake: Lake, settings: Settings, folder: Path) -> None:
        from huaxiang.models.brought import files_in

        step = Step(lake, "train")  # read only
        self.columns = tuple(numeric_features(step, "training")) if step.has("training") else ()
        known = tuple(step.table("features").columns) if step.has("features") else ()
        declared = {found.name: found for found in check_definitions(settings)[1]}
        self.alone: list[LivePredictor] = []
        self.reading: list[LivePredictor] = []  # the behaviour model's vector, too
        for outcome, card in lake.note("train").get("cards", {}).items():
            path = folder / Path(card).parent / "model.json"
            about = declared.get(outcome)
            if not path.exists() or about is None or about.attribute:  # what was declared is no matter of events
                continue
            predictor = Predictor.from_json(path.read_text(encoding="utf-8"), files_in(folder))
            node = about.among.node
            asked = () if node is None else tuple(name for name in known if name in node.columns())
            among = None if node is None else to_python(node, asked.index)
            one = LivePredictor(outcome, predictor, among, asked)
            if isinstance(predictor.model.config, VectorConfig):
                self.reading.append(one)
            elif not predictor.model.config.reads_history:  # a sequence model's stay as the last training made them
                self.alone.append(one)

    def predict(self, rows: Sequence[Row]) -> dict[str, list[tuple[Any, float] | None]]:
        """Outcome → of each row what is predicted (a number, or the name of a class) and the confidence; None where the outcome is not
        about the customer. rows: every feature by name"""
        found = self._judge(self.alone, rows, None)
        seen = [place for place, row in enumerate(rows) if row.get(SEEN) is not None]
        if self.reading and seen:  # of the others the prediction stays as the last training made it
            for outcome, values in self._judge(self.reading, [rows[at] for at in seen], _histories(rows, seen)).items():
                found[outcome] = [KEEP] * len(rows)
                for place, value in zip(seen, values, strict=True):
                    found[outcome][place] = value
        return found

    def _judge(
        self, predictors: Sequence[LivePredictor], rows: Sequence[Row], histories: Histories | None
    ) -> dict[str, list[tuple[Any, float] | None]]:
        found: dict[str, list[tuple[Any, float] | None]] = {}
        if not predictors or not rows:
            return found
        x = self._matrix(rows, histories)
        for one in predictors:
            about = np.flatnonzero([one.holds(row) for row in rows])
            made: list[tuple[Any, float] | None] = [None] * len(rows)
            if len(about):
                for place, value in zip(about.tolist(), judge(one.predictor, x.rows(about)), strict=True):
                    made[place] = value
            found[one.outcome] = made
        return found

    def _matrix(self, rows: Sequence[Row], histories: Histories | None) -> Matrix:
        pick = itemgetter(*self.columns)
        values = np.array([pick(row) for row in rows], dtype=float).reshape(len(rows), -1)  # None becomes NaN
        values[~np.isfinite(values)] = np.nan
        return Matrix(self.columns, values, history=histories)


def _histories(rows: Sequence[Row], places: Sequence[int]) -> Histories:
    """The vectors, and how many events, of rows that have them."""
    seen = [rows[place][SEEN] for place in places]
    width = max(len(vector or ()) for _, vector in seen)
    found = no_history(len(seen))
    starts = np.concatenate([[0], np.cumsum([count for count, _ in seen])]).astype(np.int64)
    vectors = np.array([vector or [0.0] * width for _, vector in seen], np.float32)
    return replace(found, events=replace(found.events, starts=starts), vectors=vectors)


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
