"""An ONNX file run by onnxruntime: how its inputs are fed and its output is read. One thread, the CPU, the same answer every time.

Letters: N rows, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from huaxiang.errors import ModelError
from huaxiang.models.metrics import Floats, Task
from huaxiang.models.zoo.onnx_bytes import read_onnx

Output = Literal["probability", "logit", "number"]
TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}
FRACTIONS = ("tensor(float)", "tensor(double)", "tensor(float16)")
# Operators that onnxruntime brings along; any other domain is a custom operator, which is code and never loaded.
KNOWN_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
CHUNK = 8192  # rows run at a time


@dataclass(frozen=True)
class Feed:
    """One input of the file: which columns it takes; flat: as (N,) instead of (N, columns)."""

    name: str
    kind: str
    columns: tuple[int, ...]
    flat: bool = False

    def of(self, values: Floats) -> np.ndarray:
        part = values[:, self.columns[0]] if self.flat else values[:, self.columns]
        if self.kind in FRACTIONS:
            top = float(np.finfo(TYPES[self.kind]).max)
            part = np.clip(part, -top, top)  # NaN stays NaN
            return np.ascontiguousarray(part, dtype=TYPES[self.kind])
        top = float(np.iinfo(np.int32).max) if self.kind == "tensor(int32)" else 2.0**53
        return np.ascontiguousarray(np.clip(np.rint(np.nan_to_num(part)), -top, top).astype(TYPES[self.kind]))


class OnnxRun:
    """An opened file. `run` gives its output as (N,) or (N, K) numbers; `labels` names the K where the file itself does."""

    def __init__(self, content: bytes) -> None:
        _check_contents(content)
        self.session = open_session(content)
        self.labels: tuple[str, ...] = ()
        self.feeds: tuple[Feed, ...] = ()

    @property
    def inputs(self) -> list[str]:
        return [one.name for one in self.session.get_inputs()]

    def bind(self, columns: Sequence[str], task: Task) -> OnnxRun:
        """Ready to take values whose columns are `columns`; raises ModelError where the file takes others or answers something else."""
        self.feeds = match_inputs(self.session.get_inputs(), columns)
        self._answer = pick_output(self.session.get_outputs(), task)
        return self

    def run(self, values: Floats) -> Floats:
        """(N,) or (N, K) what the file answers to (N, F) `values`."""
        parts = [self._run(values[at : at + CHUNK]) for at in range(0, len(values), CHUNK)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _run(self, values: Floats) -> Floats:
        try:
            (found,) = self.session.run([self._answer], {feed.name: feed.of(values) for feed in self.feeds})
        except Exception as error:  # onnxruntime's errors share no other base
            raise ModelError("models.onnx.run", detail=_short(error)) from error
        if isinstance(found, list):  # a ZipMap, scikit-learn's way: one {label: probability} a row
            self.labels = tuple(map(str, sorted(found[0])))
            found = np.array([[row[label] for label in sorted(row)] for row in found])
        found = np.asarray(found, dtype=float)
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.ndim not in (1, 2) or len(found) != len(values):
            raise ModelError("models.onnx.shape", shape=found.shape, rows=len(values))
        return found


def open_session(content: bytes) -> Any:
    """The file opened by onnxruntime; raises ModelError where it is not installed or will not run the file."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("models.onnx.no_runtime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong is raised
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other base
        raise ModelError("models.onnx.refused", detail=_short(error), version=onnxruntime.__version__) from error


def match_inputs(inputs: Sequence[Any], columns: Sequence[str]) -> tuple[Feed, ...]:
    """How each input is fed: one (N, F) tensor, or an input (N, 1) or (N,) a feature, by its name, else in the order given."""
    for one in inputs:
        if one.type not in TYPES:
            raise ModelError("models.onnx.type", name=one.name, type=one.type, known=", ".join(TYPES))
        if one.shape and isinstance(one.shape[0], int):
            raise ModelError("models.onnx.batch", name=one.name, shape=one.shape)
    if len(inputs) == 1 and len(inputs[0].shape) != 1:
        (one,) = inputs
        width = one.shape[1] if len(one.shape) == 2 else None
        if len(one.shape) > 2 or (isinstance(width, int) and width != len(columns)):
            raise ModelError("models.onnx.width", name=one.name, shape=one.shape, count=len(columns))
        return (Feed(one.name, one.type, tuple(range(len(columns)))),)
    narrow = all(len(one.shape) == 1 or (len(one.shape) == 2 and one.shape[1] in (1, None)) for one in inputs)
    if len(inputs) != len(columns) or not narrow:
        shapes = ", ".join(f"{one.name} {one.shape}" for one in inputs)
        raise ModelError("models.onnx.inputs", count=len(inputs), inputs=shapes, features=len(columns))
    names = [one.name for one in inputs]
    places = [list(columns).index(name) for name in names] if set(names) == set(columns) else range(len(columns))
    return tuple(
        Feed(one.name, one.type, (at,), flat=len(one.shape) == 1) for one, at in zip(inputs, places, strict=True)
    )


def pick_output(outputs: Sequence[Any], task: Task) -> str:
    """The output to read: the one of fractions; labels (whole numbers, texts) beside it are passed over."""
    found = [one for one in outputs if one.type in FRACTIONS or one.type.startswith("seq(map(")]
    if task == "number" and not found:
        found = [one for one in outputs if one.type in TYPES]
    if len(found) != 1:
        given = ", ".join(f"{one.name} {one.type}" for one in outputs)
        raise ModelError("models.onnx.no_output" if not found else "models.onnx.outputs", outputs=given)
    return str(found[0].name)


def _check_contents(content: bytes) -> None:
    """Refuses what points outside the file: data in other files, operators that are code of their own."""
    found = read_onnx(content)
    if found.external:
        raise ModelError("models.onnx.external")
    custom = sorted(found.domains - found.own - KNOWN_DOMAINS)
    if custom:
        raise ModelError("models.onnx.custom", domains=", ".join(custom))


def _short(error: Exception) -> str:
    """onnxruntime's message in a line, without its own places in the source."""
    return str(error).split("\n")[0].split(" Status Message: ")[-1][-300:]
