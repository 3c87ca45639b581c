"""A leaderboard on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from huaxiang.look.numbers import Numbers
from huaxiang.models.next_item.compare import OTHER, Board, Entry, Leaderboard
from huaxiang.models.why import Foreseen
from huaxiang.words import Lang, Words

COLUMNS = ("recall@10", "ndcg@10", OTHER, "coverage@10", "popular_share@10")
WIDE = 124  # columns of a terminal from which all of these have room


def show_leaderboard(found: Leaderboard, console: Console, lang: Lang) -> None:
    words = Words(lang)
    console.print(
        words(
            "models.board.head",
            users=f"{found.users:,}",
            items=f"{found.items:,}",
            events=f"{found.events:,}",
            seconds=found.seconds,
        )
    )
    if part := part_of(found, words):
        console.print(part, style="yellow")
    for board in found.boards:
        console.print(_table(board, words, wide=console.width >= WIDE))
        console.print(note_of(board, words), style="dim")
    for split, why in found.left_out.items():
        console.print(
            words("models.board.left_out", split=words(f"models.board.split.{split}"), why=why[lang]), style="yellow"
        )
    console.print(words("models.board.note"), style="dim")


def column_of(board: Board, name: str, words: Words) -> str:
    """What a column is called."""
    return words("models.board.metric.masked" if name == OTHER and board.repeats else f"models.board.metric.{name}")


def note_of(board: Board, words: Words) -> str:
    """Whether what a customer had already is masked in the figures, and why."""
    return words("models.board.repeats" if board.repeats else "models.board.masked")


def part_of(found: Leaderboard, words: Words) -> str:
    """That only a part of the customers was compared on ("": all were)."""
    if found.users >= found.every_user:
        return ""
    return words("models.board.part", users=f"{found.users:,}", every=f"{found.every_user:,}")


def _table(board: Board, words: Words, *, wide: bool) -> Table:
    metrics = COLUMNS if wide else COLUMNS[:3]
    table = Table(
        box=None, header_style="dim", padding=(0, 2, 0, 0), title_justify="left", title_style="bold",
        title=words("models.board.title", split=words(f"models.board.split.{board.split}"), questions=f"{board.questions:,}"),
    )  # fmt: skip
    table.add_column(words("models.show.model"), no_wrap=True)
    for metric in metrics:
        table.add_column(column_of(board, metric, words), justify="right", no_wrap=True)
    for name in ("seconds", "size", "ms"):
        table.add_column(words(f"models.board.{name}"), justify="right", no_wrap=True)
    if wide:
        table.add_column(words("models.board.needs"), no_wrap=True)
    for entry in board.entries:
        chosen = entry.name == board.chosen
        table.add_row(
            ("★ " if chosen else "  ") + words(f"models.board.model.{entry.name}"),
            *(_figure(board, entry, metric) for metric in metrics),
            f"{entry.seconds:.1f}", f"{entry.bytes / 1e6:.1f}", f"{entry.ms_per_user:.2f}",
            *([needs(entry, words)] if wide else []),
            style="bold" if chosen else "",
        )  # fmt: skip
    return table


def needs(entry: Entry, words: Words) -> str:
    """What a model takes beside the order of items."""
    return ", ".join(words(f"models.board.need.{name}") for name in entry.needs) or "–"


def _figure(board: Board, entry: Entry, metric: str) -> str:
    found = board.figure(entry, metric)
    if found is None:
        return "–"
    digits = 4 if metric in ("recall@10", "ndcg@10", OTHER) else 2
    text = f"{found['mean']:.{digits}f}"
    return f"{text} ± {found['sd']:.4f}" if found["n"] > 1 and metric == "ndcg@10" else text


def show_foreseen(found: Sequence[Foreseen], console: Console, lang: Lang) -> None:
    """What a customer will likely take next, and why."""
    words, numbers = Words(lang), Numbers(lang)
    for place, one in enumerate(found, 1):
        had = words("report.behaviour.had" if one.had else "report.behaviour.fresh")
        console.print(
            f"[bold]{place}. {escape(one.title)}[/]  {escape(one.item_id)} · {had}",
            highlight=False,
        )
        for event in one.because:
            what = words.either(f"look.event.{event.event}", event.event)
            line = f"   −{event.fall:.2f}  {numbers.date(event.ts)}  {what}  {escape(event.title)}"
            console.print(line, style="dim", highlight=False)
    console.print(words("report.behaviour.because_note"), style="dim")
