"""Further attributes (JSON objects) of a user's rows merged into one, in Python on the executors.

As users.py merges them on DuckDB: of each key the value of the best row; the sources of all attributes beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

COLUMNS = ("extra", "sources", "filled")


def extra_schema(before: pa.Schema) -> pa.Schema:
    """The schema after merge_extra, from that of merged_users."""
    kept = [field for field in before if field.name not in ("said", "extras")]
    return pa.schema([*kept, ("extra", pa.string()), ("sources", pa.string()), ("filled", pa.list_(pa.string()))])


def merge_extra(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows of merged_users with `said` and `extras` turned into extra, sources and filled."""
    for batch in batches:
        told = [
            _merge(said, extras)
            for said, extras in zip(batch.column("said").to_pylist(), batch.column("extras").to_pylist(), strict=True)
        ]
        kept = [name for name in batch.schema.names if name not in ("said", "extras")]
        columns = {name: batch.column(name) for name in kept}
        columns |= {name: pa.array([row[at] for row in told], kind) for at, (name, kind) in enumerate(_KINDS.items())}
        yield pa.record_batch(columns)


_KINDS = {"extra": pa.string(), "sources": pa.string(), "filled": pa.list_(pa.string())}


def _merge(said: list[dict[str, Any]], extras: list[dict[str, Any]] | None) -> tuple[str | None, str, list[str]]:
    values: dict[str, tuple[Any, str]] = {}
    for row in sorted(extras or [], key=lambda row: row["rank"]):
        for key, value in _object(row["extra"]).items():
            values.setdefault(key, (value, row["source"]))
    sources = {told["name"]: told["source"] for told in said if told["source"] is not None}
    sources |= {key: source for key, (_, source) in sorted(values.items())}
    extra = {key: value for key, (value, _) in sorted(values.items())}
    filled = [told["name"] for told in said if told["filled"]]
    return (_write(extra) if extra else None), _write(sources), filled


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return found if isinstance(found, dict) else {}


def _write(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
