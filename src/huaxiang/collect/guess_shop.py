"""What the data say of the shop: its zone, its money, and what could be predicted in the span they cover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from huaxiang.collect.guess_find import SourceGuess
from huaxiang.collect.guess_names import plain_name
from huaxiang.collect.guess_values import COUNTRIES
from huaxiang.collect.sniff_values import ColumnLook, to_time
from huaxiang.tables import EVENT_NAMES, event_vocabulary
from huaxiang.words import Lang

_SIGNS = {"¥": "CNY", "￥": "CNY", "元": "CNY", "£": "GBP", "€": "EUR", "$": "USD"}
_CHINESE_FILES = ("jdata", "userbehavior", "taobao", "tmall", "tianchi")
FEW_CUSTOMERS = 30  # fewer: that is why too little is known to learn from
_ATTRIBUTES = ("age_band", "gender", "income_band")


@dataclass(frozen=True)
class Span:
    """The time the sampled events cover, the broken dates at both ends left out. `days`: days that have events."""

    first: datetime
    last: datetime
    active_share: float  # share of the days between that have events
    events: frozenset[str]
    customers: int = 0  # at least so many, by the largest of the sources

    @property
    def counts(self) -> dict[str, int]:
        """What a doubt about the span names."""
        return {"days": self.days, "active": round(self.active_share * self.days), "customers": self.customers}

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass
class ShopGuess:
    timezone: str
    currency: str
    reason: str  # key of words/init.toml: why this zone and money
    values: dict[str, Any] = field(default_factory=dict)


def guess_shop(guesses: Sequence[SourceGuess], lang: Lang) -> ShopGuess:
    """The shop's zone and money, from countries named, signs and codes of money, and Chinese in names or values."""
    currency = _stated_currency(guesses)
    country = _main_country(guesses)
    if country is not None:
        money, zone = COUNTRIES[country.lower()]
        return ShopGuess(zone, currency or money, "reason_country", {"country": country})
    if _speaks_chinese(guesses):
        return ShopGuess("Asia/Shanghai", currency or "CNY", "reason_chinese")
    if currency == "GBP":
        return ShopGuess("Europe/London", currency, "reason_money", {"currency": currency})
    if currency == "CNY":
        return ShopGuess("Asia/Shanghai", currency, "reason_money", {"currency": currency})
    if lang == "zh" and currency is None:
        return ShopGuess("Asia/Shanghai", "CNY", "reason_language")
    return ShopGuess("UTC", currency or "USD", "reason_none")


def _columns(guesses: Sequence[SourceGuess]) -> list[ColumnLook]:
    return [column for guess in guesses for column in guess.look.columns]


def _stated_currency(guesses: Sequence[SourceGuess]) -> str | None:
    for column in _columns(guesses):
        if (
            plain_name(column.name) in ("currency", "currencycode", "币种", "货币")
            and column.top
            and len(column.top[0][0]) == 3
        ):
            return column.top[0][0].upper()
        if column.kind in ("money", "comma") and column.top:
            sign = next((code for mark, code in _SIGNS.items() if any(mark in value for value in column.words)), None)
            if sign:
                return sign
    return None


def _main_country(guesses: Sequence[SourceGuess]) -> str | None:
    for guess in guesses:
        users = guess.table("users")
        origin = users.map.get("country", {}).get("column") if users else None
        if origin:
            column = guess.look.column(origin)
            value, count = column.top[0]
            if value.lower() in COUNTRIES and count > 0.5 * column.filled:
                return value
    return None


def _speaks_chinese(guesses: Sequence[SourceGuess]) -> bool:
    for guess in guesses:
        name = guess.look.path.name.lower() if guess.look.path else ""
        if name.startswith(_CHINESE_FILES) or guess.look.encoding == "gb18030":
            return True
        texts = [*guess.look.names, *(value for column in guess.look.columns for value, _ in column.top[:5])]
        if any("\u4e00" <= letter <= "\u9fff" for text in texts for letter in text):
            return True
    return False


