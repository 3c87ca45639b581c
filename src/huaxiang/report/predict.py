"""What was foreseen as HTML: lifetime value with its hold-out, and the intent of running sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from huaxiang.apply.predict.show import METRICS, PARTS, clv_lines, intent_lines, session_feature
from huaxiang.look import charts
from huaxiang.look.charts import Bar, Series
from huaxiang.look.numbers import Numbers
from huaxiang.look.page import render
from huaxiang.words import Lang, Words


def clv_body(found: Mapping[str, Any], lang: Lang, currency: str) -> Markup:
    """The report of `Shop.predict.value` (reports/clv.json)."""
    words, numbers = Words(lang), Numbers(lang, currency)
    said, held = clv_lines(found, lang, currency), found["holdout"]
    tenths = [words("predict.clv.top"), *(str(place) for place in range(2, 11))]
    shares = [Bar(name, share, numbers.percent(share)) for name, share in zip(tenths, found["shares"], strict=True)]
    groups = None
    if "why" not in held:
        labels = [str(place + 1) for place in range(len(held["groups"]))]
        lines = [
            Series(words("predict.clv.expected"), [one["predicted"] for one in held["groups"]], colour=1, dots=True),
            Series(words("predict.clv.came"), [one["observed"] for one in held["groups"]], colour=2, dots=True),
        ]
        groups = charts.lines(
            lines, labels, lang=lang, title=words("predict.clv.groups"), shown=lambda value: numbers.number(value, 2)
        )
    return render(
        "predict_clv.html",
        "huaxiang.report",
        lang=lang,
        said=said,
        shares=charts.bars(shares, lang=lang, title=words("predict.clv.shares"), most=1.0),
        groups=groups,
        columns=[words(f"predict.clv.{name}") for name in METRICS],
        rows=[] if "why" in held else [
            (words(f"predict.clv.{part}"), [numbers.number(held[part][name], 3) for name in METRICS]) for part in PARTS if part in held
        ],
    )  # fmt: skip


def intent_body(found: Mapping[str, Any], lang: Lang) -> Markup:
    """The report of `Shop.predict.learn_intent` (reports/intent.json)."""
    words, numbers = Words(lang), Numbers(lang)
    drivers = [
        Bar(session_feature(one["feature"], lang), one["effect"], numbers.number(one["effect"], 2))
        for one in found["importance"]
        if one["effect"] > 0
    ]
    points = [(one["predicted"], one["observed"]) for one in found["calibration"]["reliability"]]
    return render(
        "predict_intent.html",
        "huaxiang.report",
        lang=lang,
        lines=intent_lines(found, lang),
        drivers=charts.bars(drivers, lang=lang, title=words("predict.intent.drivers")),
        calibration=charts.curve([Series("", points=points, colour=1)], lang=lang, title=words("predict.intent.reliability")),
        columns=[words(f"predict.intent.{name}") for name in ("after", "sessions", "auc")],
        rows=[
            (count, numbers.number(one["sessions"]), numbers.number(one["roc_auc"], 3)) for count, one in found["after"].items()
        ],
    )  # fmt: skip
