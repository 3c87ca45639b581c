"""Keys with few values (categories, brands) counted in arrays: one cell a user and value instead of a hash table.

Customers are numbered without gaps and so are the codes of a key, and nearly every event of a customer is of another category or
brand: grouping by (customer, category) hashes millions of keys that an array addresses (a third of the time; bench/log.md).
DuckDB only; what is counted is the same plan, and the tests hold both to the same answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import ibis
import numpy as np
import pyarrow as pa

from huaxiang.features.in_ibis import to_ibis
from huaxiang.features.nodes import DAY
from huaxiang.features.plan import KeyPlan, Measure, Over, Since, Strongest, Total
from huaxiang.features.written import Writer

MOST_VALUES = 512
CELLS = 1 << 19  # of a block of users: what fits the processor's cache
_LISTS = pa.list_(pa.struct([("score", pa.float64()), ("key", pa.string())]))


def is_dense(made: KeyPlan, codes: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether the key has few values, and only what arrays of counts and scores answer is asked of it."""
    return (
        0 < len(codes.get(made.name, {})) <= MOST_VALUES
        and made.event is None
        and made.unless is None
        and all(_is_counted(total.measure) for total in made.measures)
        and all(_is_answered(fold) for fold in made.folds)
    )


def weights(made: KeyPlan, table: ibis.Table, key: Any, to: Writer, condition: Any) -> ibis.Table:
    """user_no, key, and for each of `totals_of(made)` what an event adds to it. condition: (total, table, to) -> Ibis condition."""
    columns = {}
    for number, total in enumerate(totals_of(made)):
        value: Any = ibis.literal(1.0)
        if total.measure.value is not None:
            value = to_ibis(total.measure.value, to.column(table))
        if total.measure.half_life:
            age = (to.as_of(table) - table.day_no).cast("float64")
            value = value * ibis.literal(0.5) ** (age / total.measure.half_life)
        kept = condition(total, table, to)
        columns[f"w{number}"] = (value if kept is None else ibis.ifelse(kept, value, 0.0)).cast(
            "float32" if _is_whole(total) else "float64"
        )
    return table.select("user_no", key=key, **columns)


def totals_of(made: KeyPlan) -> list[Total]:
    """What is added up for each value; a last day within a window is a count in it."""
    found: dict[Total, None] = {}
    for fold in made.folds:
        for total in fold.totals:
            found[_counted(fold, total)] = None
    return list(found)


def schema_of(made: KeyPlan) -> ibis.Schema:
    """The columns of `fold_dense`."""
    lists = "array<struct<score: float64, key: string>>"
    kinds = {alias: lists if isinstance(fold, Strongest) else "float64" for fold, alias in made.folds.items()}
    return ibis.schema({"user_no": "int32", **kinds})


def fold_dense(made: KeyPlan, rows: pa.Table, codes: Mapping[str, int]) -> pa.Table:
    """One row a user: the folds of `made` over `rows`, the result of `weights`. codes: name -> code."""
    names = sorted(codes)
    place = np.zeros(max(codes.values()) + 1, np.int64)
    for number, name in enumerate(names):
        place[codes[name]] = len(names) - 1 - number  # later names first: of equal scores the first is taken
    parts = [_fold_block(made, names, *block) for block in _blocks(rows, place, len(names), len(totals_of(made)))]
    kinds = {alias: _LISTS if isinstance(fold, Strongest) else pa.float64() for fold, alias in made.folds.items()}
    schema = pa.schema([("user_no", pa.int32()), *kinds.items()])
    return pa.concat_tables(parts).cast(schema) if parts else schema.empty_table()


def _blocks(rows: pa.Table, place: np.ndarray, width: int, count: int) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Blocks of users that have rows: their numbers, and an array (users, values) for each weight."""
    if not rows.num_rows:
        return
    user, key = (rows.column(name).combine_chunks().to_numpy() for name in ("user_no", "key"))
    given = [rows.column(f"w{number}").combine_chunks().to_numpy() for number in range(count)]
    if (np.diff(user) < 0).any():
        order = np.argsort(user, kind="stable")
        user, key, given = user[order], key[order], [weight[order] for weight in given]
    block = max(1, CELLS // width)
    low, high = int(user[0]), int(user[-1]) + 1
    edges = np.searchsorted(user, np.arange(low, high + block, block))
    for number, (start, end) in enumerate(pairwise(edges)):
        if start == end:
            continue
        first = low + number * block
        cell = (user[start:end] - first) * width + place[key[start:end]]
        size = min(block, high - first)
        met = np.bincount(cell, minlength=size * width).reshape(size, width).any(1)
        sums = [
            np.bincount(cell, weights=weight[start:end], minlength=size * width).reshape(size, width)[met]
            for weight in given
        ]
        yield np.flatnonzero(met) + first, sums


def _fold_block(made: KeyPlan, names: list[str], users: np.ndarray, sums: list[np.ndarray]) -> pa.Table:
    of = dict(zip(totals_of(made), sums, strict=True))
    columns: dict[str, Any] = {"user_no": users.astype(np.int32)}
    for fold, alias in made.folds.items():
        match fold:
            case Since():
                columns[alias] = (of[_counted(fold, fold.day)] > 0).sum(1).astype(float)
            case Over():
                found = of[fold.total]
                columns[alias] = found.max(1) if fold.how == "max" else found.sum(1)
            case Strongest():
                columns[alias] = _strongest(of[fold.score], fold.k, names)
    return pa.table(columns)


def _strongest(score: np.ndarray, k: int, names: list[str]) -> pa.Array:
    score = score.copy()
    rows = np.arange(len(score))
    best, strength = (np.empty((len(score), k), kind) for kind in (np.int64, float))
    for rank in range(k):
        found = score.argmax(1)
        best[:, rank], strength[:, rank] = len(names) - 1 - found, score[rows, found]
        score[rows, found] = -1.0
    have = strength > 0
    offsets = np.concatenate(([0], np.cumsum(have.sum(1)))).astype(np.int32)
    keys = pa.array(names).take(pa.array(best[have]))
    entries = pa.StructArray.from_arrays([pa.array(strength[have]), keys], names=["score", "key"])
    return pa.ListArray.from_arrays(pa.array(offsets), entries)


def _counted(fold: Any, total: Total) -> Total:
    if isinstance(fold, Since):
        from huaxiang.features.windows import Window

        day = total.measure
        return Total(Measure("count", None, day.event, day.rest), Window(fold.days))
    return total


def _is_whole(total: Total) -> bool:
    """Whether what an event adds is exact in half the bytes."""
    return total.measure.value is None and not total.measure.half_life


def _is_counted(measure: Measure) -> bool:
    if measure.how == "max":
        return measure.value == DAY
    return measure.how == "count" or (
        measure.how == "sum" and measure.value is not None and measure.value.op == "weights"
    )


def _is_answered(fold: Any) -> bool:
    if isinstance(fold, Since):
        return fold.day.measure.how == "max"
    if isinstance(fold, Over):
        return fold.only is None and fold.how != "mean" and fold.total.measure.how != "max"
    return isinstance(fold, Strongest) and fold.score.measure.how == "sum"
