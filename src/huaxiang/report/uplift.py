"""Who to send what, and what campaigns did, as HTML: what `huaxiang uplift` and `huaxiang campaign read` found last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from huaxiang.look import charts
from huaxiang.look.charts import Bar, Series
from huaxiang.look.numbers import Numbers
from huaxiang.look.page import render
from huaxiang.words import Lang, Words


def uplift_body(found: Mapping[str, Any], lang: Lang) -> Markup:
    """found: reports/uplift.json: effects where a hold-out was, else redemption, targeted against random."""
    words, numbers = Words(lang), Numbers(lang)
    card = (
        _effect(found, words, numbers, lang) if found["basis"] == "effect" else _redemption(found, words, numbers, lang)
    )
    return render("uplift.html", "huaxiang.report", lang=lang, cards=[card], rows=[])


def campaigns_body(found: Mapping[str, Any], lang: Lang) -> Markup:
    """found: reports/campaigns.json: campaign -> its last reading."""
    words, numbers = Words(lang), Numbers(lang)
    rows = [_reading(name, one, words, numbers) for name, one in sorted(found.items())]
    return render("uplift.html", "huaxiang.report", lang=lang, cards=[], rows=rows)


def _effect(found: Mapping[str, Any], words: Words, numbers: Numbers, lang: Lang) -> dict[str, Any]:
    report, ranking = found["uplift"], found["uplift"]["ranking"]
    total = report["curve"][-1][1]
    return {
        "title": words("report.uplift.effect_title"),
        "verdict": words("cli.say.uplift_null") if report["is_null"] else words("report.uplift.better"),
        "chart": charts.curve(
            [
                Series(words("report.uplift.ranking"), points=[(a, b) for a, b in report["curve"]]),
                Series(words("report.uplift.random"), points=[(0.0, 0.0), (1.0, total)], colour=8),
            ],
            lang=lang,
            title=words("report.uplift.curve"),
            x_name=words("report.uplift.share"),
            y_name=words("report.uplift.incremental"),
            diagonal=False,
        ),
        "facts": [
            ("Qini", _between(ranking["qini"], ranking["qini_interval"], numbers, 4)),
            ("AUUC", f"{numbers.number(ranking['auuc'], 4)} ({numbers.number(ranking['auuc_random'], 4)})"),
            (words("report.uplift.average"), _between(ranking["effect"], ranking["effect_interval"], numbers, 4)),
            (words("report.uplift.propensity"), numbers.number(report["peers"]["propensity"], 4)),
        ],
        "notes": [words("cli.say.uplift_definition"), _made(found, words)],
    }


def _redemption(found: Mapping[str, Any], words: Words, numbers: Numbers, lang: Lang) -> dict[str, Any]:
    rates = found["redemption"]
    bars = [
        Bar(words(f"report.uplift.{name}"), rates[name], numbers.percent(rates[name], 1), colour=colour)
        for name, colour in (("targeted", 2), ("by_spend", 1), ("random", 8))
    ]
    low, high = rates["targeted_interval"]
    interval = f"{numbers.percent(rates['targeted'], 1)} [{numbers.percent(low, 1)}, {numbers.percent(high, 1)}]"
    return {
        "title": words("report.uplift.redemption_title", top=numbers.percent(rates["top_share"])),
        "verdict": words("cli.say.redemption_null") if rates["is_null"] else words("cli.say.redemption_head"),
        "chart": charts.bars(bars, lang=lang, title=words("report.uplift.rate")),
        "facts": [
            (words("report.uplift.targeted"), interval),
            (words("report.uplift.captured"), numbers.percent(rates["captured"])),
            ("ROC-AUC", numbers.number(rates["roc_auc"], 3)),
        ],
        "notes": [_made(found, words)],
    }


def _reading(name: str, one: Mapping[str, Any], words: Words, numbers: Numbers) -> list[str]:
    difference = one["difference"]
    return [
        name,
        one["metric"],
        numbers.number(one["days"]),
        numbers.number(difference["treated"]),
        _held(one, words, numbers),
        _between(difference["estimate"], difference["interval"], numbers, 4),
        words("report.uplift.null") if one["is_null"] else words("report.uplift.shown"),
        numbers.number(one["repeated"]),
    ]


def _held(one: Mapping[str, Any], words: Words, numbers: Numbers) -> str:
    """How many were held out, with the share planned beside the one the hash gave."""
    held, treated, planned = one["difference"]["holdout"], one["difference"]["treated"], one.get("planned_holdout")
    if planned is None:
        return numbers.number(held)
    real = numbers.percent(held / max(held + treated, 1), 1)
    return words("report.uplift.held", count=numbers.number(held), real=real, planned=numbers.percent(planned, 1))


def _between(value: float, interval: Any, numbers: Numbers, digits: int) -> str:
    low, high = (numbers.number(end, digits) for end in interval)
    return f"{numbers.number(value, digits)} [{low}, {high}]"


def _made(found: Mapping[str, Any], words: Words) -> str:
    return words("report.uplift.made", as_of=found["as_of"], version=found["version"])
