"""A plain file as a Matrix and a label: read, typed, and cleaned of columns that cannot teach anything."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from huaxiang.engine import Engine
from huaxiang.errors import ModelError, SourceError
from huaxiang.models.card import Texts, say
from huaxiang.models.metrics import Floats, Task, roc_auc
from huaxiang.models.zoo import Matrix

NEED_ROWS = 20
MOST_COLUMNS = 2_000
MISSING = ("", "na", "n/a", "nan", "null", "none", "nil", "?", "-", "#n/a", "缺失", "无")
NUMERIC = 0.95  # a column is a number when this share of its values reads as one
CLASSES = 10  # whole numbers with at most this many values are classes, more are a number
MOST_CLASSES = 50
TASKS = ("auto", "binary", "number", "class")
YES = {"yes", "y", "true", "t", "1", "是", "会", "buy", "bought", "churn", "positive"}


@dataclass
class TableData:
    """`y` is 0/1, a number, or an index into `classes`; `kinds` gives each used column's kind."""

    label: str
    task: Task
    x: Matrix
    y: Floats
    classes: list[str]
    kinds: dict[str, str]
    notes: list[Texts] = field(default_factory=list)


@dataclass(frozen=True)
class _Column:
    name: str
    kind: str  # number, category, time, empty
    present: int
    distinct: int


def read_table(path: Path, label: str, *, task: str, engine: Engine) -> TableData:
    """The file at `path` ready for the exam; raises SourceError or ModelError naming what is wrong with it."""
    if task not in TASKS:
        raise ModelError("models.unknown_task", task=task)
    notes: list[Texts] = []
    texts = _read_texts(path, notes)
    label = _find_label(label, texts.column_names)
    loaded = engine.load(texts)
    clean = engine.view(
        f"SELECT {', '.join(_without_missing(name) for name in texts.column_names)} FROM {loaded.get_name()}"
    )
    columns = _profile(engine, clean.get_name(), texts.column_names)
    columns[label] = _checked_label(columns[label], task)
    used = {name: column for name, column in columns.items() if name != label}
    typed = engine.arrow(
        f"SELECT {', '.join(_typed(column) for column in columns.values())} FROM {clean.get_name()} "
        f"WHERE {_typed(columns[label], bare=True)} IS NOT NULL"
    )
    engine.drop(clean)
    engine.drop(loaded)
    if texts.num_rows > typed.num_rows:
        notes.append(say("models.table.no_label_rows", count=texts.num_rows - typed.num_rows))
    if typed.num_rows < NEED_ROWS:
        raise ModelError("models.table_few_rows", path=path, rows=typed.num_rows, need=NEED_ROWS)
    y, found_task, classes = _label_values(typed.column(label), columns[label], task)
    kept = _useful(used, typed, notes)
    if not kept:
        raise ModelError("models.no_features", path=path, why="; ".join(note["en"] for note in notes) or "-")
    x = _matrix(typed, kept)
    _warn_of_leaks(x, y, found_task, notes)
    return TableData(label, found_task, x, y, classes, {column.name: column.kind for column in kept}, notes)


def _read_texts(path: Path, notes: list[Texts]) -> pa.Table:
    """Every column as text."""
    if not path.is_file():
        raise SourceError("models.table_missing", path=path)
    if path.stat().st_size == 0:
        raise SourceError("models.table_empty", path=path, need=NEED_ROWS)
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return _parquet_texts(path)
        raw = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
        return _csv_texts(path, raw, notes)
    except (pa.ArrowInvalid, csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
        detail = str(error).splitlines()[0].split(" Row #")[0][:160]
        raise SourceError("models.table_unreadable", path=path, detail=detail) from error


def _parquet_texts(path: Path) -> pa.Table:
    table = pq.read_table(path)
    _check_names(path, table.column_names)
    flat = [name for name in table.column_names if not pa.types.is_nested(table.schema.field(name).type)]
    return pa.table({name: pc.cast(table.column(name), pa.string()) for name in flat})


def _csv_texts(path: Path, raw: bytes, notes: list[Texts]) -> pa.Table:
    text = _decoded(path, raw)
    if not text.strip():
        raise SourceError("models.table_empty", path=path, need=NEED_ROWS)
    first = text[: text.find("\n") + 1 or None]
    counts = {mark: first.count(mark) for mark in ",;\t|"}
    delimiter = max(counts, key=lambda mark: counts[mark])
    if counts[delimiter] >= MOST_COLUMNS:
        raise SourceError("models.table_wide", path=path, columns=counts[delimiter] + 1, most=MOST_COLUMNS)
    names = [name.strip() for name in next(csv.reader(io.StringIO(first), delimiter=delimiter))]
    names = [name or f"column_{at}" for at, name in enumerate(names, 1)]
    _check_names(path, names)
    odd: list[int] = []

    def count_odd(row: Any) -> str:
        odd.append(row.number or 0)
        return "skip"

    table = pa_csv.read_csv(
        pa.BufferReader(text.encode()),
        read_options=pa_csv.ReadOptions(column_names=names, skip_rows=1, block_size=1 << 24),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=count_odd),
        convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True),
    )
    if odd:
        notes.append(say("models.table.odd_rows", count=len(odd), columns=len(names)))
    return table


