"""The training set of one outcome: features at each as-of date joined to the label that followed, bounded in memory."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from huaxiang.engine import Step
from huaxiang.engine.duck import quote
from huaxiang.models.histories import HistoryReader
from huaxiang.models.metrics import Floats, Task
from huaxiang.models.zoo import Matrix

log = logging.getLogger(__name__)
SPLITS = ("train", "valid", "test")
MOST = 50  # classes that are told apart, the most common ones of the training dates
RARE = 10  # a class with fewer labels cannot be judged and is left out


@dataclass(frozen=True)
class Labelled:
    """`user` (N,) numbers users 0 …; `split` and `date` (N,) are texts; `y` as the metrics take it."""

    task: Task
    x: Matrix
    y: Floats
    user: NDArray[np.int64]
    split: NDArray[Any]
    date: NDArray[Any]
    classes: list[str]
    left_out: dict[str, int]  # class -> labels left out
    share: float  # of users kept when there were too many rows

    def rows(self, split: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.split == split)

    def part(self, rows: NDArray[np.int64]) -> tuple[Matrix, Floats]:
        return self.x.rows(rows), self.y[rows]


def numeric_features(step: Step, table: str) -> list[str]:
    """The features a model can use: numbers, in the order the build wrote them."""
    schema = step.lake.engine.schema(step.table(table))
    noted = step.lake.note("build").get("features", [])
    numbers = {one["name"] for one in noted if one.get("type", "number") == "number"} if noted else set(schema.names)
    return [
        field.name
        for field in schema
        if field.name in numbers - {"user_id", "as_of"}
        and (
            pa.types.is_integer(field.type)
            or pa.types.is_floating(field.type)
            or pa.types.is_boolean(field.type)
            or pa.types.is_decimal(field.type)
        )
    ]


def read_labelled(
    step: Step, outcome: str, task: Task, *, max_rows: int, seed: int, histories: HistoryReader | None = None
) -> Labelled:
    """The labels of `outcome` with the features known at their date, and the events before it where `histories` are given; whole
    users are sampled above `max_rows`.
    """
    engine = step.lake.engine
    columns = numeric_features(step, "training")
    labels, training = engine.sql(step.table("labels")), engine.sql(step.table("training"))
    mine = f"(SELECT * FROM ({labels}) WHERE outcome = {quote(outcome)})"
    count = int(engine.value(f"SELECT count(*) FROM {mine}"))
    share = min(1.0, max_rows / count) if count else 1.0
    drawn = (
        f"('0x' || substr(md5(l.user_id || '{seed}'), 1, 8))::BIGINT < {int(share * 2**32)}" if share < 1 else "true"
    )
    features = "".join(f', t."{name}"::DOUBLE AS "{name}"' for name in columns)
    found = engine.arrow(
        f"SELECT l.user_id, strftime(l.as_of, '%Y-%m-%d') AS as_of, l.split, l.number, l.label{features} "
        f"FROM {mine} l JOIN ({training}) t ON t.user_id = l.user_id AND t.as_of = l.as_of "
        f"WHERE {drawn} AND {'l.label' if task == 'class' else 'l.number'} IS NOT NULL ORDER BY l.user_id, l.as_of"
    )
    log.info("labels %s: %d rows in, %d rows out", outcome, count, found.num_rows)
    classes: list[str] = []
    left_out: dict[str, int] = {}
    if task == "class":
        found, classes, left_out = _common_classes(found)
    y = _targets(found, classes)
    values = np.column_stack([_finite(found.column(name)) for name in columns]) if columns else np.zeros((len(y), 0))
    user = np.asarray(found.column("user_id").combine_chunks().dictionary_encode().indices, dtype=np.int64)
    split, date = (np.asarray(found.column(name).to_pylist(), dtype=object) for name in ("split", "as_of"))
    history = None if histories is None else histories.read(found.column("user_id"), date)
    x = Matrix(tuple(columns), values, history=history)
    return Labelled(task, x, y, user, split, date, classes, left_out, share)


def feature_matrix(batch: pa.RecordBatch, columns: tuple[str, ...]) -> Matrix:
    """The named columns of a batch as a Matrix."""
    return Matrix(columns, np.column_stack([_finite(batch.column(name)) for name in columns]))


def _targets(found: pa.Table, classes: list[str]) -> Floats:
    if not classes:
        return found.column("number").to_numpy().astype(float)
    place = {name: at for at, name in enumerate(classes)}
    return np.array([place[name] for name in found.column("label").to_pylist()], dtype=float)


def _common_classes(found: pa.Table) -> tuple[pa.Table, list[str], dict[str, int]]:
    counts = {row["values"]: row["counts"] for row in found.column("label").value_counts().to_pylist()}
    trained = found.filter(pa.compute.equal(found.column("split"), "train")).column("label").value_counts().to_pylist()
    learned = {row["values"]: row["counts"] for row in trained}
    enough = [name for name, count in counts.items() if count >= RARE]
    classes = sorted(sorted(enough, key=lambda name: (-learned.get(name, 0), name))[:MOST])
    left_out = {name: count for name, count in sorted(counts.items()) if name not in set(classes)}
    if left_out:
        found = found.filter(np.isin(np.asarray(found.column("label").to_pylist(), dtype=object), classes))
    return found, classes, left_out


def _finite(column: pa.ChunkedArray | pa.Array) -> Floats:
    values = np.array(
        column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy(), dtype=float
    )
    values[~np.isfinite(values)] = np.nan
    return values
