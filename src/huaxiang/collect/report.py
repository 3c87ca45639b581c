"""What a collect did: for each source and file, where every line went."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TableCount:
    """Rows of one file on their way to one table; lines = rows + repeated + refused + left_out (+ rejected lines)."""

    table: str
    rows: int
    repeated: int = 0  # collected before, or also in another file of the source
    refused: int = 0  # the user did not consent
    left_out: int = 0  # by `where`, or alike under `distinct`


@dataclass(frozen=True)
class FileReport:
    file: str
    lines: int
    rejected: int = 0  # lines that are no rows: in raw.rejects
    unchanged: bool = False  # the same bytes and mapping as last time: not read again
    tables: tuple[TableCount, ...] = ()

    @property
    def rows(self) -> dict[str, int]:
        """Rows stored, by table."""
        return _sum({count.table: count.rows} for count in self.tables)

    @property
    def repeated(self) -> int:
        return max((count.repeated for count in self.tables), default=0)

    @property
    def refused(self) -> int:
        return max((count.refused for count in self.tables), default=0)


@dataclass(frozen=True)
class SourceReport:
    name: str
    files: tuple[FileReport, ...]
    seconds: float = 0.0
    misfits: dict[str, int] = field(default_factory=dict)  # rows with a value that did not fit its type, by table

    @property
    def rows(self) -> dict[str, int]:
        """Rows stored, by table."""
        return _sum(file.rows for file in self.files)


@dataclass(frozen=True)
class CollectReport:
    """`withdrawn`: rows taken out because their users no longer consent. `strays`: sources stored but no longer named."""

    sources: tuple[SourceReport, ...]
    withdrawn: int = 0
    strays: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[FileReport, ...]:
        return tuple(file for source in self.sources for file in source.files)

    @property
    def rows(self) -> dict[str, int]:
        """Rows stored now, by table."""
        return _sum(source.rows for source in self.sources)

    @property
    def lines(self) -> int:
        return sum(file.lines for file in self.files)

    @property
    def rejected(self) -> int:
        return sum(file.rejected for file in self.files)

    @property
    def refused(self) -> int:
        return sum(file.refused for file in self.files)

    @property
    def repeated(self) -> int:
        return sum(file.repeated for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _sum(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        for table, rows in part.items():
            found[table] = found.get(table, 0) + rows
    return found