def _decoded(path: Path, raw: bytes) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw[:65536]:
        raise SourceError("models.table_binary_file", path=path)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        from charset_normalizer import from_bytes

        found = from_bytes(raw[:200_000], cp_isolation=["gb18030", "big5", "cp1252", "latin_1", "shift_jis"]).best()
        if found is None:
            raise SourceError("models.table_encoding", path=path, byte=error.start) from error
        return raw.decode(found.encoding, errors="replace")


def _check_names(path: Path, names: list[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise SourceError("models.table_wide", path=path, columns=len(names), most=MOST_COLUMNS)
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise SourceError("models.table_headers", path=path, column=name)
        seen.add(name.lower())


def _find_label(label: str, names: list[str]) -> str:
    if label in names:
        return label
    if label == "last":
        return names[-1]
    near = difflib.get_close_matches(label.lower(), [name.lower() for name in names], n=1, cutoff=0.4)
    best = next((name for name in names if near and name.lower() == near[0]), names[-1])
    if best.lower() == label.lower():
        return best
    have = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    raise ModelError("models.no_label", label=label, near=best, have=have)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _without_missing(name: str) -> str:
    marks = ", ".join(f"'{mark}'" for mark in MISSING)
    return f"CASE WHEN lower(trim({_quoted(name)})) NOT IN ({marks}) THEN trim({_quoted(name)}) END AS {_quoted(name)}"


def _finite(name: str) -> str:
    number = f"TRY_CAST({_quoted(name)} AS DOUBLE)"
    return f"(CASE WHEN isfinite({number}) THEN {number} END)"


def _profile(engine: Engine, table: str, names: list[str]) -> dict[str, _Column]:
    parts = [
        f"count({_quoted(name)}) AS present_{at}, count(DISTINCT {_quoted(name)}) AS distinct_{at}, "
        f"count({_finite(name)}) AS numbers_{at}, count(TRY_CAST({_quoted(name)} AS TIMESTAMP)) AS times_{at}"
        for at, name in enumerate(names)
    ]
    found = engine.rows(f"SELECT {', '.join(parts)} FROM {table}")[0]
    columns: dict[str, _Column] = {}
    for at, name in enumerate(names):
        present, distinct = found[f"present_{at}"], found[f"distinct_{at}"]
        kind = "category"
        if not present:
            kind = "empty"
        elif found[f"numbers_{at}"] >= NUMERIC * present:
            kind = "number"
        elif found[f"times_{at}"] >= NUMERIC * present:
            kind = "time"
        columns[name] = _Column(name, kind, present, distinct)
    return columns


def _typed(column: _Column, *, bare: bool = False) -> str:
    """SQL of the column as number (times as days since 1970) or text."""
    made = {
        "number": _finite(column.name),
        "time": f"epoch(TRY_CAST({_quoted(column.name)} AS TIMESTAMP)) / 86400.0",
    }.get(column.kind, _quoted(column.name))
    return made if bare else f"{made} AS {_quoted(column.name)}"


def _checked_label(column: _Column, task: str) -> _Column:
    if column.kind == "empty":
        raise ModelError("models.label_missing", label=column.name)
    if column.distinct < 2:
        raise ModelError("models.label_one_class", label=column.name)
    if task == "number" and column.kind == "category":
        raise ModelError("models.label_not_number", label=column.name)
    if task == "binary" and column.distinct != 2:
        raise ModelError("models.label_not_binary", label=column.name, count=column.distinct)
    return column


def _label_values(values: pa.ChunkedArray, column: _Column, task: str) -> tuple[Floats, Task, list[str]]:
    if column.kind != "category":
        numbers = values.to_numpy().astype(float)
        distinct = np.unique(numbers)
        if len(distinct) < 2:
            raise ModelError("models.label_one_class", label=column.name)
        if len(distinct) == 2 and task in ("auto", "binary"):
            return (numbers == distinct[1]).astype(float), "binary", [f"{value:g}" for value in distinct]
        whole = bool(np.all(distinct == np.round(distinct))) and len(distinct) <= CLASSES
        if task == "class" or (task == "auto" and whole):
            if len(distinct) > MOST_CLASSES:
                raise ModelError("models.label_many", label=column.name, count=len(distinct))
            return np.searchsorted(distinct, numbers).astype(float), "class", [f"{value:g}" for value in distinct]
        return numbers, "number", []
    names = sorted(pc.unique(values).to_pylist())
    if len(names) > MOST_CLASSES:
        raise ModelError("models.label_many", label=column.name, count=len(names))
    if len(names) == 2 and names[0].lower() in YES and names[1].lower() not in YES:
        names = names[::-1]
    codes = pc.index_in(values, pa.array(names)).to_numpy().astype(float)
    return codes, "binary" if len(names) == 2 and task != "class" else "class", names


def _useful(columns: dict[str, _Column], typed: pa.Table, notes: list[Texts]) -> list[_Column]:
    """The columns that can teach something; each one left out is noted."""
    out: dict[str, list[str]] = {"empty": [], "constant": [], "id": []}
    kept: list[_Column] = []
    for name, column in columns.items():
        why = _useless(column, typed.column(name))
        if why:
            out[why].append(name)
        else:
            kept.append(column)
    notes += [say(f"models.table.{why}", columns=", ".join(names)) for why, names in out.items() if names]
    times = [column.name for column in kept if column.kind == "time"]
    if times:
        notes.append(say("models.table.time", columns=", ".join(times)))
    return kept


def _useless(column: _Column, values: pa.ChunkedArray) -> str:
    if column.kind == "empty" or values.null_count == len(values):
        return "empty"
    if column.distinct == 1 and values.null_count == 0:
        return "constant"
    if column.kind == "category":
        return "id" if column.distinct > 0.5 * column.present else ""
    if column.kind == "number" and column.distinct == column.present:
        numbers = values.drop_null().to_numpy()
        whole = bool(np.all(numbers == np.round(numbers)))
        named = column.name.lower().rstrip("s").endswith(("id", "no", "index", "uuid", "编号", "序号"))
        if whole and (named or numbers.max() - numbers.min() == len(numbers) - 1):
            return "id"
    return ""


def _matrix(typed: pa.Table, kept: list[_Column]) -> Matrix:
    made: list[Floats] = []
    for column in kept:
        values = typed.column(column.name)
        if column.kind == "category":
            levels = pa.array(sorted(pc.unique(values.drop_null()).to_pylist()))
            values = pc.cast(pc.index_in(values, levels, skip_nulls=True), pa.float64())
        made.append(values.to_numpy().astype(float))
    categories = frozenset(column.name for column in kept if column.kind == "category")
    return Matrix(tuple(column.name for column in kept), np.column_stack(made), categories)


def _warn_of_leaks(x: Matrix, y: Floats, task: Task, notes: list[Texts]) -> None:
    """A column that alone tells the label is nearly always the label in another dress."""
    leaks = []
    for j, name in enumerate(x.columns):
        seen = ~np.isnan(x.values[:, j])
        column, truth = x.values[seen, j], y[seen]
        if len(column) < NEED_ROWS or column.std() == 0 or truth.std() == 0 or task == "class":
            continue
        same = abs(float(np.corrcoef(column, truth)[0, 1])) > 0.9999
        if same or (task == "binary" and abs(roc_auc(truth, column) - 0.5) > 0.4999):
            leaks.append(name)
    if leaks:
        notes.append(say("models.table.leak", columns=", ".join(leaks)))
