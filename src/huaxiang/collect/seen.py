"""What was seen of one file or database table, and what the sampling keeps to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huaxiang.collect.sniff_values import ColumnLook

SAMPLE_ROWS = 20_000
HEAD_ROWS = 8_000
TOO_WIDE = 2_000


@dataclass(frozen=True)
class Look:
    """One file or table as seen. `columns` hold the sampled rows; `doubts` are (key, values) of words/init.toml."""

    origin: str  # the path or URL as the person gave it
    path: Path | None
    format: Literal["csv", "jsonl", "parquet", "database"]
    columns: tuple[ColumnLook, ...]
    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    renamed: bool = False  # the header repeats or lacks names: read it by position
    skip: int = 0
    rows: int = 0
    rows_exact: bool = False
    db_table: str = ""
    gzipped: bool = False
    doubts: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def sampled(self) -> int:
        return len(self.columns[0].values) if self.columns else 0

    def column(self, name: str) -> ColumnLook:
        return next(column for column in self.columns if column.name == name)
