"""The quality report on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huaxiang.clean.quality import DIMENSIONS, QualityReport, Scores, Sides, TableQuality
from huaxiang.words import Lang, Words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

BAR = 8
TOP_REASONS = 6
WIDE = 130  # columns from which there is room for a table with bars and both figures


def show_quality(report: QualityReport, console: Console, lang: Lang) -> None:
    """Print the report: a line a table with its dimensions before → after, then the reasons and what was set right."""
    from rich.text import Text

    words = Words(lang)
    rows = report.rows
    counts = words("clean.show.rows", raw=f"{rows.raw:,}", clean=f"{rows.clean:,}", quarantined=f"{rows.quarantined:,}")
    console.print(Text.assemble((words("clean.show.title"), "bold"), "  ", (counts, "dim")))
    if console.width >= WIDE:
        console.print(_tables(report, words))
    else:
        for table in report.tables.values():
            console.print(_lines(table, words))
    if any(table.reasons for table in report.tables.values()):
        console.print(_reasons(report, words))
    for line in _notes(report, words):
        console.print(Text(f"  {line}", style="dim"))


def _lines(table: TableQuality, words: Words) -> Text:
    """A table in two lines, for a narrow terminal."""
    from rich.text import Text

    counts = {
        "raw": f"{table.rows_raw:,}",
        "clean": f"{table.rows_clean:,}",
        "quarantined": f"{table.rows_quarantined:,}",
    }
    text = Text.assemble((f"  {table.name}", "bold"), f"  {words('clean.show.rows', **counts)}")
    shown = [name for name in DIMENSIONS if _measured(table.scores, name)]
    for place, name in enumerate(shown):
        text.append("\n    " if place == 0 else " · ")
        text.append(f"{words(f'clean.dimension.{name}')} ", style="dim")
        text.append_text(_dimension(table.scores, name, bars=False))
    return text


def _tables(report: QualityReport, words: Words) -> Table:
    from rich.table import Table

    grid = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(words("clean.show.table"), no_wrap=True)
    for name in ("rows_in", "clean", "quarantined"):
        grid.add_column(words(f"clean.show.{name}"), justify="right", no_wrap=True)
    measured = [name for name in DIMENSIONS if any(_measured(table.scores, name) for table in report.tables.values())]
    for name in measured:
        grid.add_column(words(f"clean.dimension.{name}"), no_wrap=True)
    for table in report.tables.values():
        cells = [_dimension(table.scores, name, bars=True) for name in measured]
        held = f"[yellow]{table.rows_quarantined:,}[/]" if table.rows_quarantined else "0"
        grid.add_row(f"[bold]{table.name}[/]", f"{table.rows_raw:,}", f"{table.rows_clean:,}", held, *cells)
    return grid


def _reasons(report: QualityReport, words: Words) -> Table:
    from rich.table import Table

    grid = Table(
        title=words("clean.show.reasons"),
        title_justify="left",
        title_style="bold",
        box=None,
        show_header=False,
        pad_edge=False,
    )
    every = [(table.name, reason) for table in report.tables.values() for reason in table.reasons]
    every.sort(key=lambda pair: -pair[1].rows)
    most = every[0][1].rows
    for name, reason in every[:TOP_REASONS]:
        bar = "▇" * max(1, round(BAR * 2 * reason.rows / most))
        grid.add_row(
            f"  {words(f'clean.rule.{reason.code}')}",
            f"[dim]{name}[/]",
            f"[yellow]{bar}[/]",
            f"{reason.rows:,}",
            f"[dim]{_part(reason.share)}[/]",
        )
    return grid


def _notes(report: QualityReport, words: Words) -> list[str]:
    lines = [line for table in report.tables.values() for line in _table_notes(table, words)]
    if report.set_aside:
        why = ", ".join(f"{words(f'clean.line.{code}')} {count:,}" for code, count in report.set_aside.items())
        lines.insert(0, words("clean.show.set_aside", lines=f"{sum(report.set_aside.values()):,}", why=why))
    if report.refunds.lines:
        lines.append(
            words("clean.show.refunds", lines=f"{report.refunds.lines:,}", matched=f"{report.refunds.matched:,}")
        )
    if report.robots or report.tests:
        lines.append(words("clean.show.robots", robots=f"{report.robots:,}", tests=f"{report.tests:,}"))
    if report.released:
        lines.append(words("clean.show.released", rows=f"{sum(report.released.values()):,}"))
    return lines


def _table_notes(table: TableQuality, words: Words) -> list[str]:
    lines = [f"{words(f'clean.repair.{repair.code}')}: {repair.rows:,}" for repair in table.repairs[:TOP_REASONS]]
    for column in table.columns:
        place = f"{table.name}.{column.name}"
        if column.fill:
            lines.append(
                words(
                    "clean.show.filled", place=place, rows=f"{column.filled:,}", how=words(f"clean.fill.{column.fill}")
                )
            )
        if column.trim and column.trim.low is not None and column.trim.high is not None:
            ends = {"low": f"{column.trim.low:,.4g}", "high": f"{column.trim.high:,.4g}"}
            lines.append(words("clean.show.trimmed", place=place, rows=f"{column.trimmed:,}", **ends))
    return lines


def _measured(scores: Sides, name: str) -> bool:
    return getattr(scores.before, name) is not None or getattr(scores.after, name) is not None


def _dimension(scores: Sides, name: str, *, bars: bool) -> Text:
    """The score after (with a small bar where there is room), and before → after where cleaning changed it."""
    from rich.text import Text

    before, after = _score(scores.before, name), _score(scores.after, name)
    if after is None:
        return Text("–", style="dim")
    style = "green" if after >= 0.95 else "yellow" if after >= 0.8 else "red"
    full = round(after * BAR)
    text = Text.assemble(("━" * full, style), ("━" * (BAR - full), "bright_black"), " ") if bars else Text()
    text.append(_percent(after), style="" if bars else style)
    if bars and before is not None and _percent(before) != _percent(after):
        text.append(f" ← {_percent(before)}", style="dim")
    return text


def _score(scores: Scores, name: str) -> float | None:
    found: float | None = getattr(scores, name)
    return found


def _percent(share: float) -> str:
    """100% only where nothing at all is wrong."""
    return "100%" if share >= 1 else f"{min(share, 0.9999) * 100:.4g}%"[:6]


def _part(share: float) -> str:
    return "<0.1%" if share < 0.001 else f"{share:.1%}"
