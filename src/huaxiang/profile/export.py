"""All profiles into one file: a row of traits a customer (Parquet, CSV, JSON lines), or whole documents (JSON lines)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import HuaxiangError, ShopError
from huaxiang.profile.document import BATCH, profile_documents
from huaxiang.settings import Settings

SUFFIXES = (".parquet", ".csv", ".jsonl")
_FORMATS = {".parquet": "FORMAT parquet, COMPRESSION zstd", ".csv": "FORMAT csv, HEADER true", ".jsonl": "FORMAT json"}


def export_profiles(lake: Lake, settings: Settings, path: Path, *, what: str = "traits") -> int:
    """Write all profiles to `path` by its suffix, whole or not at all; gives the customers written.

    what: "traits" (one row a customer) or "documents" (whole profiles, .jsonl only)
    """
    suffix = path.suffix.lower()
    if what not in ("traits", "documents"):
        raise HuaxiangError("profile.what", what=what)
    if suffix not in SUFFIXES:
        raise HuaxiangError("profile.suffix", suffix=suffix or "?", known=", ".join(SUFFIXES))
    if what == "documents" and suffix != ".jsonl":
        raise HuaxiangError("profile.documents_suffix", suffix=suffix)
    if not path.resolve().parent.is_dir():
        raise HuaxiangError("profile.no_folder", folder=path.resolve().parent)
    if not lake.has("profiles"):
        raise ShopError("lake.no_table", name="profiles", have=", ".join(lake.names()) or "-")
    beside = path.with_name(f".{path.name}.{os.getpid()}{suffix}")
    try:
        if what == "documents":
            _write_documents(lake, settings, beside)
        else:
            lake.engine.run(f"COPY ({_rows(lake, suffix)}) TO {quote(str(beside))} ({_FORMATS[suffix]})")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return lake.rows("profiles")


def _rows(lake: Lake, suffix: str) -> str:
    table = lake.table("profiles")
    sql = lake.engine.sql(table)
    if suffix != ".csv":
        return f"SELECT {_kept(table.columns)} FROM ({sql}) ORDER BY user_id"
    columns = []
    for field in lake.engine.schema(f"SELECT {_kept(table.columns)} FROM ({sql})"):
        name, kind = '"' + field.name.replace('"', '""') + '"', str(field.type)
        text = (
            name
            if kind in ("string", "large_string")
            else f"CAST(to_json({name}) AS VARCHAR)"
            if kind.startswith(("list", "struct"))
            else ""
        )
        # a spreadsheet runs a cell that starts like a formula
        columns.append(
            f"CASE WHEN regexp_matches({text}, '^[=+@\t\r-]') THEN '''' || {text} ELSE {text} END AS {name}"
            if text
            else name
        )
    return f"SELECT {', '.join(columns)} FROM ({sql}) ORDER BY user_id"


def _kept(columns: Sequence[str]) -> str:
    """The columns that mean something outside the lake."""
    return ", ".join('"' + name.replace('"', '""') + '"' for name in columns if name != "user_no")


def _write_documents(lake: Lake, settings: Settings, path: Path) -> None:
    with path.open("w", encoding="utf-8") as out:
        for batch in _batches(lake):
            out.writelines(profile.to_json() + "\n" for profile in profile_documents(lake, settings, batch))


def _batches(lake: Lake) -> Iterator[list[str]]:
    """The customers in the order in which their rows and events lie."""
    table = lake.table("profiles")
    order = "user_no" if "user_no" in table.columns else "user_id"
    for batch in lake.engine.batches(f"SELECT user_id FROM ({lake.engine.sql(table)}) ORDER BY {order}", BATCH):
        yield batch.column(0).to_pylist()
