"""The profile as a page and as a notebook fragment: the product's face.

Both take the document (`Profile.to_dict()`, schema huaxiang.profile/1) and show whatever of it is there; what is absent is said
calmly. `portrait` is the body alone, which the report uses too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup

from huaxiang.look.numbers import Numbers, as_time, is_number
from huaxiang.look.page import fragment, page, render
from huaxiang.profile.pictures import Traits, figures, pictures, predictions
from huaxiang.words import LANGS, Lang, Words

SHEETS = ("sheet.css", "profile.css")
SECTIONS = ("basic", "behaviour", "interests", "social", "predictions", "risk")
Document = Mapping[str, Any]


def profile_page(document: Document, lang: Lang) -> str:
    """One customer's profile as a whole HTML page, in both languages, opened in `lang`."""
    title = Words(lang)("look.profile.title", user=document["user_id"])
    headings = {each: _heading(document, each) for each in LANGS}
    return page(title, {each: portrait(document, each) for each in LANGS}, lang=lang, headings=headings, sheets=SHEETS)


def profile_fragment(document: Document, lang: Lang) -> str:
    """One customer's profile as a piece of HTML that brings its own styles: for a notebook."""
    return fragment(portrait(document, lang), lang=lang, sheets=SHEETS)


def portrait(document: Document, lang: Lang) -> Markup:
    """The body of a profile, without styles."""
    numbers = Numbers(lang, document.get("currency") or "CNY")
    traits = Traits(document)
    user = str(document["user_id"])
    anchors = {name: f"{user}-{name}-{lang}" for name in traits.by_name}
    story, cites = _story(document, traits, lang)
    return render(
        "profile.html",
        "huaxiang.profile",
        lang=lang,
        user=user,
        numbers=numbers,
        anchors=anchors,
        headline=_headline(document, traits, lang),
        since=_since(traits, numbers, lang),
        known=len(traits.by_name),
        tags=document.get("tags") or [],
        figures=figures(traits, numbers, lang),
        pictures=pictures(document, traits, numbers, lang),
        story=story,
        cites=cites,
        predictions=predictions(traits, numbers, lang),
        days=_days(document, numbers, lang),
        zone=document.get("timezone") or "UTC",
        sections=[_section(name, document["sections"].get(name) or {}, document, numbers, lang) for name in SECTIONS],
    )


def _heading(document: Document, lang: Lang) -> tuple[str, str]:
    as_of = Words(lang)("look.profile.as_of", date=Numbers(lang).date(_local(document, document.get("as_of"))))
    return str(document.get("shop") or ""), as_of


def _headline(document: Document, traits: Traits, lang: Lang) -> dict[str, str]:
    said = document.get("headline") or {}
    stage, tier = str(said.get("lifecycle") or "none"), str(said.get("value_tier") or "none")
    return {
        "lifecycle": stage,
        "tier": tier,
        "stage_text": traits.text("lifecycle", lang) or stage.replace("_", " "),
        "tier_text": "" if tier == "none" else traits.text("value_tier", lang) or tier,
    }


def _since(traits: Traits, numbers: Numbers, lang: Lang) -> str:
    days = traits.value("tenure_days")
    return Words(lang)("look.profile.customer_for", span=numbers.span(days)) if is_number(days) else ""


def _story(document: Document, traits: Traits, lang: Lang) -> tuple[list[dict[str, Any]], list[tuple[int, str, str]]]:
    """The persona's sentences with the numbers of what they cite, and the cited traits by number."""
    order: dict[str, int] = {}
    sentences = []
    for sentence in document.get("persona") or []:
        marks = []
        for name in sentence.get("cites") or []:
            if name in traits.by_name:
                marks.append((order.setdefault(name, len(order) + 1), name))
        sentences.append({"text": sentence.get(lang) or sentence.get("en") or "", "marks": marks})
    return sentences, [(place, name, traits.label(name, lang)) for name, place in order.items()]


