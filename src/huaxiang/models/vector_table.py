"""What the behaviour model's vector knows of who a customer is: one linear head on the features, on the vector and on both, outcome by
outcome, read off the score cards of the last training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from huaxiang.models.card import ModelScore, ScoreCard
from huaxiang.models.metrics import Task

METRIC: dict[Task, str] = {"binary": "roc_auc", "class": "roc_auc", "number": "r2"}  # more is better in each
SIDES = ("features", "vector", "both")
_HEADS: dict[str, dict[Task, str]] = {
    "features": {"binary": "logistic", "class": "logistic", "number": "linear"},
    "vector": dict.fromkeys(("binary", "class", "number"), "vector"),
    "both": dict.fromkeys(("binary", "class", "number"), "vector_features"),
}


@dataclass(frozen=True)
class Figure:
    """A metric on the test date, with its interval (None: not measured)."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class VectorRow:
    """One outcome. rows: tested; best: the side with the best figure, "" where its interval overlaps with that of another side."""

    outcome: str
    meaning: dict[str, str]
    metric: str
    rows: int
    sides: dict[str, Figure]
    best: str


def vector_table(cards: Sequence[ScoreCard]) -> list[VectorRow]:
    """A row for each outcome whose exam the vector took; none where there was no behaviour model."""
    found = []
    for card in cards:
        heads = {side: card.score_of(_HEADS[side][card.kind]) for side in SIDES}
        if heads["features"] is None or heads["vector"] is None or heads["both"] is None:
            continue
        metric = METRIC[card.kind]
        sides = {side: _figure(head, metric) for side, head in heads.items() if head is not None}
        rows = int(card.data.get("rows", {}).get("test", 0))
        found.append(VectorRow(card.outcome, card.meaning, metric, rows, sides, _best(sides)))
    return found


def _figure(score: ModelScore, metric: str) -> Figure:
    tested = score.test.get(metric) or {}
    return Figure(tested.get("value"), tested.get("low"), tested.get("high"))


def _best(sides: dict[str, Figure]) -> str:
    """The side with the best figure, where it is surely better than every other."""
    known = {side: one for side, one in sides.items() if one.value is not None}
    if len(known) < 2:
        return ""
    best = max(known, key=lambda side: known[side].value or 0.0)
    low, highs = known[best].low, [one.high for side, one in known.items() if side != best]
    return best if low is not None and all(high is not None and low > high for high in highs) else ""
