"""What `huaxiang uplift` learned, kept as one JSON file, and reused while its data and its settings are the same.

models/uplift/VERSION.json    format, and of each offer: key, found, coding, responds, held_responds, calibration, learner, held

No customer stands in it: in which fold somebody of a test was is in `market.tested`, which goes with the customer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from huaxiang.apply.market.experiment import Coding
from huaxiang.apply.market.uplift_parts import Learner
from huaxiang.apply.market.uplift_rows import code_features
from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ModelError
from huaxiang.models.calibrate import Calibration
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix, Model, load_model, save_model

FORMAT = "huaxiang.uplift/2"
Score = Callable[[Matrix], Floats]


@dataclass(frozen=True)
class Kept:
    """What was learned of one offer ("": any message).

    key: of the data and settings it was learned from; found: as it was told; coding: how features become its columns
    responds: the chance that a customer who got it responds at all; learner: of the effect (None: redemption was learned, not an effect)
    held, held_responds: by fold, those that have not seen the fold's customers; chosen: the learner's name
    calibration: of the chances, by customers whom their model had not seen
    """

    offer: str
    key: str
    found: dict[str, Any]
    coding: Coding
    responds: Model
    learner: Learner | None = None
    held: tuple[Learner, ...] = ()
    held_responds: tuple[Model, ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    chosen: str = ""

    def score(self, users: pa.Table, tested: pa.Table) -> pa.Table:
        """user_id, offer, score, likely of each of `users`, a row of features each; those who were in the test by what was learned
        without their fold, and so has not seen what they did in it. tested: user_id and fold"""
        x = code_features(self.coding, users)
        fold = _folds_of(users["user_id"], tested)
        likely = _score_by_fold(x, fold, self.responds.score, [one.score for one in self.held_responds])
        likely = self.calibration.apply(likely)
        score = likely if self.learner is None else _score_by_fold(x, fold, self.learner, self.held)
        offer = pa.array([self.offer] * users.num_rows, pa.string())
        return pa.table({"user_id": users["user_id"], "offer": offer, "score": score, "likely": likely})

    def to_json(self) -> dict[str, Any]:
        return {
            "offer": self.offer,
            "key": self.key,
            "found": self.found,
            "coding": self.coding.to_json(),
            "responds": save_model(self.responds),
            "learner": None if self.learner is None else self.learner.state(),
            "held": [one.state() for one in self.held],
            "held_responds": [save_model(one) for one in self.held_responds],
            "calibration": self.calibration.state(),
            "chosen": self.chosen,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        return cls(
            said["offer"],
            said["key"],
            said["found"],
            Coding.from_json(said["coding"]),
            load_model(said["responds"]),
            None if said["learner"] is None else Learner.from_state(said["learner"]),
            tuple(Learner.from_state(one) for one in said["held"]),
            tuple(load_model(one) for one in said["held_responds"]),
            Calibration.from_state(said["calibration"]),
            said["chosen"],
        )


def _folds_of(users: pa.ChunkedArray, tested: pa.Table) -> NDArray[Any]:
    """(N,) the fold of each of `users` (-1: they were in no test)."""
    at = pc.index_in(users, value_set=tested["user_id"].combine_chunks())  # all of a customer's rows are in one fold
    found: NDArray[Any] = np.append(tested["fold"].to_numpy(), -1)[at.fill_null(-1).to_numpy()]
    return found


def _score_by_fold(x: Matrix, fold: NDArray[Any], whole: Score, held: Sequence[Score]) -> Floats:
    """(N,) by `whole` where there is no fold, else by the one of `held` that had not seen it."""
    score = np.zeros(len(fold))
    for one, model in ((-1, whole), *enumerate(held)):
        mine = np.flatnonzero(fold == one)
        if len(mine):
            score[mine] = model(x.rows(mine))
    return score


def key_of(x: Matrix, given: Sequence[Floats], texts: Sequence[pa.ChunkedArray], settings: object) -> str:
    """Equal data and settings, and the same version of huaxiang: equal key.

    given: (N,) numbers beside the columns; texts: (N,) ids, campaigns; settings: what their repr tells
    """
    from huaxiang import __version__

    digest = hashlib.sha256(repr((FORMAT, __version__, x.columns, sorted(x.categories), settings)).encode())
    for values in (x.values, *given):
        whole = np.array(values, dtype=float)
        whole[np.isnan(whole)] = np.nan  # one of the many bit patterns that are no number
        digest.update(whole.tobytes())
    for column in texts:
        digest.update("\n".join(map(str, column.to_pylist())).encode())
    return digest.hexdigest()


def save_kept(kept: Sequence[Kept], home: Path) -> str:
    """Writes `home`/VERSION.json; gives the version, the first 12 hex digits of its content's hash."""
    said = {"format": FORMAT, "offers": [one.to_json() for one in kept]}
    text = json.dumps(said, ensure_ascii=False, allow_nan=False)
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    home.mkdir(parents=True, exist_ok=True)
    write_atomically(home / f"{version}.json", text)
    return version


def load_kept(home: Path, version: str) -> dict[str, Kept]:
    """What `save_kept` wrote, by offer; raises ModelError where it is gone or of another format."""
    path = home / f"{version}.json"
    if not version or not path.exists():
        raise ModelError("market.uplift_gone", version=version or "–")
    said = json.loads(path.read_text(encoding="utf-8"))
    if said["format"] != FORMAT:
        raise ModelError("market.uplift_format", format=said["format"], known=FORMAT)
    return {one["offer"]: Kept.from_json(one) for one in said["offers"]}


def sweep_kept(home: Path, version: str) -> None:
    """Removes the files of versions before."""
    for path in home.glob("*.json"):
        if path.stem != version:
            path.unlink(missing_ok=True)
