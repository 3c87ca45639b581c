"""Models the shop brings as ONNX files: checked on its own rows, copied to models/brought/<sha256>.onnx, entered in the contest.

The file is run from that copy only, and only while it has the hash that huaxiang.toml names.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from huaxiang.engine import Lake, Step
from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ModelError, SourceError
from huaxiang.models.card import ScoreCard
from huaxiang.models.labelled import Labelled, read_labelled
from huaxiang.models.show import METRICS
from huaxiang.models.zoo.base import Config
from huaxiang.models.zoo.onnx_bytes import read_onnx
from huaxiang.models.zoo.onnx_file import OnnxConfig, OnnxModel
from huaxiang.models.zoo.onnx_run import OnnxRun, Output
from huaxiang.settings import ModelSettings, Settings
from huaxiang.words import Words

PLACE = "brought"
CHECKED = 2_000  # of the shop's rows that a new model answers for
NAME = re.compile(r"[\w-]{1,40}")


def bring_model(
    lake: Lake,
    settings: Settings,
    folder: Path,
    file: Path,
    *,
    outcome: str,
    name: str = "",
    features: Sequence[str] = (),
    labels: Sequence[str] = (),
    output: str = "",
    nan: bool = False,
) -> tuple[str, dict[str, Any]]:
    """The model's name and its entry for [models]; the file is copied under `folder` once it answered for rows of this shop.

    features, labels: default: what the file's metadata says under these keys (JSON lists), or its inputs' names
    raises: ModelError where the file does not run here, or its answers do not fit the outcome; nothing is written then
    """
    name = _name(name or re.sub(r"[^\w-]+", "_", file.stem).strip("_"))
    content = read_file(file)
    lake.table("training")  # raises: nothing is built yet
    built = {one["name"]: one for one in lake.note("build").get("outcomes", [])}
    check_outcomes({name: outcome}, built)
    train, task = settings.train, built[outcome]["kind"]
    data = read_labelled(Step(lake, "train"), outcome, task, max_rows=CHECKED, seed=train.seed)
    if not len(data.y):
        raise ModelError("models.onnx.no_rows", outcome=outcome)
    entry = ModelSettings(
        outcome=outcome,
        file=file.name,
        sha256=hashlib.sha256(content).hexdigest(),
        features=tuple(features) or _declared(content, "features") or _inputs(content),
        labels=tuple(labels) or _declared(content, "labels"),
        output=_output(output, task),
        nan=nan,
    )
    OnnxModel(make_config(entry, data, content)).check(data.x)
    keep_file(folder, content)
    return name, entry.model_dump(mode="json", exclude_defaults=True) | {"output": entry.output}


def brought_grids(
    data: Labelled, outcome: str, models: Mapping[str, ModelSettings], folder: Path
) -> dict[str, tuple[Config, ...]]:
    """Each model brought for `outcome`, as it enters the contest: one setting, for there is nothing to choose."""
    mine = {name: entry for name, entry in models.items() if entry.outcome == outcome}
    return {name: (make_config(entry, data, find_file(folder, entry.sha256)),) for name, entry in mine.items()}


def make_config(entry: ModelSettings, data: Labelled, content: bytes) -> OnnxConfig:
    """The model of an entry for the rows of its outcome; raises ModelError for a feature they lack."""
    for feature in entry.features:
        if feature not in data.x.columns:
            near = difflib.get_close_matches(feature, data.x.columns, n=1)
            key = "models.onnx.unknown_near" if near else "models.onnx.unknown"
            raise ModelError(key, file=entry.file, feature=feature, near=near[0] if near else "")
    return OnnxConfig(
        data.task,
        file=entry.file,
        sha256=entry.sha256,
        columns=entry.features,
        output=entry.output,
        labels=entry.labels,
        classes=tuple(data.classes),
        nan=entry.nan,
        content=content,
    )


def check_outcomes(wanted: Mapping[str, str], known: Iterable[str]) -> None:
    """Raises ModelError for a model (name -> its outcome) whose outcome is not `known` to the last build."""
    known = list(known)
    for name, outcome in wanted.items():
        if outcome not in known:
            near = difflib.get_close_matches(outcome, known, n=1)
            key = "models.onnx.no_outcome_near" if near else "models.onnx.no_outcome"
            raise ModelError(key, name=name, outcome=outcome, near="".join(near), known=", ".join(known) or "–")


def check_named(name: str, models: Mapping[str, ModelSettings]) -> None:
    """Raises ModelError where no model of that name was brought."""
    if name not in models:
        near = difflib.get_close_matches(name, models, n=1)
        raise ModelError(
            "models.onnx.no_model_near" if near else "models.onnx.no_model",
            name=name,
            near="".join(near),
            known=", ".join(models) or "–",
        )


def list_models(models: Mapping[str, ModelSettings], cards: Sequence[ScoreCard], folder: Path) -> list[dict[str, Any]]:
    """Each brought model: its entry, its bytes, its figure on the last score card (None before it took the exam), whether it predicts."""
    found = []
    for name, entry in models.items():
        card = next((one for one in cards if one.outcome == entry.outcome), None)
        score = card.score_of(name) if card is not None else None
        metric = METRICS[card.kind][0] if card is not None else ""
        path = folder / PLACE / f"{entry.sha256}.onnx"
        found.append(
            {
                "name": name,
                **entry.model_dump(mode="json"),
                "bytes": path.stat().st_size if path.exists() else 0,
                "metric": metric,
                "test": score.test.get(metric, {}).get("value") if score is not None else None,
                "predicts": bool(card and score and card.worth_using and card.model == name),
            }
        )
    return found


# ---- files ----------------------------------------------------------------------------------------------------------


def read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise SourceError("models.table_missing", path=file) from error
    except IsADirectoryError as error:
        raise ModelError("models.onnx.not_onnx") from error


def keep_file(folder: Path, content: bytes) -> None:
    path = folder / PLACE / f"{hashlib.sha256(content).hexdigest()}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def find_file(folder: Path, sha256: str) -> bytes:
    """The bytes of models/brought/<sha256>.onnx; what they hash to is checked where they are used."""
    try:
        return (folder / PLACE / f"{sha256}.onnx").read_bytes()
    except FileNotFoundError as error:
        raise ModelError("models.onnx.gone", path=folder / PLACE / f"{sha256}.onnx") from error


def files_in(folder: Path) -> partial[bytes]:
    """What `Predictor.from_json` finds a brought model's file with."""
    return partial(find_file, folder)


