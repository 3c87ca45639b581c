"""The traits of one customer as the document holds them: value, text, confidence, source, freshness, evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from huaxiang.look.numbers import Numbers
from huaxiang.profile.because import Behind, Past, finite, write_time
from huaxiang.profile.context import Context, Row
from huaxiang.profile.explain import explain_stage, explain_tier
from huaxiang.profile.predicted import Outcome
from huaxiang.profile.say import Text, both, format_of, label_of, say, say_feature
from huaxiang.profile.traits import BUYING, DECLARED, SectionName, Trait, expire, grow_confidence
from huaxiang.words import LANGS, Words

Placed = Iterator[tuple[SectionName, Row]]
HUAXIANG = "huaxiang"
REASONS = 5
# A profile of someone who never bought does not list what they did not buy.
KEPT_UNBOUGHT = frozenset({"lifecycle", "value_tier"})


def computed_traits(context: Context, row: Row, past: Past, mine: Mapping[str, Behind]) -> Placed:
    """What was counted or estimated from the customer's own events. mine: of the shop's own features, the events behind."""
    never_bought = not row.get("orders_total")
    for trait in context.traits:
        value = row.get(trait.name)
        if value is None or value == [] or (never_bought and trait.name in BUYING and trait.name not in KEPT_UNBOUGHT):
            continue
        if trait.least and (row.get(trait.orders) or 0) < trait.least:
            continue
        behind = mine.get(trait.name) or past.behind(trait.events, trait.days, else_any=trait.else_any)
        yield trait.section, _computed(context, trait, value, row, behind)
    grid = past.rhythm()
    if grid is not None:
        shares, count = grid
        yield "behaviour", _rhythm(context, shares, count, row)


def _computed(context: Context, trait: Trait, value: Any, row: Row, behind: Behind) -> Row:
    half = context.settings.profile.confidence_events
    fact = trait.rule == "fact" or (trait.name == "lifecycle" and value in ("prospect", "new"))
    meaning = context.meaning(trait.name)
    if trait.name == "lifecycle":
        meaning = explain_stage(context, row)
    elif trait.name == "value_tier":
        meaning = explain_tier(context)
    elif trait.name == "ties":
        meaning = both("profile.meaning.ties")
    return made(
        context,
        trait.name,
        value,
        say(value, trait.format, trait.unit, context.currency),
        unit=context.unit(trait.unit),
        confidence=1.0
        if fact
        else grow_confidence((row.get(trait.orders) or 0) if trait.orders else behind.count, half),
        days=trait.days,
        evidence=evidence(context, trait.name, meaning, behind.count, behind.latest),
    )


def _rhythm(context: Context, shares: list[list[float]], count: int, row: Row) -> Row:
    hours = [sum(day[hour] for day in shares) for hour in range(24)]
    said = say(row.get("hour_hist") or hours, "hours", "shares", context.currency)
    behind = evidence(context, "rhythm", both("profile.meaning.rhythm"), count, [])
    confidence = grow_confidence(count, context.settings.profile.confidence_events)
    return made(context, "rhythm", shares, said, unit="shares", confidence=confidence, days=0, evidence=behind)


def declared_traits(context: Context, row: Row, person: Row) -> Placed:
    """What the customer, or a third party, says of them."""
    sources, filled = _object(person.get("sources")), set(person.get("filled") or [])
    given: dict[str, Any] = {name: row[name] for name in DECLARED if row.get(name) is not None}
    given |= {name: value for name, value in _object(row.get("extra")).items() if name not in given}
    for name, value in given.items():
        if value in ("", None) or name in filled:
            continue
        origin = str(sources.get(name) or HUAXIANG)
        third = origin in context.third_parties
        unit = "year" if name == "birth_year" else ""
        shown = finite(value) if not hasattr(value, "isoformat") else write_time(value)
        if isinstance(shown, dict | list):
            shown = json.dumps(shown, ensure_ascii=False)
        kind = "third_party" if third else "declared"
        yield (
            "basic",
            made(
                context,
                name,
                shown,
                say(value, DECLARED.get(name, format_of("", value)), unit, context.currency),
                unit=unit,
                confidence=context.settings.profile.third_party_confidence if third else 1.0,
                days=None,
                source=kind,
                origin=origin,
                evidence=evidence(context, name, both(f"profile.meaning.{kind}"), 0, []),
            ),
        )


def predicted_traits(context: Context, row: Row, predictions: Sequence[Row]) -> Placed:
    """What the models expect; nothing they say of an attribute the customer declared."""
    by_outcome = {prediction["outcome"]: prediction for prediction in predictions}
    for outcome in context.outcomes:
        prediction = by_outcome.get(outcome.name)
        declared = (
            outcome.kind == "class" and outcome.column != outcome.name and row.get(outcome.name) not in (None, "")
        )
        if prediction is None or declared:
            continue
        value = finite(prediction["label"] if outcome.kind == "class" else prediction["value"])
        if value is not None:
            yield "predictions", _predicted(context, outcome, prediction, value)


def _predicted(context: Context, outcome: Outcome, prediction: Row, value: Any) -> Row:
    share = finite(prediction.get("value"))
    if outcome.kind == "class":
        text = {
            lang: Words(lang)("profile.say.class", label=value, share=Numbers(lang).percent(share))
            if share is not None
            else str(value)
            for lang in LANGS
        }
    else:
        shape = "percent" if outcome.kind == "binary" else "money" if outcome.money else "number"
        text = say(value, shape, "", context.currency)  # type: ignore[arg-type]
    about = {
        "reasons": [_reason(context, outcome, reason) for reason in (prediction.get("reasons") or [])[:REASONS]],
        "model": {"name": prediction.get("model"), "version": prediction.get("version"), "card": outcome.card},
        "low": finite(prediction.get("low")),
        "high": finite(prediction.get("high")),
        "threshold": finite(prediction.get("threshold")) if outcome.kind == "binary" else None,
        "baseline": outcome.baseline if outcome.kind == "binary" else None,
    }
    label = (
        label_of(outcome.name)
        if outcome.kind == "class" and Words("en").has(f"traits.{outcome.name}")
        else {lang: said[:1].upper() + said[1:] for lang, said in outcome.meaning.items()}
    )
    return made(
        context,
        outcome.column,
        value,
        text,
        label=label,
        unit=context.unit(outcome.unit),
        confidence=finite(prediction.get("confidence")) or 0.0,
        days=outcome.within_days,
        source="predicted",
        origin=str(prediction.get("model") or ""),
        evidence=evidence(context, outcome.name, outcome.meaning, 0, [])
        | about
        | ({"version": outcome.version} if outcome.version else {}),
    )


def _reason(context: Context, outcome: Outcome, reason: Row) -> Row:
    name, value, effect = reason["feature"], finite(reason.get("value")), finite(reason.get("effect")) or 0.0
    label = _label(context, name)
    shown = say_feature(name, value, str(context.definitions.get(name, {}).get("unit") or ""), context.currency)
    ways = ("for", "against") if outcome.kind == "class" else ("up", "down")
    key = f"profile.say.reason_{ways[0] if effect >= 0 else ways[1]}"
    text = {lang: Words(lang)(key, label=label[lang], value=shown[lang]) for lang in LANGS}
    return {"feature": name, "label": label, "value": value, "effect": effect, "text": text, "shown": shown}


def _label(context: Context, name: str) -> Text:
    """The catalogue's name of a feature; of one it does not know (a share of a category, the shop's own), its meaning."""
    meaning = context.meaning(name)
    return (
        label_of(name)
        if Words("en").has(f"traits.{name}") or not meaning["en"]
        else {lang: said[:1].upper() + said[1:] for lang, said in meaning.items()}
    )


def made_trait(context: Context, name: str, value: Any, text: Text) -> Row:
    """A trait that this room makes of the other traits: the tags, the persona."""
    behind = evidence(context, name, both(f"profile.meaning.{name}"), 0, [])
    return made(context, name, value, text, confidence=1.0, days=0, evidence=behind)


def made(
    context: Context,
    name: str,
    value: Any,
    text: Text,
    *,
    evidence: Row,
    confidence: float,
    days: int | None,
    unit: str = "",
    source: str = "computed",
    origin: str = HUAXIANG,
    label: Text | None = None,
) -> Row:
    """A trait as the document holds it. days: its window (0: all history; None: it does not expire)."""
    expires = None if days is None else write_time(expire(context.as_of, days, context.settings.profile.expiry_days))
    return {
        "name": name,
        "label": label or _label(context, name),
        "value": value,
        "text": text,
        "unit": unit,
        "confidence": round(min(max(confidence, 0.0), 1.0), 3),
        "source": source,
        "origin": origin,
        "as_of": write_time(context.as_of),
        "expires": expires,
        "evidence": evidence,
    }


def evidence(context: Context, name: str, meaning: Text, count: int, events: list[Row]) -> Row:
    """What a trait rests on."""
    return {
        "definition": name,
        "version": context.version(name),
        "meaning": meaning,
        "count": count,
        "events": events,
        "reasons": [],
        "model": None,
        "low": None,
        "high": None,
        "threshold": None,
        "baseline": None,
    }


def _object(text: Any) -> Row:
    """A JSON object stored as text ({} where there is none)."""
    if not text:
        return {}
    found = json.loads(text) if isinstance(text, str) else text
    return found if isinstance(found, dict) else {}
