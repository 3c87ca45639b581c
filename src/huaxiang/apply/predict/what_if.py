"""What if: a customer's features with some of them changed, and how the prediction of an outcome moves.

The model's answer, not the world's: a feature that is pushed pulls along what its definition says must follow (follow.py), not what merely used
to move with it, and no cause is claimed.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from huaxiang.apply.predict.follow import Ties
from huaxiang.engine import Lake, Step
from huaxiang.engine.duck import quote
from huaxiang.errors import ModelError, UnknownUserError
from huaxiang.features.mine import declared_features
from huaxiang.models.brought import files_in
from huaxiang.models.histories import HistoryReader
from huaxiang.models.labelled import feature_matrix
from huaxiang.models.predictor import Predictor
from huaxiang.models.zoo import Matrix, VectorConfig
from huaxiang.profile.names import Names
from huaxiang.settings import Settings
from huaxiang.words import LANGS, Lang, Words

TRIES = 3  # features named that move the prediction most
FROM_NOTHING = (
    "days", "orders", "events", "sessions", "minutes", "pieces", "share", "ratio", "money", "items", "categories", "brands",
    "channels", "devices", "stars",
)  # fmt: skip  # units of which nothing lies below 0


@dataclass(frozen=True)
class Answer:
    """One prediction: a chance or a number, the class called (""), its interval, and what moved it most: feature -> value, effect."""

    value: float
    label: str
    low: float
    high: float
    reasons: tuple[tuple[str, float | None, float], ...]


@dataclass(frozen=True)
class Try:
    """A value that a tenth, half or nine tenths of the shop's customers do not pass, and what the prediction would be with it."""

    feature: str
    value: float
    prediction: float


@dataclass(frozen=True)
class Moved:
    """What was changed (feature: from, to), the prediction before and after; outside: changed features whose new value lies beyond all
    that this shop's customers show, so that the model answers from the edge of what it has seen. as_of, version: of the features and the
    model; labels, units: of the outcome and of every feature named here.

    followed: what had to change with them (feature: from, to); unread: what the model does not read; flat: changed features that leave this
    customer's prediction as it is at any value the shop shows; tries: the features that move it most, each at the value that does
    """

    outcome: str
    changed: dict[str, tuple[float | None, float | None]]
    before: Answer
    after: Answer
    outside: tuple[str, ...]
    unread: tuple[str, ...]
    as_of: str
    model: str
    version: str
    kind: str = ""  # binary, number or class
    labels: dict[str, dict[Lang, str]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    followed: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    flat: tuple[str, ...] = ()
    tries: tuple[Try, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def what_if(
    lake: Lake,
    settings: Settings,
    folder: Path,
    user_id: str,
    outcome: str,
    changes: Mapping[str, float | None],
) -> Moved:
    """How the prediction of `outcome` for `user_id` (a pseudonym) moves where `changes` (feature -> new value, None: unknown) hold.

    folder: models/ of the shop
    raises: ModelError where outcome or feature is unknown or has no model; UnknownUserError
    """
    predictor, version = _load(lake, folder, outcome)
    columns = predictor.model.columns
    names = tuple(
        one["name"] for one in lake.note("build").get("features", []) if one.get("type", "number") == "number"
    )
    for name, value in changes.items():
        if name not in names:
            raise ModelError("predict.what_if.feature", feature=name, near=_near(name, names))
        if value is not None and not math.isfinite(value):
            raise ModelError("predict.what_if.value", feature=name, value=value)
    _check_least(lake, changes)
    read = tuple(name for name in dict.fromkeys((*names, *changes)) if name in columns or name in changes)
    x, as_of = _row(lake, user_id, read)
    if predictor.model.config.reads_history:
        x = _with_history(lake, settings, predictor, x, user_id, as_of)
    now = {name: _number(value) for name, value in zip(read, x.values[0], strict=True)}
    ties = _ties(lake, settings, read)
    followed = ties.follow(changes, now)
    changed = _with(x, [{**changes, **followed}])
    before, after = _answer(predictor, user_id, x), _answer(predictor, user_id, changed)
    unread = tuple(name for name in changes if name not in columns or name in predictor.model.dropped)
    swept = _sweep(lake, predictor, x, ties, now, [name for name in read if name in columns])
    flat = tuple(name for name in changes if name not in unread and name in swept and not swept[name][0])
    best = sorted((name for name in swept if swept[name][0]), key=lambda name: (-swept[name][0], name))[:TRIES]
    names_of, told = Names.of(lake), {outcome: "", **changes}
    told |= {name: "" for one in (before, after) for name, *_ in one.reasons}
    told |= dict.fromkeys((*followed, *best), "")
    kinds = {str(one["name"]): str(one.get("kind", "")) for one in lake.note("build").get("outcomes", [])}
    return Moved(
        outcome,
        {name: (now[name], value) for name, value in changes.items()},
        before,
        after,
        _outside(lake, changes),
        unread,
        as_of,
        predictor.name,
        version,
        kinds.get(outcome, ""),
        {name: names_of.label(name) for name in told},
        {name: names_of.units.get(name, "") for name in told},
        {name: (now[name], value) for name, value in followed.items()},
        flat,
        tuple(swept[name][1] for name in best),
    )


def _check_least(lake: Lake, changes: Mapping[str, float | None]) -> None:
    """raises: ModelError for less than a feature can be: nothing by its unit (-1..1, days), unless some customer has less"""
    about = {str(one["name"]): str(one.get("unit", "")) for one in lake.note("build").get("features", [])}
    for name, value in changes.items():
        unit = about[name]
        low, dots, _ = unit.partition("..")
        least = float(low) if dots else 0.0 if unit in FROM_NOTHING else -math.inf
        if value is None or value >= least:
            continue
        seen = lake.engine.value(f'SELECT min("{name}")::DOUBLE FROM ({lake.engine.sql(lake.table("features"))})')
        if seen is None or seen >= least:
            raise ModelError("predict.what_if.below", feature=name, value=f"{value:g}", least=f"{least:g}")


def _ties(lake: Lake, settings: Settings, names: tuple[str, ...]) -> Ties:
    note = lake.note("build")
    features = declared_features(settings.features, note.get("categories", []), sells=note.get("sells", True))
    return Ties.of(features, names)


def _with(x: Matrix, rows: Sequence[Mapping[str, float | None]]) -> Matrix:
    """The one row of `x` once for each of `rows`, with those values."""
    made = x.rows(np.zeros(len(rows), dtype=np.int64))
    values = made.values.copy()
    for at, row in enumerate(rows):
        for name, value in row.items():
            values[at, x.columns.index(name)] = np.nan if value is None else value
    return Matrix(made.columns, values, made.categories, made.history)


def _sweep(
    lake: Lake, predictor: Predictor, x: Matrix, ties: Ties, now: Mapping[str, float | None], names: Sequence[str]
) -> dict[str, tuple[float, Try]]:
    """feature -> how far it alone (and what must follow) moves this customer's prediction, over the shop's usual values; and the value that does most."""
    ends = ", ".join(f'quantile_disc("{name}"::DOUBLE, [0.1, 0.5, 0.9]) AS "{name}"' for name in names)
    usual = lake.engine.rows(f"SELECT {ends} FROM ({lake.engine.sql(lake.table('features'))})")[0] if names else {}
    tried = [(name, value) for name in names for value in dict.fromkeys(usual[name] or ())]
    if not tried:
        return {}
    scored = predictor.score(_with(x, [{name: value, **ties.follow({name: value}, now)} for name, value in tried]))
    base = predictor.score(x)[0]
    if predictor.task == "class":
        called = int(base.argmax())
        scored, base = scored[:, called], base[called]
    found: dict[str, tuple[float, Try]] = {}
    for (name, value), score in zip(tried, scored, strict=True):
        move = abs(float(score - base))
        if name not in found or move > found[name][0]:
            found[name] = (move, Try(name, float(value), float(score)))
    return found


def _load(lake: Lake, folder: Path, outcome: str) -> tuple[Predictor, str]:
    places: dict[str, str] = lake.note("train").get("cards", {})
    trained = {name: (folder / place).parent for name, place in places.items()}
    if not trained:
        why = "undeclared" if not lake.note("build").get("outcomes") else "unlabelled"
        raise ModelError(
            "predict.what_if.untrained",
            outcome=outcome,
            why={lang: Words(lang)(f"predict.whatif.{why}") for lang in LANGS},
        )
    if outcome not in trained:
        raise ModelError(
            "predict.what_if.outcome",
            outcome=outcome,
            have=", ".join(trained) or "-",
            near=_near(outcome, tuple(trained)),
        )
    path = trained[outcome] / "model.json"
    if not path.exists():
        raise ModelError("predict.what_if.no_model", outcome=outcome)
    return Predictor.from_json(path.read_text(encoding="utf-8"), files_in(folder)), path.parent.name


def _near(name: str, known: tuple[str, ...]) -> str:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.0)), "-")


