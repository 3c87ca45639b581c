"""The preview of `huaxiang init` on a terminal: of each source the tables it feeds, its first rows as mapped, and what to check."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from huaxiang.collect.guess_find import SourceGuess, TableGuess
from huaxiang.collect.propose import Proposal
from huaxiang.collect.sniff_values import EMPTY_WORDS, ColumnLook, to_number, to_time
from huaxiang.collect.write_toml import HIDDEN, hides
from huaxiang.settings.collect import SourceSettings
from huaxiang.tables import TABLES, event_vocabulary
from huaxiang.words import Lang, Words

if TYPE_CHECKING:
    from rich.console import Console

ROWS = 5


def show_preview(proposal: Proposal, console: Console, lang: Lang) -> None:
    """Print what `init_shop` proposes."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    say = Words(lang)
    for guess, source in proposal.preview:
        rows = f"{guess.look.rows:,}" if guess.look.rows_exact else f"≈ {guess.look.rows:,}"
        console.print(
            f"\n[bold]{escape(guess.name)}[/bold]  {say('init.preview.source', rows=rows, format=source.format)}",
            highlight=False,
        )
        for feeds in guess.tables:
            meaning = TABLES[feeds.table]
            console.print(
                f"  → [cyan]{feeds.table}[/cyan]  {meaning.zh if lang == 'zh' else meaning.en}", highlight=False
            )
            table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
            for name in feeds.map:
                table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=24)
            for row in preview_rows(guess, feeds, source):
                table.add_row(*(escape(cell) for cell in row))
            console.print(table)
            if feeds.extra:
                console.print(
                    f"    {say('init.preview.extra', columns=escape(', '.join(feeds.extra)))}",
                    style="dim",
                    highlight=False,
                )
        if guess.unmapped:
            console.print(
                f"  {say('init.preview.unmapped', columns=escape(', '.join(guess.unmapped)))}",
                style="dim",
                highlight=False,
            )
    if proposal.warnings:
        console.print(f"\n[bold yellow]{say('init.preview.check')}[/bold yellow]")
    for name, key, values in proposal.warnings:
        place = f"{escape(name)}: " if name else ""
        console.print(f"  • {place}{escape(say(f'init.doubt.{key}', **values))}", highlight=False)
    outcomes = ", ".join(proposal.settings.outcomes) or say("init.preview.nothing")
    console.print(f"\n{say('init.preview.outcomes', outcomes=outcomes)}", highlight=False)


def preview_rows(guess: SourceGuess, feeds: TableGuess, source: SourceSettings) -> list[list[str]]:
    """The first five rows of a table as they would be stored, what is personal hidden; cells in the order of `feeds.map`."""
    cells = {name: _cells(guess, feeds.table, name, origin, source.timezone) for name, origin in feeds.map.items()}
    count = min(ROWS * 8 if feeds.distinct else ROWS, guess.look.sampled)
    rows = [[column[place] for column in cells.values()] for place in range(count)]
    if feeds.distinct:
        rows = [list(row) for row in dict.fromkeys(map(tuple, rows))]
    return rows[:ROWS]


def _cells(guess: SourceGuess, table: str, name: str, origin: Mapping[str, Any], zone: str) -> list[str]:
    look = guess.look
    if "value" in origin:
        return [str(origin["value"])] * look.sampled
    columns = [origin["column"]] if "column" in origin else list(origin["columns"])
    looks = [look.column(column) for column in columns]
    rows = list(zip(*(column.values[: ROWS * 8] for column in looks), strict=True))
    if hides(guess, table, name, columns):
        return [HIDDEN if any(row) else "" for row in rows]
    if len(looks) > 1:
        return [str(origin.get("join", " > ")).join(cell for cell in row if cell) for row in rows]
    contract = TABLES[table].column(name)
    assert contract is not None
    return [_cell(row[0], looks[0], contract.type, name, origin, zone) for row in rows]


def _cell(cell: str | None, column: ColumnLook, kind: str, name: str, origin: Mapping[str, Any], zone: str) -> str:
    """One value as it would be stored, as text."""
    if cell is None or cell in origin.get("empty", ()) or (cell.lower() in EMPTY_WORDS and kind != "string"):
        return ""
    values = origin.get("values", {})
    cell = str(values.get(cell, values.get(cell.removesuffix(".0"), cell)))
    if kind == "timestamp":
        time = to_time(cell, column)
        return "" if time is None else _utc(time, column, zone).strftime("%Y-%m-%d %H:%M:%S")
    if kind == "float":
        number = to_number(cell)
        return "" if number is None else f"{number:g}"
    if name == "event":
        return event_vocabulary().get(cell.lower(), cell)
    return cell.removesuffix(".0") if name.endswith("_id") else cell


def _utc(time: datetime, column: ColumnLook, zone: str) -> datetime:
    """A shop's local time in UTC; epochs are UTC already, and times with an offset are shown as written."""
    if column.unit is not None or column.offset:
        return time
    offset = time.replace(tzinfo=ZoneInfo(zone)).utcoffset() or timedelta()
    return time - offset