def find_span(guesses: Sequence[SourceGuess]) -> Span | None:
    """The time all event sources cover together; None without events."""
    times: list[datetime] = []
    events: set[str] = set()
    customers = 0
    for guess in guesses:
        table = guess.table("events")
        if table is None or "column" not in table.map["ts"]:
            continue
        column = guess.look.column(table.map["ts"]["column"])
        found = [time for cell in set(column.values) if cell and (time := to_time(cell, column)) is not None]
        times += [time for time in found if datetime(1995, 1, 1) <= time]
        events |= _events_of(guess)
        customers = max(customers, _count_customers(guess))
    if not times:
        return None
    times.sort()
    cut = len(times) // 200
    first, last = times[cut], times[-1 - cut]
    days = {time.date() for time in times if first <= time <= last}
    return Span(first, last, len(days) / ((last - first).days + 1), frozenset(events), customers)


def _count_customers(guess: SourceGuess) -> int:
    table = guess.table("events")
    origin = table.map.get("user_id", table.map.get("anonymous_id", {})) if table else {}
    return guess.look.column(origin["column"]).distinct if "column" in origin else 0


def _events_of(guess: SourceGuess) -> set[str]:
    table = guess.table("events")
    assert table is not None
    origin = table.map["event"]
    if "value" in origin:
        return {origin["value"]}
    known, values = event_vocabulary(), origin.get("values", {})
    words = guess.look.column(origin["column"]).words
    named = {values.get(word.removesuffix(".0"), values.get(word, known.get(word.lower(), word))) for word in words}
    return named & set(EVENT_NAMES)


def guess_outcomes(
    guesses: Sequence[SourceGuess], span: Span | None
) -> tuple[dict[str, dict[str, Any]], dict[str, int], str]:
    """(outcomes, [train] settings, key of the doubt or ''): what can be learnt in the span the events cover."""
    outcomes: dict[str, dict[str, Any]] = {}
    train: dict[str, int] = {}
    doubt = ""
    if span is None:
        doubt = "no_events"
    elif span.days < 4:
        doubt = "gaps"
    elif span.active_share < 0.2:
        doubt = "few_customers" if span.customers < FEW_CUSTOMERS else "sparse"
    elif "purchase" not in span.events:
        doubt = "no_purchases"
    elif span.days >= 120:
        bought = {"where": "event == 'purchase'", "within": "30d", "among": "purchases_90d > 0"}
        outcomes["churn_30d"] = {"agg": "none", **bought}
        if _has_money(guesses):
            outcomes["spend_30d"] = {"agg": "sum", "column": "amount", **bought}
        if span.days < 365:
            train = {"as_of_count": 3, "as_of_step_days": 14}
    else:
        ahead = 7 if span.days >= 35 else 2 if span.days >= 8 else 1
        outcomes[f"purchase_{ahead}d"] = {
            "agg": "any", "where": "event == 'purchase'", "within": f"{ahead}d", "among": "active_days_30d > 0",
        }  # fmt: skip
        left = span.days - 2 * ahead - max(1, span.days // 4)
        count = max(2, min(4, left))
        train = {"as_of_count": count, "as_of_step_days": max(1, left // count)}
    for guess in guesses:
        outcomes.update(_attribute_outcomes(guess))
    return outcomes, train, doubt


def _has_money(guesses: Sequence[SourceGuess]) -> bool:
    tables = [table for guess in guesses if (table := guess.table("events"))]
    return any("amount" in table.map or "price" in table.map for table in tables)


def _attribute_outcomes(guess: SourceGuess) -> dict[str, dict[str, Any]]:
    """Declared attributes with enough users in at least two classes."""
    users = guess.table("users")
    if users is None or users.distinct:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name in _ATTRIBUTES:
        origin = users.map.get(name, {})
        if "column" not in origin:
            continue
        unknown = set(origin.get("empty", ()))
        counts = Counter(
            {value: count for value, count in guess.look.column(origin["column"]).top if value not in unknown}
        )
        big = [value for value, count in counts.items() if count >= max(30, 0.02 * counts.total())]
        if len(big) >= 2 and len(counts) <= 15:
            found[name] = {"attribute": f"users.{name}"}
    return found
