"""Score cards as HTML: which model won, how sure we are, is a chance of 30 % really 30 %, and what acting on it earns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from huaxiang.look import charts
from huaxiang.look.charts import Bar, Series
from huaxiang.look.numbers import Numbers, is_number
from huaxiang.look.page import render
from huaxiang.models.card import ModelScore, ScoreCard
from huaxiang.models.show import needs_of
from huaxiang.words import Lang, Words

SHOWN = {
    "binary": ("roc_auc", "pr_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1"),
    "number": ("spearman", "mae", "rmse", "r2"),
    "class": ("accuracy", "macro_f1", "log_loss", "roc_auc"),
}
LESS_IS_BETTER = {"log_loss", "brier", "mae", "rmse", "mse"}


def card_body(
    card: ScoreCard,
    lang: Lang,
    *,
    currency: str,
    meanings: Mapping[str, str],
    spread: Sequence[Mapping[str, Any]] = (),
    in_shop: bool = True,
) -> Markup:
    """One score card. meanings: feature -> its words; spread: bins of today's predictions (bin, customers, top).

    in_shop: False for a plain table, where nothing is "in use".
    """
    numbers, words = Numbers(lang, currency), Words(lang)
    return render(
        "card.html",
        "huaxiang.report",
        lang=lang,
        numbers=numbers,
        card=card,
        title=card.meaning.get(lang) or card.outcome,
        status=words(f"report.card.status.{card.status}"),
        in_shop=in_shop,
        note=words("report.card.table_note" if any(model.test for model in card.models) else "report.card.folds_note"),
        brought=card.brought_note(lang),
        css={"trained": "good", "null": "warn"}.get(card.status, ""),
        why=card.why.get(lang) or "",
        facts=_facts(card, numbers, lang),
        metrics=[(words.either(f"report.metric.{name}", name), name) for name in _metrics(card)],
        models=[_model(model, card, numbers, lang) for model in card.models],
        calibration=_calibration(card, numbers, lang),
        gains=_gains(card, lang),
        importance=_importance(card, numbers, lang, meanings),
        business=_business(card, numbers, lang),
        spread=_spread(card, spread, numbers, lang),
        made=_made(card, numbers, lang),
    )


def interval(found: Mapping[str, Any] | None, say: Any) -> str:
    """'0.84 (0.81 – 0.87)', the interval left out where there is none."""
    if not found or not is_number(found.get("value")):
        return "–"
    low, high = found.get("low"), found.get("high")
    text = str(say(found["value"]))
    return f"{text} ({say(low)} – {say(high)})" if is_number(low) and is_number(high) else text


def _metrics(card: ScoreCard) -> list[str]:
    present = {name for model in card.models for name in (*model.test, *model.cv)}
    known = [name for name in SHOWN.get(card.kind, ()) if name in present]
    return known or sorted(present)


def _facts(card: ScoreCard, numbers: Numbers, lang: Lang) -> list[dict[str, str]]:
    """The headline figures: the first metric of the winner, lift, coverage."""
    words, found = Words(lang), []
    winner = card.score_of(card.model)
    names = _metrics(card)
    if winner is not None and names:
        name = names[0]
        base = card.score_of(card.baseline)
        against = (base.test.get(name) or {"value": base.cv.get(name, {}).get("mean")}).get("value") if base else None
        more = words("report.card.baseline", value=_three(against, numbers)) if is_number(against) else ""
        found.append(
            _fact(
                words.either(f"report.metric.{name}", name),
                winner.test.get(name) or {"value": winner.cv.get(name, {}).get("mean")},
                numbers,
                more,
            )
        )
    if card.lift.get("value") is not None:
        label = words("report.card.lift", share=numbers.percent(card.lift.get("share", 0.1), 0))
        found.append(
            {
                "label": label,
                "value": f"{numbers.number(card.lift['value'], 1)}×",
                "more": _between(card.lift, numbers, 1),
            }
        )
    if is_number(card.calibration.get("ece")):
        found.append(
            {
                "label": words("report.card.ece"),
                "value": numbers.percent(card.calibration["ece"]),
                "more": words("report.card.ece_means"),
            }
        )
    if is_number(card.interval.get("coverage")):
        level = numbers.percent(card.interval.get("level"), 0)
        found.append(
            {
                "label": words("report.card.coverage"),
                "value": numbers.percent(card.interval["coverage"], 0),
                "more": words("report.card.promised", share=level),
            }
        )
    if is_number(card.threshold.get("value")):
        rule = words.either(f"report.card.rule.{card.threshold.get('rule')}", str(card.threshold.get("rule") or ""))
        found.append(
            {"label": words("report.card.threshold"), "value": numbers.percent(card.threshold["value"]), "more": rule}
        )
    return found


def _fact(label: str, found: Mapping[str, Any] | None, numbers: Numbers, more: str) -> dict[str, str]:
    value = (found or {}).get("value")
    return {
        "label": label,
        "value": _three(value, numbers),
        "more": " · ".join(filter(None, (_between(found or {}, numbers, 3), more))),
    }


def _between(found: Mapping[str, Any], numbers: Numbers, digits: int) -> str:
    low, high = found.get("low"), found.get("high")
    return (
        f"{numbers.number(low, digits)} – {numbers.number(high, digits)}" if is_number(low) and is_number(high) else ""
    )


def _three(value: Any, numbers: Numbers) -> str:
    return numbers.number(value) if is_number(value) and abs(value) >= 10 else numbers.number(value, 3)


def _model(model: ModelScore, card: ScoreCard, numbers: Numbers, lang: Lang) -> dict[str, Any]:
    cells, words = [], Words(lang)
    for name in _metrics(card):
        test, folds = model.test.get(name, {}), model.cv.get(name, {})
        sd = folds.get("sd")
        cells.append(
            {
                "value": _three(test.get("value", folds.get("mean")), numbers),
                "spread": f"± {_three(sd, numbers)}" if is_number(sd) else "",
            }
        )
    return {
        "name": words.either(f"report.model.{model.name}", words.either(f"models.name.{model.name}", model.name)),
        "best": model.name == card.model and card.worth_using,
        "cells": cells,
        "seconds": numbers.seconds(model.seconds),
        "size": numbers.size(model.bytes),
        "ms": numbers.number(model.ms_per_user, 2),
        "needs": ", ".join(words(f"models.need.{need}") for need in needs_of(model.name)) or "–",
    }


def _calibration(card: ScoreCard, numbers: Numbers, lang: Lang) -> Any:
    bins = card.calibration.get("bins") or []
    words = Words(lang)
    if not bins:
        return None
    if card.kind == "number":
        title, say = words("report.card.calibration_number"), numbers.compact
    else:
        title, say = words("report.card.calibration"), numbers.percent
    top = max(
        (
            value
            for row in bins
            for value in (row.get("predicted"), row.get("observed"), row.get("high"))
            if is_number(value)
        ),
        default=1.0,
    )
    line = Series(
        words("report.card.seen"), points=[(row.get("predicted"), row.get("observed")) for row in bins], dots=True
    )
    edges = [
        Series("", points=[(row.get("predicted"), row.get(side)) for row in bins], colour=8) for side in ("low", "high")
    ]
    return charts.curve(
        [line, *[edge for edge in edges if any(is_number(y) for _, y in edge.points)]],
        lang=lang,
        title=title,
        x_name=words("report.card.predicted"),
        y_name=words("report.card.observed"),
        x_shown=say,
        y_shown=say,
        most=(top, top),
        names=False,
        note=words("report.card.calibration_note"),
    )


def _gains(card: ScoreCard, lang: Lang) -> Any:
    if len(card.gains) < 2:
        return None
    words = Words(lang)
    points = [(row.get("share"), row.get("captured")) for row in card.gains]
    return charts.curve(
        [Series(words("report.card.caught"), points=points, colour=2)],
        lang=lang,
        title=words("report.card.gains"),
        x_name=words("report.card.share_of_customers"),
        y_name=words("report.card.share_caught"),
        most=(1.0, 1.0),
        note=words("report.card.gains_note"),
    )


def _importance(card: ScoreCard, numbers: Numbers, lang: Lang, meanings: Mapping[str, str]) -> Any:
    rows = [row for row in card.importance if is_number(row.get("effect"))][:10]
    if not rows:
        return None
    bars = []
    whole = sum(abs(row["effect"]) for row in card.importance if is_number(row.get("effect"))) or 1.0
    for row in rows:
        name = str(row.get("feature"))
        meaning = meanings.get(name, "")
        label = Words(lang).either(f"traits.{name}", meaning[:1].upper() + meaning[1:] or name)
        bars.append(
            Bar(
                label,
                row["effect"],
                numbers.percent(abs(row["effect"]) / whole, 0),
                f"{name} {meaning}".strip(),
            )
        )
    return charts.bars(bars, lang=lang, title=Words(lang)("report.card.importance"), room=34)


def _business(card: ScoreCard, numbers: Numbers, lang: Lang) -> dict[str, Any] | None:
    found, words = card.business, Words(lang)
    if not found or not isinstance(found.get("top"), Mapping):
        return None
    rows = []
    for name, colour in (("top", 2), ("all", 8), ("random", 8)):
        part = found.get(name) or {}
        rows.append(
            Bar(
                words(f"report.card.act.{name}", share=numbers.percent(found.get("share"), 0)),
                part.get("value"),
                interval(part, numbers.money),
                colour=colour if (part.get("value") or 0) >= 0 else 4,
            )
        )
    said = words(
        "report.card.business_note", value=numbers.money(found.get("value")), cost=numbers.money(found.get("cost"))
    )
    return {"chart": charts.bars(rows, lang=lang, title=words("report.card.business"), room=34), "note": said}


def _spread(card: ScoreCard, spread: Sequence[Mapping[str, Any]], numbers: Numbers, lang: Lang) -> Any:
    if not spread or card.kind == "class":
        return None
    words, top = Words(lang), float(spread[0]["top"])
    counts = {row["bin"]: row["customers"] for row in spread}
    say = numbers.percent if card.kind == "binary" else lambda value: numbers.money(value, compact=True)
    labels = [say(top * place / 20) for place in range(20)]
    return charts.columns(
        [counts.get(place, 0) for place in range(20)],
        labels,
        lang=lang,
        title=words("report.card.spread"),
        every=5,
        height=120,
    )


def _made(card: ScoreCard, numbers: Numbers, lang: Lang) -> list[tuple[str, str]]:
    words, rows = Words(lang), []
    for name in ("rows", "users", "positives", "base_rate", "dates"):
        part = card.data.get(name)
        if isinstance(part, Mapping) and part:
            rows.append(
                (
                    words(f"report.card.data.{name}"),
                    " · ".join(
                        f"{words.either(f'report.card.split.{split}', split)} {_said(value, name, numbers)}"
                        for split, value in part.items()
                    ),
                )
            )
        elif part is not None and not isinstance(part, Mapping | list):
            rows.append((words(f"report.card.data.{name}"), _said(part, name, numbers)))
    rows.append((words("report.card.data.version"), f"{card.model} {card.version}".strip() or "–"))
    rows.append((words("report.card.data.seed"), str(card.seed)))
    rows.append((words("report.card.data.seconds"), numbers.seconds(card.seconds)))
    if card.versions:
        rows.append(
            (
                words("report.card.data.versions"),
                " · ".join(f"{name} {version}" for name, version in card.versions.items()),
            )
        )
    return rows


def _said(value: Any, name: str, numbers: Numbers) -> str:
    if isinstance(value, list):
        return f"{value[0]} … {value[-1]}" if len(value) > 1 else str(value[0]) if value else "–"
    if is_number(value):
        return numbers.percent(value) if name == "base_rate" and 0 <= value <= 1 else numbers.number(value)
    return str(value)