def _days(document: Document, numbers: Numbers, lang: Lang) -> list[dict[str, Any]]:
    """The latest events by the shop's day, newest first; the same thing done again in one moment counted once."""
    words = Words(lang)
    found = []
    for event in document.get("timeline") or []:
        time = _local(document, event.get("ts"))
        if time is not None:
            found.append((time, event))
    found.sort(key=lambda pair: pair[0], reverse=True)
    days = []
    for day, pairs in groupby(found, key=lambda pair: pair[0].date()):
        lines: dict[tuple[Any, ...], dict[str, Any]] = {}
        for time, event in pairs:
            key = (time, event.get("event"), event.get("item_id"), event.get("amount"))
            kind = str(event.get("event") or "")
            line = lines.setdefault(
                key,
                {
                    "time": f"{time:%H:%M}",
                    "kind": kind,
                    "does": words.either(f"look.event.{kind}", kind),
                    "title": event.get("title") or event.get("item_id") or "",
                    "category": event.get("category") or "",
                    "paid": numbers.money(event["amount"]) if is_number(event.get("amount")) else "",
                    "times": 0,
                },
            )
            line["times"] += 1
        days.append({"day": numbers.date(day), "lines": list(lines.values())})
    return days


def _section(name: str, section: Mapping[str, Any], document: Document, numbers: Numbers, lang: Lang) -> dict[str, Any]:
    absent = section.get("absent")
    return {
        "name": name,
        "title": Words(lang)(f"look.profile.section.{name}"),
        "absent": absent.get(lang) if isinstance(absent, Mapping) else absent,
        "traits": [_trait(trait, document, numbers, lang) for trait in section.get("traits") or []],
    }


def _trait(trait: Mapping[str, Any], document: Document, numbers: Numbers, lang: Lang) -> dict[str, Any]:
    words, evidence = Words(lang), trait.get("evidence") or {}
    meaning, model = evidence.get("meaning") or {}, evidence.get("model") or {}
    source = str(trait.get("source") or "computed")
    said = words.either(f"look.source.{source}", source)
    origin = trait.get("origin")
    if origin and source == "predicted":
        origin = words.either(f"models.name.{origin}", words.either(f"models.board.model.{origin}", origin))
    sure = trait.get("confidence")
    card = ((model.get("card") or {}).get("text") or {}).get(lang)
    return {
        "name": trait["name"],
        "label": (trait.get("label") or {}).get(lang) or trait["name"],
        "text": (trait.get("text") or {}).get(lang) or "–",
        "source": said,
        "origin": f"{said} · {origin}" if origin and origin not in (said, "huaxiang") else said,
        "sure": numbers.percent(sure, 0),
        "pips": round(sure * 5) if is_number(sure) else 0,
        "meaning": meaning.get(lang) or "",
        "definition": " · ".join(str(part) for part in (evidence.get("definition"), evidence.get("version")) if part),
        "as_of": numbers.date(_local(document, trait.get("as_of"))),
        "expires": numbers.date(_local(document, trait["expires"]))
        if trait.get("expires")
        else words("look.profile.why.never"),
        "model": " · ".join(str(part) for part in (model.get("name"), model.get("version"), card) if part),
        "reasons": [
            (reason.get("text") or {}).get(lang) for reason in evidence.get("reasons") or [] if reason.get("text")
        ],
        "count": evidence.get("count") or 0,
        "events": [
            {
                "day": numbers.date(_local(document, event.get("ts"))),
                "does": words.either(f"look.event.{event.get('event')}", str(event.get("event") or "")),
                "title": event.get("title") or event.get("item_id") or "",
                "paid": numbers.money(event["amount"]) if is_number(event.get("amount")) else "",
            }
            for event in evidence.get("events") or []
        ],
    }


def _local(document: Document, moment: Any) -> datetime | None:
    """A UTC time of the document in the shop's zone."""
    time = as_time(moment)
    if time is None:
        return None
    try:
        return time.replace(tzinfo=UTC).astimezone(ZoneInfo(document.get("timezone") or "UTC")).replace(tzinfo=None)
    except (ZoneInfoNotFoundError, ValueError):
        return time
