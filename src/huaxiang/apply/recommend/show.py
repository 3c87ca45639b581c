"""A list with its reasons, and the exam, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from huaxiang.apply.recommend.exam import ALONE, LIST, WITH, Exam
from huaxiang.apply.recommend.offpolicy import OffPolicy
from huaxiang.apply.recommend.places import Shown
from huaxiang.look.numbers import Numbers
from huaxiang.words import Lang, Words


def reason(one: Shown, words: Words, numbers: Numbers) -> str:
    """Why an item is shown, in one sentence that its evidence bears out."""
    if one.because == one.item_id and one.bought_ago is not None and one.due is not None:
        return words("recommend.why.again", days=one.bought_ago, due=numbers.percent(one.due))
    if one.source == "similar":
        return words("recommend.why.similar", item=one.because_title)
    if one.because == one.item_id:
        return words("recommend.why.looked")
    if one.because:
        return words(f"recommend.why.{'basket' if one.source == 'basket' else 'together'}", item=one.because_title)
    return words(f"recommend.why.{one.source if one.source in ('taste', 'popular', 'peers') else 'alone'}")


def show_list(found: Sequence[Shown], place: str, out: Console, lang: Lang) -> None:
    words, numbers = Words(lang), Numbers(lang)
    if not found:
        out.print(words(f"recommend.{'nothing_due' if place == 'again' else 'nothing'}"), style="yellow", markup=False)
        return
    table = Table(
        box=None, header_style="dim", pad_edge=False, title=words(f"recommend.place.{place}"), title_justify="left"
    )
    for column in ("rank", "item", "id", "why"):
        table.add_column(words(f"recommend.column.{column}"), justify="right" if column == "rank" else "left")
    for place_, one in enumerate(found, 1):
        table.add_row(str(place_), one.title, one.item_id, reason(one, words, numbers))
    out.print(table, highlight=False, markup=False)
    out.print(words("recommend.by", as_of=found[0].as_of, version=found[0].version), style="dim", highlight=False)


def show_exam(exam: Exam, out: Console, lang: Lang, *, fakes: Mapping[str, int]) -> None:
    """The list beside each source alone and beside lists that lack one. fakes: as `Recommend.fakes` gives them"""
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
    for line in exam_notes(asdict(exam), lang):
        out.print(line, style="yellow", highlight=False)
    out.print(fakes_line(fakes, words, numbers), style="dim", highlight=False)


def show_estimate(found: OffPolicy, out: Console, lang: Lang) -> None:
    """What was earned an impression, and what the other lists would have."""
    words, numbers = Words(lang), Numbers(lang)
    out.print(words("recommend.logged", count=numbers.number(found.impressions), effective=numbers.number(found.effective), cut=numbers.percent(found.cut)), highlight=False)  # fmt: skip
    for name, one in {"log": found.logged, **found.estimates}.items():
        out.print(f"  {words(f'recommend.estimate.{name}')}  {one.value:.4f} ({one.low:.4f}–{one.high:.4f})", highlight=False)  # fmt: skip
    if not found.enough:
        out.print(words("recommend.not_enough"), style="yellow", highlight=False)


def fakes_line(fakes: Mapping[str, int], words: Words, numbers: Numbers) -> str:
    """How many fake orders no list was learned from."""
    if not fakes["orders"]:
        return words("recommend.no_fakes")
    return words("recommend.fakes", orders=numbers.number(fakes["orders"]), events=numbers.number(fakes["events"]))


def exam_notes(exam: Mapping[str, Any], lang: Lang) -> list[str]:
    """Which source the lists follow, and which did better in the exam nevertheless."""
    words = Words(lang)
    notes = []
    for name, source in exam.get("led", {}).items():
        if source:
            said, ranker = (f"{exam['valid'][name][one]:.3f}" for one in (source, LIST))
            notes.append(words(f"recommend.led.{name}", source=words(f"recommend.source.{source}"), said=said, ranker=ranker))  # fmt: skip
    figures = {
        name: one
        for name, one in exam["figures"].items()
        if not name.startswith("without ") and name not in (ALONE, WITH)
    }
    best = max(figures, key=lambda name: figures[name]["ndcg@10"])
    if best != LIST:
        sure = figures[best]["behind_high"] < 0
        notes.append(words("recommend.beaten_surely" if sure else "recommend.beaten", source=words(f"recommend.source.{best}")))  # fmt: skip
    return notes


def exam_rows(exam: Mapping[str, Any], lang: Lang) -> list[tuple[str, str, list[str]]]:
    """Of each list examined its name, what it is called, and its figures as text. exam: an Exam as a dictionary"""
    words, numbers = Words(lang), Numbers(lang)
    made = []
    for name in [*exam["figures"], *(name for name in exam["new"] if name not in exam["figures"])]:
        source = words(f"recommend.source.{name.removeprefix('without ').replace(' ', '_')}")
        label = words("recommend.without", source=source) if name.startswith("without ") else source
        row = []
        for figures in (exam["figures"].get(name), exam["new"].get(name)):
            row += [f"{figures['recall@10']:.3f}", _with_interval(figures)] if figures else ["–", "–"]
        reach = exam["reach_of"].get(name)
        made.append((name, label, [*row, numbers.percent(reach) if reach is not None else "–"]))
    return made


def _with_interval(figures: Mapping[str, float]) -> str:
    if "ndcg_low" not in figures:
        return f"{figures['ndcg@10']:.3f}"
    return f"{figures['ndcg@10']:.3f} ({figures['ndcg_low']:.3f}–{figures['ndcg_high']:.3f})"
