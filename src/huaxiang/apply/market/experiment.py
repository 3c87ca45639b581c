"""A file of a randomised test as what uplift learns from: columns known before, who was treated, what followed.

Which columns were known before the treatment cannot be seen in a file, and one that was not would leak. So those to the left of the
treatment column are taken, as such files are written in order of time, or those the caller names; and of them none that varies only
where the outcome happened, for it is a consequence of it. What was left out is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from huaxiang.apply.market.qini import check_arms
from huaxiang.errors import ModelError, SourceError
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix

MOST_LEVELS = 1000
_RANKED = re.compile(r"\D{0,2}(\d[\d,.]*)")


@dataclass(frozen=True)
class Experiment:
    """x: (N, F) columns known before; treated: (N,) 0/1; outcome: (N,). left_out: column -> why (after, consequence, texts)."""

    x: Matrix
    treated: Floats
    outcome: Floats
    left_out: dict[str, str] = field(default_factory=dict)


def read_experiment(
    path: Path, *, treatment: str, arm: str, control: str, outcome: str, columns: Sequence[str] = ()
) -> Experiment:
    """The rows of `arm` and `control` in a CSV or Parquet file.

    treatment: the column that says what each customer got; columns: those known before (default: those left of `treatment`)
    raises: SourceError for a file that cannot be read, ModelError for an unknown column or arm, and where an arm is empty
    """
    table = read_table(path)
    for name in (treatment, outcome, *columns):
        if name not in table.column_names:
            raise ModelError("market.no_column", name=name, have=", ".join(table.column_names))
    given = np.array([str(value) for value in table[treatment].to_pylist()])
    arms = sorted(set(given))
    for name in (arm, control):
        if name not in arms:
            raise ModelError("market.no_arm", name=name, column=treatment, have=", ".join(arms[:10]))
    if arm == control:
        raise ModelError("market.same_arm", name=arm)
    y = _numbers(table[outcome])
    if y is None:
        raise ModelError("market.outcome_text", name=outcome)
    kept = ((given == arm) | (given == control)) & ~np.isnan(y)
    treated, y = (given[kept] == arm).astype(float), y[kept]
    check_arms(treated, y)
    names = list(columns) or table.column_names[: table.column_names.index(treatment)]
    left_out = {} if columns else dict.fromkeys(table.column_names[len(names) + 1 :], "after")
    left_out.pop(outcome, None)
    rows = table.filter(pa.array(kept))
    given_columns = {name: rows[name] for name in names if name not in (treatment, outcome)}
    x = Coding.fit(given_columns, left_out).apply(given_columns)
    x = _without_consequences(x, y, left_out)
    if not x.columns:
        raise ModelError("market.no_columns", column=treatment)
    return Experiment(x, treated, y, left_out)


@dataclass(frozen=True)
class Coding:
    """How columns become numbers. levels: of each column of texts the number of each level; categories: those whose numbers are no ranks.

    Texts whose levels begin with rising numbers ("2) $100 - $200", "25-34") are taken in that order, other texts as categories.
    """

    columns: tuple[str, ...]
    levels: dict[str, dict[str, float]]
    categories: frozenset[str]

    @classmethod
    def fit(cls, columns: Mapping[str, Any], left_out: dict[str, str]) -> Coding:
        """As the rows at hand have it; a column of texts with too many levels is left out, and said in `left_out`."""
        names, coded, categories = [], {}, set()
        for name, column in columns.items():
            if _numbers(column) is None:
                levels = sorted(set(pc.unique(_texts(column)).to_pylist()) - {"", None})
                if len(levels) > MOST_LEVELS:
                    left_out[name] = "texts"
                    continue
                ranks = _ranks(levels)
                if ranks is None:
                    categories.add(name)
                    ranks = dict(zip(levels, map(float, range(len(levels))), strict=True))
                coded[name] = ranks
            names.append(name)
        return cls(tuple(names), coded, frozenset(categories))

    def apply(self, columns: Mapping[str, Any]) -> Matrix:
        """The columns as numbers, NaN for what is missing and for a text that was not seen."""
        made = [self._apply(name, columns[name]) for name in self.columns]
        return Matrix(self.columns, np.column_stack(made) if made else np.zeros((0, 0)), self.categories)

    def _apply(self, name: str, column: Any) -> Floats:
        if name in self.levels:
            known = self.levels[name]
            ranks = np.array([*known.values(), np.nan])
            at = pc.index_in(_texts(column), value_set=pa.array(known, pa.string())).fill_null(len(known))
            return np.asarray(ranks[at.to_numpy()])
        numbers = _numbers(column)
        return np.full(len(column), np.nan) if numbers is None else numbers

    def to_json(self) -> dict[str, Any]:
        return {"columns": list(self.columns), "levels": self.levels, "categories": sorted(self.categories)}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Coding:
        return cls(tuple(said["columns"]), said["levels"], frozenset(said["categories"]))


def read_table(path: Path) -> pa.Table:
    """A CSV or Parquet file; raises SourceError."""
    try:
        return pq.read_table(path) if path.suffix.lower() in (".parquet", ".pq") else pa_csv.read_csv(path)
    except FileNotFoundError as error:
        raise SourceError("models.table_missing", path=path) from error
    except pa.ArrowInvalid as error:
        raise SourceError("models.table_unreadable", path=path, detail=str(error).splitlines()[0][:160]) from error


def _numbers(column: Any) -> Floats | None:
    """(N,) with NaN for missing (None: these are no numbers)."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return None
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=float)


def _texts(column: Any) -> pa.Array:
    """(N,) as texts, null for missing."""
    made = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_nested(made.type):
        return pa.array([None if value is None else str(value) for value in made.to_pylist()], pa.string())
    return made.cast(pa.string())


def _ranks(levels: Sequence[str]) -> dict[str, float] | None:
    """level -> place, where every level begins with a number and no two with the same."""
    found = [_RANKED.match(level) for level in levels]
    if not levels or any(one is None for one in found):
        return None
    starts = [float(one[1].replace(",", "").rstrip(".") or 0) for one in found if one is not None]
    if len(set(starts)) < len(starts):
        return None
    order = np.argsort(np.argsort(starts))
    return {level: float(place) for level, place in zip(levels, order, strict=True)}


def _without_consequences(x: Matrix, y: Floats, left_out: dict[str, str]) -> Matrix:
    """Without columns that are one single value wherever the outcome is 0, and another where it is not."""
    idle = y == 0
    kept = []
    for at, name in enumerate(x.columns):
        values = x.values[idle, at]
        flat = idle.any() and not idle.all() and bool(np.all(values == values[0]))
        if flat and bool(np.any(x.values[~idle, at] != values[0])):
            left_out[name] = "consequence"
        else:
            kept.append(name)
    return Matrix(tuple(kept), x.take(tuple(kept)), x.categories & frozenset(kept))
