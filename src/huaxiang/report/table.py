"""The exam of a plain table (`huaxiang table`) as a page: which model won, by how much, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from huaxiang.look import charts
from huaxiang.look.charts import Bar
from huaxiang.look.numbers import Numbers, is_number
from huaxiang.look.page import page, render
from huaxiang.report.cards import LESS_IS_BETTER
from huaxiang.words import LANGS, Lang, Words

SHEETS = ("sheet.css", "report.css")


def table_page(report: Any, lang: Lang) -> str:
    """The page of a TableReport (or of its `to_dict()`), in both languages, opened in `lang`."""
    found = report if isinstance(report, Mapping) else report.to_dict()
    title = str(found.get("name") or found.get("file") or found.get("path") or Words(lang)("report.table.title"))
    headings: dict[Lang, tuple[str, str]] = {each: (title, Words(each)("report.table.subtitle")) for each in LANGS}
    return page(title, {each: table_body(found, each) for each in LANGS}, lang=lang, headings=headings, sheets=SHEETS)


def table_body(found: Mapping[str, Any], lang: Lang) -> Markup:
    """The exam of a table without a page around it."""
    numbers, words = Numbers(lang), Words(lang)
    models: Mapping[str, Mapping[str, Any]] = found["models"]
    metrics = list(dict.fromkeys(name for scores in models.values() for name, score in scores.items() if isinstance(score, Mapping)))
    best = str(found["best"])
    first = metrics[0] if metrics else ""
    rows = [
        Bar(words.either(f"report.model.{name}", name), scores.get(first, {}).get("mean"), _spread(scores.get(first, {}), numbers), colour=2 if name == best else 8)
        for name, scores in models.items()
    ]
    return render(
        "table.html",
        "huaxiang.report",
        lang=lang,
        best=words.either(f"report.model.{best}", best),
        label=str(found.get("label") or ""),
        facts=_facts(found, numbers, words),
        first=words.either(f"report.metric.{first}", first),
        chart=charts.bars(rows, lang=lang, title=words.either(f"report.metric.{first}", first), most=1.0 if first not in LESS_IS_BETTER else None),
        metrics=[words.either(f"report.metric.{name}", name) for name in metrics],
        models=[
            {
                "name": words.either(f"report.model.{name}", name),
                "best": name == best,
                "cells": [
                    {"value": numbers.number(scores.get(metric, {}).get("mean"), 3), "spread": numbers.number(scores.get(metric, {}).get("sd"), 3)}
                    for metric in metrics
                ],
            }
            for name, scores in models.items()
        ],
        importance=_importance(found.get("importance"), numbers, lang),
        notes=[_in(note, lang) for note in found.get("notes") or []],
    )


def _facts(found: Mapping[str, Any], numbers: Numbers, words: Words) -> list[tuple[str, str]]:
    """What was examined, for the names that are there."""
    shown = []
    for name in ("rows", "columns", "features", "folds", "base_rate", "positive", "seed", "seconds"):
        value = found.get(name)
        if is_number(value):
            text = numbers.percent(value) if name == "base_rate" else numbers.seconds(value) if name == "seconds" else str(value) if name == "seed" else numbers.number(value)
            shown.append((words(f"report.table.{name}"), text))
        elif isinstance(value, str) and name == "positive":
            shown.append((words("report.table.positive"), value))
        elif isinstance(value, Sequence) and not isinstance(value, str) and name in ("features", "columns"):
            shown.append((words(f"report.table.{name}"), numbers.number(len(value))))
    return shown


def _spread(score: Mapping[str, Any], numbers: Numbers) -> str:
    sd = score.get("sd")
    text = numbers.number(score.get("mean"), 3)
    return f"{text} ± {numbers.number(sd, 3)}" if is_number(sd) else text


def _importance(rows: Any, numbers: Numbers, lang: Lang) -> Any:
    """Bars of the features' weight; rows: [{"feature", "effect"}] or {feature: effect}."""
    if isinstance(rows, Mapping):
        rows = [{"feature": name, "effect": effect} for name, effect in rows.items()]
    rows = [row for row in rows or [] if is_number(row.get("effect"))]
    whole = sum(abs(row["effect"]) for row in rows)
    if not whole:
        return None
    rows = sorted(rows, key=lambda row: -abs(row["effect"]))[:12]
    bars = [Bar(str(row["feature"]), row["effect"], numbers.percent(abs(row["effect"]) / whole, 0)) for row in rows]
    return charts.bars(bars, lang=lang, title=Words(lang)("report.card.importance"))


def _in(note: Any, lang: Lang) -> str:
    return str(note.get(lang) or note.get("en") or "") if isinstance(note, Mapping) else str(note)
