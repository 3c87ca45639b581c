"""What was decided as sections of the report: each application's last result, where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from huaxiang.report.guard import guard_body
from huaxiang.report.market import audiences_body, flow_body, rfm_body, rules_body, segments_body
from huaxiang.report.predict import clv_body, intent_body
from huaxiang.report.recommend import recommend_body
from huaxiang.report.uplift import campaigns_body, uplift_body
from huaxiang.words import Lang, Words

Body = Callable[[Any, Lang, str], Markup]  # (the result, language, currency)
BODIES: Mapping[str, Body] = {
    "recommend": lambda found, lang, currency: recommend_body(found, lang),
    "audiences": lambda found, lang, currency: audiences_body(found, lang),
    "flow": lambda found, lang, currency: flow_body(found, lang),
    "rfm": lambda found, lang, currency: rfm_body(found, lang),
    "rules": lambda found, lang, currency: rules_body(found, lang),
    "segments": lambda found, lang, currency: segments_body(found, lang),
    "clv": clv_body,
    "intent": lambda found, lang, currency: intent_body(found, lang),
    "uplift": lambda found, lang, currency: uplift_body(found, lang),
    "campaigns": lambda found, lang, currency: campaigns_body(found, lang),
    "guard": lambda found, lang, currency: guard_body(found, lang, currency=currency),
}


@dataclass(frozen=True)
class Decided:
    name: str
    title: str
    sub: str
    body: Markup


def decided_sections(found: Mapping[str, Any], lang: Lang, currency: str) -> list[Decided]:
    """A section of each result, in the order of BODIES. found: by the names of BODIES"""
    words = Words(lang)
    return [
        Decided(
            name,
            words(f"report.decided.{name}"),
            words(f"report.decided_sub.{name}"),
            body(found[name], lang, currency),
        )
        for name, body in BODIES.items()
        if found.get(name)
    ]
