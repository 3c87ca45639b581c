"""What the pre-trained behaviour model, and the simple models beside it, say of customers together.

Kept in models/behaviour-model/<version>/: the behaviour model, a folder for each simple model, and foresight.json with the
weights of the fusion, the items' ids, and what validation said of each.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ModelError
from huaxiang.models.next_item.base import Scorer
from huaxiang.models.next_item.fusion import Fusion
from huaxiang.models.next_item.ranking import best
from huaxiang.models.next_item.sequences import Floats, Ints, Sequences
from huaxiang.models.next_item.zoo import load_next, save_next

if TYPE_CHECKING:
    from huaxiang.models.behaviour import Behaviour

FORMAT = "huaxiang.foresight/1"
HOME = "behaviour-model"  # beside the outcomes' folders; no outcome can have this name
CITED = 5
FAINT = 1e-5  # share of attention below which nothing is told apart
LEAST = 0.005  # fall of the log score that is worth citing
LOOKED_AT = 20  # events whose removal is tried


@dataclass(frozen=True)
class Foresight:
    """parts: name -> model, the behaviour model first; chosen: the part, or "fusion", whose lists are given; ids: (V,) of the
    items; exam: name -> recall@10 and ndcg@10 on customers that chose nothing; curve: of the training."""

    parts: Mapping[str, Scorer]
    weights: tuple[float, ...]
    floors: tuple[float, ...]
    chosen: str
    ids: tuple[str, ...]
    exam: Mapping[str, Mapping[str, float]]
    curve: tuple[Mapping[str, Any], ...]
    about: Mapping[str, Any]
    version: str = ""

    @property
    def model(self) -> Behaviour:
        return self.parts["behaviour"]  # type: ignore[return-value]

    @property
    def lister(self) -> Scorer:
        """What makes the lists."""
        if self.chosen == "fusion":
            return Fusion(tuple(self.parts.values()), self.weights, self.floors)
        return self.parts[self.chosen]

    def lists(self, history: Sequences, count: int) -> tuple[Ints, Floats]:
        """(B, count) the items most likely next, what was had already too, and each one's part of the score. It orders them, and is no chance: a fusion's
        weights do not add to one, and a co-occurrence is a count."""
        scores = np.asarray(self.lister.score(history), np.float32)
        if not self._logs:
            scores = np.maximum(scores, 0.0)  # a cosine may be below
            scores = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-12)
        found = best(scores + self._tie(history), min(count, len(self.ids)))
        if self._logs:
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        share = np.take_along_axis(scores, found, axis=1) / np.maximum(scores.sum(axis=1, keepdims=True), 1e-12)
        return found, share

    def _tie(self, history: Sequences) -> Floats:
        """(V,) what orders items that nothing is known of for a customer, as for one without a past: the popular first."""
        popular = self.parts.get("popular")
        if popular is None or not len(history):
            return np.zeros(len(self.ids), np.float32)
        share = np.asarray(popular.score(history.take(np.array([0]))), np.float64)[0]
        return np.asarray((1e-3 if self._logs else 1e-6) * share / max(float(share.max()), 1e-12), np.float32)

    @property
    def _logs(self) -> bool:
        """Whether what makes the lists scores in logarithms."""
        return self.chosen == "fusion" or bool(getattr(self.lister, "logits", False))

    def log_scores(self, history: Sequences) -> Floats:
        """(B, V) what makes the lists, in logarithms."""
        scores = np.asarray(self.lister.score(history), np.float64)
        if self._logs:
            return scores
        scores = np.maximum(scores, 0.0)
        return np.log(np.maximum(scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-12), FAINT))

    def because(self, history: Sequences, item: int) -> tuple[Ints, Floats]:
        """Of one customer: the places (in `history`) of the events that speak most for `item`, strongest first, and how far its
        log score falls when each is taken away. Only events whose removal lowers it by LEAST or more; the last `LOOKED_AT` are tried."""
        count = len(history.item)
        tried = np.arange(max(count - LOOKED_AT, 0), count)
        kept = [np.delete(np.arange(count), place) for place in tried]
        every = [np.arange(count), *kept]
        at = np.concatenate(every)
        starts = np.concatenate([[0], np.cumsum([len(one) for one in every])]).astype(np.int64)

        def picked(values: Any) -> Any:
            return None if values is None else values[at]

        asked = Sequences(starts, history.item[at], picked(history.ts), picked(history.kind), picked(history.price))
        scores = self.log_scores(asked)
        fall = scores[0, item] - scores[1:, item]
        order = np.argsort(-fall, kind="stable")[:CITED]
        order = order[fall[order] >= LEAST]
        return tried[order], fall[order]


def save_foresight(found: Foresight, folder: Path) -> str:
    """Writes it under `folder`/behaviour-model; gives its version: equal content, equal version."""
    home = folder / HOME
    new = home / "new"
    shutil.rmtree(new, ignore_errors=True)  # of a run that was killed here
    for name, part in found.parts.items():
        save_next(part, new / name)  # type: ignore[arg-type]
    said = {
        "format": FORMAT,
        "parts": list(found.parts),
        "weights": list(found.weights),
        "floors": list(found.floors),
        "chosen": found.chosen,
        "ids": list(found.ids),
        "exam": found.exam,
        "curve": list(found.curve),
        "about": found.about,
    }
    timeless = {name: value for name, value in said.items() if name != "curve"}
    digest = hashlib.sha256(json.dumps(timeless, sort_keys=True).encode())
    for name in sorted(found.parts):
        digest.update((new / name / "model.safetensors").read_bytes())
    version = digest.hexdigest()[:12]
    write_atomically(new / "foresight.json", json.dumps(said | {"version": version}, ensure_ascii=False))
    place = home / version
    if place.exists():  # the same, and somebody may be reading it
        shutil.rmtree(new)
    else:
        new.rename(place)
    return version


def load_foresight(folder: Path, version: str) -> Foresight:
    """The one that `save_foresight` wrote; raises ModelError where it is gone, or PyTorch is not installed."""
    from importlib.util import find_spec

    place = folder / HOME / version
    if not (place / "foresight.json").exists():
        raise ModelError("models.behaviour.gone", version=version or "-")
    if find_spec("torch") is None:
        raise ModelError("models.behaviour.no_torch")
    said = json.loads((place / "foresight.json").read_text(encoding="utf-8"))
    return Foresight(
        {name: load_next(place / name) for name in said["parts"]},
        tuple(said["weights"]),
        tuple(said["floors"]),
        said["chosen"],
        tuple(said["ids"]),
        said["exam"],
        tuple(said["curve"]),
        said["about"],
        version,
    )


def training_cost(folder: Path, version: str) -> tuple[int, float]:
    """Bytes of the behaviour model of a version, and the seconds its training took."""
    place = folder / HOME / version
    said = json.loads((place / "foresight.json").read_text(encoding="utf-8"))
    size = sum(one.stat().st_size for one in (place / "behaviour").iterdir())
    return size, sum(float(one.get("seconds", 0.0)) for one in said["curve"])
