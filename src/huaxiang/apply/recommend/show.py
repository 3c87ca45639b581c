"""A list with its reasons, and the exam, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from huaxiang.apply.recommend.learn import Exam
from huaxiang.apply.recommend.places import Shown
from huaxiang.look.numbers import Numbers
from huaxiang.words import Lang, Words

DUE = 0.1  # the chance of being bought again from which on it is what is told


def reason(one: Shown, words: Words, numbers: Numbers) -> str:
    """Why an item is shown, in one sentence that its evidence bears out."""
    if one.bought_ago is not None and one.due is not None and (one.because in (one.item_id, "") or one.due >= DUE):
        return words("recommend.why.again", days=one.bought_ago, due=numbers.percent(one.due))
    if one.source == "similar":
        return words("recommend.why.similar", item=one.because_title)
    if one.because == one.item_id:
        return words("recommend.why.looked")
    if one.because:
        return words(f"recommend.why.{'basket' if one.source == 'basket' else 'together'}", item=one.because_title)
    return words(f"recommend.why.{one.source if one.source in ('taste', 'popular') else 'alone'}")


def show_list(found: Sequence[Shown], place: str, out: Console, lang: Lang) -> None:
    words, numbers = Words(lang), Numbers(lang)
    if not found:
        out.print(words("recommend.nothing"), style="yellow")
        return
    table = Table(
        box=None, header_style="dim", pad_edge=False, title=words(f"recommend.place.{place}"), title_justify="left"
    )
    for column in ("rank", "item", "id", "why"):
        table.add_column(words(f"recommend.column.{column}"), justify="right" if column == "rank" else "left")
    for place_, one in enumerate(found, 1):
        table.add_row(str(place_), one.title, one.item_id, reason(one, words, numbers))
    out.print(table, highlight=False, markup=False)


def show_exam(exam: Exam, out: Console, lang: Lang) -> None:
    """The list beside each source alone and beside lists that lack one."""
    words, numbers = Words(lang), Numbers(lang)
    out.print(
        words("recommend.exam", asked=f"{exam.asked:,}", days=exam.window, reach=numbers.percent(exam.reach), mean=f"{exam.candidates_mean:.0f}"),
        highlight=False,
    )  # fmt: skip
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("what", "recall", "ndcg", "new_recall", "new_ndcg", "reach"):
        table.add_column(words(f"recommend.column.{column}"), justify="left" if column == "what" else "right")
    for _, label, row in exam_rows(asdict(exam), lang):
        table.add_row(label, *row)
    out.print(table, highlight=False, markup=False)
    beaten = beaten_by(asdict(exam))
    if beaten:
        out.print(words("recommend.beaten", source=words(f"recommend.source.{beaten}")), style="yellow")


def beaten_by(exam: Mapping[str, Any]) -> str:
    """The source that alone did better than the list in the exam ("": none)."""
    figures = {name: one["ndcg@10"] for name, one in exam["figures"].items() if not name.startswith("without ")}
    best = max(figures, key=lambda name: figures[name])
    return "" if best == "ranker" else best


def exam_rows(exam: Mapping[str, Any], lang: Lang) -> list[tuple[str, str, list[str]]]:
    """Of each list examined its name, what it is called, and its figures as text. exam: an Exam as a dictionary"""
    words, numbers = Words(lang), Numbers(lang)
    made = []
    for name in [*exam["figures"], *(name for name in exam["new"] if name not in exam["figures"])]:
        source = words(f"recommend.source.{name.removeprefix('without ').replace(' ', '_')}")
        label = words("recommend.without", source=source) if name.startswith("without ") else source
        row = []
        for figures in (exam["figures"].get(name), exam["new"].get(name)):
            row += [f"{figures[one]:.3f}" if figures else "–" for one in ("recall@10", "ndcg@10")]
        reach = exam["reach_of"].get(name)
        made.append((name, label, [*row, numbers.percent(reach) if reach is not None else "–"]))
    return made
