"""A first look at JSON lines, Parquet and database rows: sources that name each value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from huaxiang.collect.seen import HEAD_ROWS, SAMPLE_ROWS, TOO_WIDE, Look
from huaxiang.collect.sniff_bytes import Sample
from huaxiang.collect.sniff_values import look_at_column
from huaxiang.errors import SourceError

_BETWEEN = re.compile(r"[\s,]*")


def read_array(text: str) -> tuple[list[dict[str, Any]], int]:
    """The first objects of one JSON array, as far as the sample reaches."""
    records: list[dict[str, Any]] = []
    decoder, at = json.JSONDecoder(), 1
    while len(records) < HEAD_ROWS:
        between = _BETWEEN.match(text, at)
        try:
            record, at = decoder.raw_decode(text, between.end() if between else at)
        except ValueError:  # the end of the array, or of the sample
            break
        if isinstance(record, dict):
            records.append(record)
    return records, 0


def look_at_json_lines(sample: Sample, origin: str) -> Look:
    records: list[dict[str, Any]] = []
    broken = 0
    lines = sample.head.lstrip("\ufeff").splitlines()
    for line in [*lines[:HEAD_ROWS], *(line for window in sample.spread for line in window.splitlines()[:200])]:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            broken += 1
    return look_at_records(sample, origin, records, broken)


def look_at_records(sample: Sample, origin: str, objects: list[dict[str, Any]], broken: int) -> Look:
    records = [flatten(record) for record in objects]
    if not records:
        raise SourceError("init.not_json_lines", path=sample.path)
    names = list(dict.fromkeys(name for record in records for name in record))
    if len(names) > TOO_WIDE:
        raise SourceError("init.too_wide", path=sample.path, columns=f"{len(names):,}", limit=f"{TOO_WIDE:,}")
    columns = tuple(look_at_column(name, [record.get(name) for record in records]) for name in names)
    doubts = (("odd_json", (("rows", broken), ("sampled", broken + len(records)))),) if broken else ()
    return Look(
        origin,
        sample.path,
        "jsonl",
        columns,
        sample.encoding,
        rows=sample.lines,
        rows_exact=sample.exact,
        gzipped=sample.gzipped,
        doubts=doubts,
    )


def flatten(record: dict[str, Any], path: str = "") -> dict[str, str | None]:
    """A JSON object as flat cells: `properties.price`, `items.0.price` (the first of a list of objects); other lists stay text."""
    cells: dict[str, str | None] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            cells.update(flatten(value, f"{path}{name}."))
        elif isinstance(value, list) and value and isinstance(value[0], dict) and "key" not in value[0]:
            cells.update(flatten(value[0], f"{path}{name}.0."))
        else:
            cells[f"{path}{name}"] = to_cell(value)
    return cells


def to_cell(value: Any) -> str | None:
    """A value as the text a CSV would hold."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def look_at_parquet(path: Path, origin: str) -> Look:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        groups = file.metadata.num_row_groups
        wanted = sorted({0, groups // 2, groups - 1}) if groups else []
        rows = [row for group in wanted for row in _some_rows(file, group)]
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError("init.parquet_damaged", path=path) from error
    if not rows:
        raise SourceError("init.empty", path=path)
    return look_at_rows(rows, origin, format="parquet", rows_total=file.metadata.num_rows, path=path)


def _some_rows(file: Any, group: int) -> list[dict[str, Any]]:
    batch = next(iter(file.iter_batches(batch_size=SAMPLE_ROWS // 3, row_groups=[group])), None)
    return batch.to_pylist() if batch is not None else []


def look_at_rows(
    rows: Iterable[dict[str, Any]],
    origin: str,
    *,
    format: Literal["parquet", "database"],
    rows_total: int,
    path: Path | None = None,
    db_table: str = "",
) -> Look:
    """The Look of rows that come typed, from Parquet or a database."""
    flat = [flatten(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    columns = tuple(look_at_column(name, [row.get(name) for row in flat]) for name in names)
    return Look(origin, path, format, columns, rows=rows_total, rows_exact=True, db_table=db_table)
