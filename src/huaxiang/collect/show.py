"""What a collect did, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from huaxiang.words import Words

if TYPE_CHECKING:
    from rich.console import Console

    from huaxiang.collect.report import CollectReport, FileReport
    from huaxiang.words import Lang

MOST_FILES = 12  # of a source; more are summed up in one line


def show_collect(report: CollectReport, console: Console, lang: Lang) -> None:
    """Print where the lines of each source went."""
    words = Words(lang)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(words("collect.show.source"))
    for name in ("lines", "stored", "repeated", "refused", "rejected"):
        table.add_column(words(f"collect.show.{name}"), justify="right")
    for source in report.sources:
        changed = [file for file in source.files if not file.unchanged]
        for file in changed[:MOST_FILES]:
            table.add_row(f"{escape(source.name)} [dim]{escape(file.file)}[/]", *_cells(file))
        left = len(changed) - MOST_FILES
        if left > 0:
            table.add_row(f"{escape(source.name)} [dim]{words('collect.show.more', files=left)}[/]")
        if len(changed) < len(source.files):
            table.add_row(
                f"{escape(source.name)} [dim]{words('collect.show.unchanged', files=len(source.files) - len(changed))}[/]"
            )
    console.print(table)
    for source in report.sources:
        for name, rows in source.misfits.items():
            console.print(
                f"[yellow]{words('collect.show.misfits', source=escape(source.name), table=name, rows=f'{rows:,}')}"
            )
    if report.withdrawn:
        console.print(f"[yellow]{words('collect.show.withdrawn', rows=f'{report.withdrawn:,}')}")
    for name in report.strays:
        console.print(f"[yellow]{words('collect.show.stray', source=escape(name))}")


def _cells(file: FileReport) -> list[str]:
    stored = ", ".join(f"{table} {rows:,}" for table, rows in file.rows.items()) or "0"
    return [
        f"{file.lines:,}",
        stored,
        *(f"{count:,}" if count else "·" for count in (file.repeated, file.refused, file.rejected)),
    ]
