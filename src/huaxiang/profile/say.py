"""A trait's value as a person reads it, in English and Chinese."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime
from functools import cache
from typing import Any

from huaxiang.look.numbers import Numbers
from huaxiang.profile.traits import BY_NAME, DECLARED, Format, format_by_unit
from huaxiang.words import LANGS, Lang, Words

Text = dict[Lang, str]
TOP = 3


def both(key: str, /, **values: Any) -> Text:
    """A text of the catalogue in both languages."""
    return {lang: Words(lang)(key, **values) for lang in LANGS}


def label_of(name: str) -> Text:
    """The name of a trait or feature as a person reads it; one that the catalogue lacks as it is, underscores opened."""
    return {lang: Words(lang).either(f"traits.{name}", _capital(name.replace("_", " "))) for lang in LANGS}


def say(value: Any, format: Format, unit: str, currency: str) -> Text:
    """`value` in both languages."""
    return {lang: say_in(lang, value, format, unit, currency) for lang in LANGS}


def say_in(lang: Lang, value: Any, format: Format, unit: str, currency: str) -> str:
    """`value` in one language."""
    words, numbers = _tools(lang, currency)
    if value is None:
        return words("profile.unknown")
    writer = _WRITERS.get(format)
    if writer is not None:
        return writer(value, words, numbers)
    if format == "count":
        return _count(value, unit, words, numbers)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _tops(value, words, numbers)
    if isinstance(value, datetime | date):
        return numbers.date(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _text(value, words)
    return numbers.number(value)


def say_feature(name: str, value: Any, unit: str, currency: str) -> Text:
    """The value of a feature by name: as its trait writes it, or by its unit where no trait has it."""
    trait = BY_NAME.get(name)
    if trait is not None:
        return say(value, trait.format, trait.unit, currency)
    kind = name.partition("_")[0]  # views_7d are counted in views, whatever their definition calls them
    if unit in ("", "events") and Words("en").has(f"profile.unit.{kind}.many"):
        unit = kind
    return say(value, DECLARED.get(name, format_of(unit, value)), unit, currency)


def format_of(unit: str, value: Any) -> Format:
    """How a value of a unit is written where no trait says so."""
    if isinstance(value, list):
        return "tops" if value and isinstance(value[0], dict) else "text"
    return format_by_unit(unit) if isinstance(value, int | float) else "text"


@cache
def _tools(lang: Lang, currency: str) -> tuple[Words, Numbers]:
    return Words(lang), Numbers(lang, currency)


def leaf(path: str) -> str:
    """The last level of a category path, shouting made calm: GROCERY > CAT FOOD is Cat food."""
    last = path.rsplit(" > ", 1)[-1].strip()
    return last.capitalize() if last.isupper() and last.isascii() and len(last) > 3 else last


def beside_chinese(text: str) -> str:
    """`text` as it stands after a Chinese character: Latin letters and digits keep a space."""
    return f" {text}" if text[:1].isascii() else text


def hours_peak(shares: list[float]) -> int:
    """The hour with the largest of 24 shares; of equal ones the first, as the feature hour_top has it."""
    return max(range(24), key=lambda hour: (shares[hour], -hour))


def _count(value: float, unit: str, words: Words, numbers: Numbers) -> str:
    shown = numbers.number(round(value, 1))
    key = f"profile.unit.{unit}.{'one' if shown == '1' else 'many'}"
    return words(key, n=shown) if words.has(key) else f"{shown} {unit}".strip()


def _ago(value: float, words: Words, numbers: Numbers) -> str:
    days = math.floor(value)
    return words("profile.say.ago_none") if days < 1 else words("profile.say.ago", span=numbers.span(days))


def _every(value: float, words: Words, numbers: Numbers) -> str:
    return words("profile.say.every", span=_days(value, words, numbers))


def _span(value: float, words: Words, numbers: Numbers) -> str:
    return _days(value, words, numbers) if value < 10 else numbers.span(math.floor(value))


def _days(value: float, words: Words, numbers: Numbers) -> str:
    """Short spans keep a decimal: 4.2 days."""
    return _count(value, "days", words, numbers) if value < 61 else numbers.span(value)


def _level(value: float, words: Words, numbers: Numbers) -> str:
    if abs(value - 1) < 0.03:
        return words("profile.say.level_same")
    key = "profile.say.level_above" if value > 1 else "profile.say.level_below"
    return words(key, share=numbers.percent(abs(value - 1), 0))


def _ratio(value: float, words: Words, numbers: Numbers) -> str:
    return f"{numbers.number(value, 1 if value >= 2 else 2)}×"


def _tops(value: Any, words: Words, numbers: Numbers) -> str:
    parts = [f"{leaf(str(top['key']))} {numbers.percent(top['share'], 0)}" for top in value[:TOP]]
    return words("profile.say.comma").join(parts) or words("profile.unknown")


def _trend(value: float, words: Words, numbers: Numbers) -> str:
    """A trend is (now − before) ÷ (now + before); a person reads now against before."""
    if abs(value) >= 0.999:
        return words(f"profile.say.trend_{'from' if value > 0 else 'to'}_nothing")
    change = 2 * value / (1 - value)
    return (
        words("profile.say.trend_same")
        if abs(change) < 0.03
        else words("profile.say.trend", change=numbers.signed(change))
    )


def _hours(value: Any, words: Words, numbers: Numbers) -> str:
    return words("profile.say.hours", hour=_hour(hours_peak(value), words, numbers))


def _weekdays(value: Any, words: Words, numbers: Numbers) -> str:
    return words("profile.say.weekdays", day=_weekday(max(range(7), key=value.__getitem__), words, numbers))


def _hour(value: float, words: Words, numbers: Numbers) -> str:
    return words("profile.say.hour", hour=int(value))


def _weekday(value: float, words: Words, numbers: Numbers) -> str:
    return words(f"profile.weekday.{int(value)}")


def _minutes(value: float, words: Words, numbers: Numbers) -> str:
    return words("profile.unit.minutes.many", n=numbers.number(round(value, 1)))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _text(value: Any, words: Words) -> str:
    if isinstance(value, list):
        return words("profile.say.comma").join(str(part) for part in value)
    return str(value)


_WRITERS: dict[Format, Callable[[Any, Words, Numbers], str]] = {
    "ago": _ago,
    "date": lambda value, words, numbers: numbers.date(value),
    "every": _every,
    "hour": _hour,
    "hours": _hours,
    "level": _level,
    "minutes": _minutes,
    "money": lambda value, words, numbers: numbers.money(value),
    "percent": lambda value, words, numbers: numbers.percent(value),
    "ratio": _ratio,
    "score": lambda value, words, numbers: words("profile.say.score", n=int(value)),
    "span": _span,
    "stage": lambda value, words, numbers: words.either(f"profile.lifecycle.{value}", str(value)),
    "stars": lambda value, words, numbers: words("profile.say.stars", n=numbers.number(round(value, 1))),
    "tier": lambda value, words, numbers: words.either(f"profile.tier.{value}", str(value)),
    "tops": _tops,
    "trend": _trend,
    "weekday": _weekday,
    "weekdays": _weekdays,
    "word": lambda value, words, numbers: words.either(f"profile.word.{str(value).strip().lower()}", str(value)),
    "year": lambda value, words, numbers: str(int(value)),
}
