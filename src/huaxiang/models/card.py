"""The score card of one outcome: everything the exam found, as one JSON document."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass, field
from typing import Any

from huaxiang.models.metrics import Task
from huaxiang.words import LANGS, Lang, Words

Texts = dict[str, str]  # language -> text
FORMAT = "huaxiang.card/1"


@dataclass(frozen=True)
class ModelScore:
    """One model's exam. `cv`: metric -> {mean, sd, n}; `valid`: metric -> value; `test`: metric -> {value, low, high}."""

    name: str
    settings: dict[str, Any]
    tried: list[dict[str, Any]]
    cv: dict[str, dict[str, float]]
    valid: dict[str, float | None]
    test: dict[str, dict[str, float | None]]
    threshold: float | None
    calibration: str
    seconds: float
    bytes: int
    ms_per_user: float
    brought: bool = False  # made elsewhere: nobody here knows which rows it was learned from


@dataclass(frozen=True)
class ScoreCard:
    """`status` is trained, null (no model beat the baseline) or skipped; only a trained one is `worth_using`."""

    outcome: str
    kind: Task
    status: str
    worth_using: bool
    meaning: Texts
    why: Texts  # why this model won, or why there is none
    version: str = ""
    model: str = ""  # the winner
    baseline: str = ""
    within_days: int | None = None
    among: str = ""
    classes: list[str] = field(default_factory=list)
    # rows, users, positives, base_rate by split; dates by split; features; dropped columns; sampled share; final fit
    data: dict[str, Any] = field(default_factory=dict)
    models: list[ModelScore] = field(default_factory=list)
    skill: dict[str, Any] = field(default_factory=dict)  # on validation, against the baseline: value, low, high, margin
    threshold: dict[str, Any] = field(default_factory=dict)  # value, rule ("f1" or "business"), chosen_on
    # method, valid_log_loss by method, bins (predicted, observed, low, high, count) and ece on test
    calibration: dict[str, Any] = field(default_factory=dict)
    lift: dict[str, Any] = field(default_factory=dict)  # share, value, low, high
    gains: list[dict[str, float]] = field(default_factory=list)  # share, captured
    business: dict[str, Any] = field(
        default_factory=dict
    )  # value, cost, share, top/all/random {value, low, high} per user
    interval: dict[str, Any] = field(default_factory=dict)  # level, method, coverage on test
    importance: list[dict[str, Any]] = field(default_factory=list)  # feature, effect (mean |SHAP|), unit, direction
    seed: int = 0
    seconds: float = 0.0
    bytes: int = 0
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        found = plain({"format": FORMAT} | asdict(self))
        assert isinstance(found, dict)
        return found

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> ScoreCard:
        names = cls.__dataclass_fields__
        known = {name: value for name, value in found.items() if name in names}
        return cls(**(known | {"models": [ModelScore(**one) for one in found.get("models", [])]}))

    @classmethod
    def from_json(cls, text: str) -> ScoreCard:
        return cls.from_dict(json.loads(text))

    def brought_note(self, lang: Lang) -> str:
        """What to know of the brought models' figures; empty where there are none."""
        names = [one.name for one in self.models if one.brought]
        return Words(lang)("models.brought.seen", names=", ".join(names)) if names else ""

    def score_of(self, name: str) -> ModelScore | None:
        return next((one for one in self.models if one.name == name), None)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: NaN and infinity become null, numbers keep 10 significant digits."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value


def say(key: str, /, **values: Any) -> Texts:
    """The text of `key` in every language."""
    return {lang: Words(lang)(key, **values) for lang in LANGS}


def learner_versions() -> dict[str, str]:
    """The versions a result depends on."""
    from importlib.metadata import version

    names = ("huaxiang", "lightgbm", "scikit-learn", "numpy")
    return {name: version(name) for name in names} | {"python": platform.python_version()}
