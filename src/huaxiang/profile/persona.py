"""The persona: a few sentences from templates, each citing the traits it rests on, checked before anyone reads them.

A template is used where every trait it names is known; of each group the first that fits. `check` then reads the sentence back:
every cited trait must exist and its value, as a person reads it, must stand in the sentence. What does not hold is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from huaxiang.profile.say import Text, beside_chinese, leaf
from huaxiang.words import LANGS, Lang, Words, catalogue

Row = dict[str, Any]
_PLACE = re.compile(r"\{(\w+)\}")

# Which opening suits which stage.
_OPENINGS = {
    "new": ("open_new",),
    "active": ("open_tier",),
    "won_back": ("open_won_back",),
    "at_risk": ("open_at_risk",),
    "dormant": ("open_gone",),
    "lost": ("open_gone",),
    "prospect": ("open_prospect",),
}
_GROUPS = (
    ("who_age_gender", "who_age_household", "who_city"),
    ("money_rhythm", "money_year", "money_total", "visits", "visits_plain"),
)
MOST = 8
LEAST_SEEN = 5  # events before a favourite is worth a sentence
NOTABLE_TREND = 1 / 3
NOTABLE_DISCOUNT = 0.2
NOTABLE_RETURNS = 0.1
FAVOURITE = 0.05


def write_persona(traits: Mapping[str, Row]) -> list[Row]:
    """The sentences that hold: {"en", "zh", "cites"}. traits: name -> trait of the document."""
    sentences = (_fill(name, traits) for name in _chosen(traits))
    return [
        sentence for sentence in [*sentences, *_predicted(traits)] if sentence is not None and check(sentence, traits)
    ][:MOST]


def check(sentence: Row, traits: Mapping[str, Row]) -> bool:
    """True where every cited trait exists and its value stands in the sentence, in both languages."""
    return bool(sentence["cites"]) and all(
        name in traits and all(said_value(traits[name], lang) in sentence[lang] for lang in LANGS)
        for name in sentence["cites"]
    )


def said_value(trait: Row, lang: Lang) -> str:
    """A trait's value as it stands within a sentence: of a list of favourites, the first."""
    value, text = trait["value"], str(trait["text"][lang])
    if isinstance(value, list) and value and isinstance(value[0], Mapping) and "key" in value[0]:
        return leaf(str(value[0]["key"]))
    return text


def _chosen(traits: Mapping[str, Row]) -> Iterator[str]:
    """The templates that fit, in the order they are read."""
    stage = (traits.get("lifecycle") or {}).get("value")
    buys = _number(traits, "orders_total") > 0
    openings = _OPENINGS.get(str(stage), ()) if buys or stage == "prospect" else ("open_seen",)
    yield from _first((*openings, "open_seen" if not buys else "open_plain", "open_plain"), traits)
    for group in _GROUPS:
        yield from _first(group, traits)
    if _count(traits, "weekday_top") >= LEAST_SEEN:
        yield from _first(("when_buys" if buys else "when_comes",), traits)
    if _count(traits, "top_categories") >= LEAST_SEEN:
        yield from _first(("taste_price", "taste"), traits)
    if abs(_number(traits, "spend_trend_30d")) >= NOTABLE_TREND and _number(traits, "first_purchase_days") > 60:
        yield from _first(("trend",), traits)
    if _number(traits, "discount_share_90d") >= NOTABLE_DISCOUNT:
        yield from _first(("discounts",), traits)
    if _number(traits, "refund_share_365d") >= NOTABLE_RETURNS:
        yield from _first(("returns",), traits)


def _first(names: tuple[str, ...], traits: Mapping[str, Row]) -> Iterator[str]:
    yield from [name for name in names if all(_usable(cited, traits) for cited in _cites(name))][:1]


def _usable(name: str, traits: Mapping[str, Row]) -> bool:
    trait = traits.get(name)
    if trait is None or trait["value"] in (None, []):
        return False
    if name == "value_tier":
        return bool(trait["value"] != "none")
    if trait["source"] == "predicted":
        return False  # a sentence about who someone is speaks of what is known
    return name != "top_categories" or trait["value"][0].get("share", 0) >= FAVOURITE


def _fill(name: str, traits: Mapping[str, Row]) -> Row | None:
    cites = _cites(name)
    said: Text = {}
    for lang in LANGS:
        values = {cited: said_value(traits[cited], lang) for cited in cites}
        if lang == "zh" and "top_categories" in values:
            values["top_categories"] = beside_chinese(values["top_categories"])
        said[lang] = _capital(Words(lang)(f"profile.persona.{name}", **values))
    return {"en": said["en"], "zh": said["zh"], "cites": list(cites)}


def _predicted(traits: Mapping[str, Row]) -> Iterator[Row]:
    """A sentence for each of the first two things expected of the customer."""
    found = [
        trait for trait in traits.values() if trait["source"] == "predicted" and isinstance(trait["value"], int | float)
    ]
    for trait in found[:2]:
        key = (
            "profile.persona.predicted_chance" if trait["unit"] == "probability" else "profile.persona.predicted_amount"
        )
        said = {lang: Words(lang)(key, what=trait["label"][lang], value=trait["text"][lang]) for lang in LANGS}
        yield {"en": said["en"], "zh": said["zh"], "cites": [trait["name"]]}


def _cites(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_PLACE.findall(catalogue()[f"profile.persona.{name}"]["en"])))


def _count(traits: Mapping[str, Row], name: str) -> int:
    """The events behind a trait."""
    return int(traits[name]["evidence"]["count"]) if name in traits else 0


def _number(traits: Mapping[str, Row], name: str) -> float:
    value = (traits.get(name) or {}).get("value")
    return float(value) if isinstance(value, int | float) else 0.0


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