def _row(lake: Lake, user_id: str, columns: tuple[str, ...]) -> tuple[Matrix, str]:
    engine = lake.engine
    features = "".join(f', "{name}"::DOUBLE AS "{name}"' for name in columns)
    found = engine.arrow(
        f"SELECT strftime(as_of, '%Y-%m-%d') AS as_of{features} FROM ({engine.sql(lake.table('features'))}) WHERE user_id = {quote(user_id)}"
    )
    if not found.num_rows:
        raise UnknownUserError("profile.unknown_user")
    return feature_matrix(found.combine_chunks().to_batches()[0], columns), str(found.column("as_of")[0])


def _with_history(lake: Lake, settings: Settings, predictor: Predictor, x: Matrix, user_id: str, as_of: str) -> Matrix:
    """The row with the customer's events, which stay as they were."""
    reader = HistoryReader.of(Step(lake, "what_if"), settings)
    if reader is None or isinstance(predictor.model.config, VectorConfig):
        raise ModelError("predict.what_if.vector", outcome=predictor.outcome, model=predictor.name)
    return Matrix(x.columns, x.values, history=reader.read(pa.array([user_id]), np.array([as_of])))


def _answer(predictor: Predictor, user_id: str, x: Matrix) -> Answer:
    row = predictor.predict(pa.array([user_id]), pa.array([None], pa.timestamp("us")), x, "").to_pylist()[0]
    reasons = tuple((one["feature"], one["value"], one["effect"]) for one in row["reasons"])
    return Answer(row["value"], row["label"] or "", row["low"], row["high"], reasons)


def _outside(lake: Lake, changes: Mapping[str, float | None]) -> tuple[str, ...]:
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        return ()
    engine = lake.engine
    ends = ", ".join(f'min("{name}")::DOUBLE AS "low {name}", max("{name}")::DOUBLE AS "high {name}"' for name in given)
    seen = engine.rows(f"SELECT {ends} FROM ({engine.sql(lake.table('features'))})")[0]
    return tuple(
        name
        for name, value in given.items()
        if seen[f"low {name}"] is None or not seen[f"low {name}"] <= value <= seen[f"high {name}"]
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
