"""The leaderboard of the next item as HTML: a card a split, each with the picture and the table behind it."""

from __future__ import annotations

from markupsafe import Markup

from huaxiang.look import charts
from huaxiang.look.charts import Bar
from huaxiang.look.numbers import Numbers
from huaxiang.look.page import render
from huaxiang.models.next_item.compare import Board, Entry, Leaderboard
from huaxiang.models.next_item.show import needs, part_of
from huaxiang.words import Lang, Words

COLUMNS = (
    "recall@5",
    "recall@10",
    "ndcg@10",
    "mrr@10",
    "unmasked_ndcg@10",
    "coverage@10",
    "novelty@10",
    "popular_share@10",
)


def board_body(found: Leaderboard, lang: Lang) -> Markup:
    """Both splits, and why one is missing where it is."""
    words, numbers = Words(lang), Numbers(lang)
    left_out = [
        words("models.board.left_out", split=words(f"models.board.split.{split}"), why=why)
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
        columns=[words(f"models.board.metric.{name}") for name in COLUMNS],
        boards=[_board(board, numbers, words, lang) for board in found.boards],
        notes=[
            *filter(None, [part_of(found, words)]),
            *left_out,
            words("models.board.note"),
            *([words("models.board.repeats")] if any(board.repeats for board in found.boards) else []),
        ],
    )


def _board(board: Board, numbers: Numbers, words: Words, lang: Lang) -> dict[str, object]:
    split = words(f"models.board.split.{board.split}")
    bars = [
        Bar(
            words(f"models.board.model.{entry.name}"),
            entry.test["ndcg@10"]["mean"],
            numbers.number(entry.test["ndcg@10"]["mean"], 4),
            colour=2 if entry.name == board.chosen else 8,
        )
        for entry in board.entries
    ]
    return {
        "title": words("models.board.title", split=split, questions=numbers.number(board.questions)),
        "chart": charts.bars(bars, lang=lang, title=words("models.board.metric.ndcg@10")),
        "rows": [_row(entry, entry.name == board.chosen, numbers, words) for entry in board.entries],
    }


def _cell(entry: Entry, name: str, numbers: Numbers) -> dict[str, str]:
    """The mean over the seeds, and its spread where there are several."""
    digits = 2 if name.split("@")[0] in ("coverage", "novelty", "popular_share") else 4
    found = entry.test[name]
    spread = f"± {numbers.number(found['sd'], digits)}" if found["n"] > 1 else ""
    return {"value": numbers.number(found["mean"], digits), "spread": spread}


def _row(entry: Entry, chosen: bool, numbers: Numbers, words: Words) -> dict[str, object]:
    return {
        "name": words(f"models.board.model.{entry.name}"),
        "chosen": chosen,
        "cells": [_cell(entry, name, numbers) for name in COLUMNS],
        "seconds": numbers.number(entry.seconds, 1),
        "size": numbers.number(entry.bytes / 1e6, 1),
        "needs": needs(entry, words),
        "ms": numbers.number(entry.ms_per_user, 2),
    }
