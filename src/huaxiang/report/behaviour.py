"""The behaviour model as HTML: how training went, who foresees best, the map of customers, and what drove one customer's next item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from huaxiang.look import charts
from huaxiang.look.charts import Bar, Effect, Series
from huaxiang.look.numbers import Numbers
from huaxiang.look.page import render
from huaxiang.models.vector_table import SIDES, Figure, VectorRow
from huaxiang.models.why import Foreseen
from huaxiang.words import Lang, Words

COLOURS = (1, 2, 3, 4, 5, 6, 7, 8)


def behaviour_body(
    note: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    foreseen: Mapping[str, Sequence[Foreseen]],
    known: Sequence[VectorRow],
    lang: Lang,
) -> Markup:
    """note: what the training says; points: user_id, x, y, lifecycle of the map; foreseen: customer -> items likely next; known: what
    the vector knows of each outcome."""
    words, numbers = Words(lang), Numbers(lang)
    if note.get("status") != "trained":
        return render("behaviour.html", "huaxiang.report", lang=lang, why=(note.get("why") or {}).get(lang, ""))
    return render(
        "behaviour.html",
        "huaxiang.report",
        lang=lang,
        why="",
        head=words(
            "report.behaviour.head", size=note["size"], parameters=numbers.compact(note["parameters"]), users=numbers.number(note["users"]),
            items=numbers.number(note["items"]), events=numbers.number(note["events"]), seconds=numbers.number(note["seconds"], 0),
        ),
        content=_content(note.get("content") or {}, numbers, words),
        curves=_curves(note["curve"], numbers, words, lang),
        exam=_exam(note, numbers, words, lang),
        map=_map(points, words, lang),
        sides=[words(f"models.vector.{side}") for side in SIDES],
        known=[_known(row, numbers, words, lang) for row in known],
        lister=_lister(note, words),
        examples=[_example(user, items, numbers, words, lang) for user, items in foreseen.items()],
    )  # fmt: skip


def _content(said: Mapping[str, Any], numbers: Numbers, words: Words) -> str:
    """Where the items' content vectors are from ("": there are none)."""
    if not said.get("source"):
        return ""
    found = words(f"report.behaviour.content_{said['source']}", items=numbers.number(said["items"]))
    return (
        f"{found} {words('report.behaviour.unlike', items=numbers.number(said['unlike']))}" if said["unlike"] else found
    )


def _lister(note: Mapping[str, Any], words: Words) -> str:
    """Whose lists, and so whose reasons, the examples show: those of the model that the training chose."""
    chosen = str(note["chosen"])
    if chosen != "fusion":
        return words("report.behaviour.by_one", model=words(f"models.board.model.{chosen}"))
    weighed = sorted(((weight, name) for name, weight in note["weights"].items() if weight), reverse=True)
    parts = words("profile.say.comma").join(words(f"models.board.model.{name}") for _, name in weighed)
    return words("report.behaviour.by_fusion", parts=parts)


def _curves(curve: Sequence[Mapping[str, Any]], numbers: Numbers, words: Words, lang: Lang) -> list[Markup]:
    """The loss as it fell; and validation after each epoch, where there was more than one."""
    points = [(done, loss) for one in curve for done, loss in one.get("steps", ())]
    found = [
        charts.curve(
            [Series("", points=points, colour=1)], lang=lang, title=words("report.behaviour.loss"),
            x_name=words("report.behaviour.epochs"), x_shown=lambda value: numbers.number(value, 1),
            y_shown=lambda value: numbers.number(value, 1), diagonal=False, height=190,
        )
    ]  # fmt: skip
    if len(curve) > 1 and "ndcg@10" in curve[0]:
        found.append(
            charts.lines(
                [Series("", [one["ndcg@10"] for one in curve], colour=2, dots=True)],
                [str(place + 1) for place in range(len(curve))], lang=lang,
                title=words("report.behaviour.valid"), shown=lambda value: numbers.number(value, 3), height=150,
            )
        )  # fmt: skip
    return found


def _exam(note: Mapping[str, Any], numbers: Numbers, words: Words, lang: Lang) -> Markup:
    ordered = sorted(note["exam"].items(), key=lambda one: -one[1]["recall@10"])
    bars = [
        Bar(
            words(f"models.board.model.{name}"), found["recall@10"], numbers.percent(found["recall@10"]),
            colour=2 if name == note["chosen"] else 8,
        )
        for name, found in ordered
    ]  # fmt: skip
    title = words("report.behaviour.exam", asked=numbers.number(note["asked"]))
    return charts.bars(bars, lang=lang, title=title)


def _known(row: VectorRow, numbers: Numbers, words: Words, lang: Lang) -> dict[str, Any]:
    def shown(one: Figure) -> str:
        if one.value is None:
            return "–"
        span = (
            ""
            if one.low is None or one.high is None
            else f" ({numbers.number(one.low, 2)}–{numbers.number(one.high, 2)})"
        )
        return numbers.number(one.value, 3) + span

    return {
        "title": row.meaning.get(lang) or row.outcome,
        "metric": words(f"models.metric.{row.metric}"),
        "cells": [(shown(row.sides[side]), side == row.best) for side in SIDES],
    }


def _map(points: Sequence[Mapping[str, Any]], words: Words, lang: Lang) -> Markup:
    groups: dict[str, list[tuple[float, float]]] = {}
    for one in points:
        groups.setdefault(str(one["lifecycle"] or "prospect"), []).append((one["x"], one["y"]))
    series = [
        Series(words.either(f"profile.lifecycle.{stage}", stage), points=found, colour=COLOURS[place % len(COLOURS)])
        for place, (stage, found) in enumerate(sorted(groups.items(), key=lambda one: -len(one[1])))
    ]
    return charts.scatter(
        series, lang=lang, title=words("report.behaviour.map"), note=words("report.behaviour.map_note"), height=460
    )


def _example(user: str, items: Sequence[Foreseen], numbers: Numbers, words: Words, lang: Lang) -> dict[str, Any]:
    first = items[0]
    effects = [
        Effect(f"{one.title} · {words.either(f'look.event.{one.event}', one.event)}", one.fall, numbers.date(one.ts))
        for one in first.because
    ]
    return {
        "user": user,
        "item": first.title,
        "had": words("report.behaviour.had") if first.had else words("report.behaviour.fresh"),
        "chart": charts.bars(
            [Bar(effect.label, effect.effect, f"{effect.shown}  −{numbers.number(effect.effect, 2)}", colour=1) for effect in effects],
            lang=lang, title=words("report.behaviour.because" if len(effects) > 1 else "report.behaviour.because_one", count=len(effects)), room=22,
        ) if effects else None,
        "others": [one.title for one in items[1:]],
    }  # fmt: skip
