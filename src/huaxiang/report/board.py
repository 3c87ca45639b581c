"""The leaderboard of the next item as HTML: a card a split, each with the picture and the table behind it."""

from __future__ import annotations

from markupsafe import Markup

from huaxiang.look import charts
from huaxiang.look.charts import Bar
from huaxiang.look.numbers import Numbers
from huaxiang.look.page import render
from huaxiang.models.next_item.compare import OTHER, Board, Entry, Leaderboard
from huaxiang.models.next_item.show import column_of, needs, note_of, part_of
from huaxiang.words import Lang, Words

COLUMNS = (
    "recall@5",
    "recall@10",
    "ndcg@10",
    "mrr@10",
    OTHER,
    "coverage@10",
    "novelty@10",
    "popular_share@10",
)


def board_body(found: Leaderboard, lang: Lang) -> Markup:
    """Both splits, and why one is missing where it is."""
    words, numbers = Words(lang), Numbers(lang)
    left_out = [
        words("models.board.left_out", split=words(f"models.board.split.{split}"), why=why[lang])
        for split, why in found.left_out.items()
    ]
    return render(
        "board.html",
        "huaxiang.report",
        lang=lang,
        head=words(
            "models.board.head",
            users=numbers.number(found.users),
            items=numbers.number(found.items),
            events=numbers.number(found.events),
            seconds=found.seconds,
        ),
        boards=[_board(board, numbers, words, lang) for board in found.boards],
        notes=[*filter(None, [part_of(found, words)]), *left_out, words("models.board.note")],
    )


def _board(board: Board, numbers: Numbers, words: Words, lang: Lang) -> dict[str, object]:
    split = words(f"models.board.split.{board.split}")
    drawn = {entry.name: (board.figure(entry, "ndcg@10") or {"mean": 0.0})["mean"] for entry in board.entries}
    bars = [
        Bar(
            words(f"models.board.model.{name}"),
            reached,
            numbers.number(reached, 4),
            colour=2 if name == board.chosen else 8,
        )
        for name, reached in drawn.items()
    ]
    return {
        "title": words("models.board.title", split=split, questions=numbers.number(board.questions)),
        "chart": charts.bars(bars, lang=lang, title=words("models.board.metric.ndcg@10")),
        "note": note_of(board, words),
        "columns": [column_of(board, name, words) for name in COLUMNS],
        "rows": [_row(board, entry, numbers, words) for entry in board.entries],
    }


def _cell(board: Board, entry: Entry, name: str, numbers: Numbers) -> dict[str, str]:
    """The mean over the seeds, and its spread where there are several."""
    digits = 2 if name.split("@")[0] in ("coverage", "novelty", "popular_share") else 4
    found = board.figure(entry, name)
    if found is None:
        return {"value": "–", "spread": ""}
    spread = f"± {numbers.number(found['sd'], digits)}" if found["n"] > 1 else ""
    return {"value": numbers.number(found["mean"], digits), "spread": spread}


def _row(board: Board, entry: Entry, numbers: Numbers, words: Words) -> dict[str, object]:
    return {
        "name": words(f"models.board.model.{entry.name}"),
        "chosen": entry.name == board.chosen,
        "cells": [_cell(board, entry, name, numbers) for name in COLUMNS],
        "seconds": numbers.number(entry.seconds, 1),
        "size": numbers.number(entry.bytes / 1e6, 1),
        "needs": needs(entry, words),
        "ms": numbers.number(entry.ms_per_user, 2),
    }