def sweep_brought(folder: Path, models: Mapping[str, ModelSettings]) -> None:
    """Delete brought files that neither huaxiang.toml nor a predictor still kept names."""
    held = {entry.sha256 for entry in models.values()}
    loose = [path for path in (folder / PLACE).glob("*.onnx") if path.stem not in held]
    if not loose:
        return
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*/*/model.json")]
    for path in loose:
        if not any(path.stem in text for text in texts):
            path.unlink()


# ---- what the file says ---------------------------------------------------------------------------------------------


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ModelError("models.onnx.name", name=name)
    if Words("en").has(f"models.name.{name}"):
        raise ModelError("models.onnx.name_taken", name=name)
    return name


def _output(output: str, task: str) -> Output:
    if not output:
        return "number" if task == "number" else "probability"
    for known in get_args(Output):
        if output == known:
            return known
    raise ModelError("models.onnx.output", output=output, known=", ".join(get_args(Output)))


def _declared(content: bytes, key: str) -> tuple[str, ...]:
    """The JSON list of texts the file's metadata holds under `key`; empty where there is none."""
    text = read_onnx(content).metadata.get(key)
    if text is None:
        return ()
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ModelError("models.onnx.metadata", key=key, text=text[:80])
    return tuple(found)


def _inputs(content: bytes) -> tuple[str, ...]:
    """The names of the inputs, of a file that takes one a feature."""
    names = tuple(OnnxRun(content).inputs)
    if len(names) < 2:
        raise ModelError("models.onnx.no_features", name=", ".join(names))
    return names
