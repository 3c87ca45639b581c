"""Numbers, money, dates and spans of time as a person of one language reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeGuard

from huaxiang.words import Lang, Words

NONE = "–"
SYMBOLS = {
    "CNY": "¥",
    "USD": "$",
    "EUR": "€",
    "GBP": "£",
    "JPY": "¥",
    "KRW": "₩",
    "INR": "₹",
    "HKD": "HK$",
    "TWD": "NT$",
    "AUD": "A$",
    "CAD": "C$",
    "SGD": "S$",
}
WHOLE = {"JPY", "KRW"}
STEPS = {"en": ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")), "zh": ((1e8, "亿"), (1e4, "万"))}


def is_number(value: Any) -> TypeGuard[float]:
    """True for a finite number (a bool is none)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def as_time(value: Any) -> datetime | None:
    """A datetime, a date or ISO text as a naive datetime; None for anything else."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.replace("Z", "+00:00")).replace(tzinfo=None)
        except ValueError:
            return None
    return None


@dataclass(frozen=True)
class Numbers:
    """How one language, with one currency, writes values. What is no finite number is written as a dash."""

    lang: Lang = "en"
    currency: str = "CNY"

    def number(self, value: Any, digits: int | None = None) -> str:
        """1,234.5: by itself at most two decimals, fewer the larger the number."""
        if not is_number(value):
            return NONE
        if digits is None:
            large = abs(value)
            digits = 0 if float(value).is_integer() or large >= 1000 else 1 if large >= 10 else 2
            text = f"{value:,.{digits}f}"
            return _minus(text.rstrip("0").rstrip(".") if "." in text else text)
        return _minus(f"{value:,.{digits}f}")

    def compact(self, value: Any) -> str:
        """12.3k, 4.56M; 1.2万, 3.4亿 in Chinese."""
        if not is_number(value):
            return NONE
        for size, name in STEPS[self.lang]:
            if abs(value) >= size:
                scaled = value / size
                return _minus(f"{scaled:,.{0 if abs(scaled) >= 100 else 1}f}".removesuffix(".0")) + name
        return self.number(value)

    def money(self, value: Any, *, compact: bool = False) -> str:
        """$1,234.50; `compact` $1.2k."""
        if not is_number(value):
            return NONE
        symbol = SYMBOLS.get(self.currency, f"{self.currency} ")
        sign = "−" if value < 0 else ""
        large = abs(value)
        if compact and large >= (10_000 if self.lang == "zh" else 1000):
            return f"{sign}{symbol}{self.compact(large)}"
        digits = 0 if self.currency in WHOLE or (compact and (large >= 100 or not large)) else 2
        return f"{sign}{symbol}{large:,.{digits}f}"

    def percent(self, value: Any, digits: int | None = None) -> str:
        """A share of 0 to 1 as 12.3%."""
        if not is_number(value):
            return NONE
        scaled = value * 100
        if digits is None:
            digits = 1 if 0 < abs(scaled) < 10 else 0
        text = f"{scaled:,.{digits}f}"
        if scaled > 0 and not text.strip("0."):
            return f"<{10**-digits:g}%"
        if value < 1 and text.startswith("100"):
            return f">{100 - 10**-digits:.{digits}f}%"
        return _minus(text) + "%"

    def signed(self, value: Any) -> str:
        """A change with its sign: +12%, −3%."""
        if not is_number(value):
            return NONE
        return ("+" if value > 0 else "") + self.percent(value, 0)

    def date(self, value: Any) -> str:
        """3 Mar 2017 · 2017年3月3日"""
        time = as_time(value)
        if time is None:
            return NONE
        if self.lang == "zh":
            return f"{time.year}年{time.month}月{time.day}日"
        return f"{time.day} {time:%b} {time.year}"

    def month(self, value: Any) -> str:
        """Mar 2017 · 2017年3月"""
        time = as_time(value)
        if time is None:
            return NONE
        return f"{time.year}年{time.month}月" if self.lang == "zh" else f"{time:%b %Y}"

    def day(self, value: Any) -> str:
        """3 Mar · 3月3日"""
        time = as_time(value)
        if time is None:
            return NONE
        return f"{time.month}月{time.day}日" if self.lang == "zh" else f"{time.day} {time:%b}"

    def clock(self, value: Any) -> str:
        """14:05"""
        time = as_time(value)
        return NONE if time is None else f"{time:%H:%M}"

    def span(self, days: Any) -> str:
        """A span of days in its natural unit: 5 days, 9 months, 2.1 years."""
        if not is_number(days):
            return NONE
        for name, size, least in (("years", 365.25, 730), ("months", 30.44, 61), ("days", 1.0, -math.inf)):
            if abs(days) >= least:
                count = days / size
                shown = self.number(round(count, 1) if name == "years" else round(count))
                return Words(self.lang)(f"look.span.{'day' if name == 'days' and shown == '1' else name}", n=shown)
        return NONE

    def seconds(self, value: Any) -> str:
        """0.8 s, 12 s, 3 min."""
        if not is_number(value):
            return NONE
        words = Words(self.lang)
        if value >= 120:
            return words("look.span.minutes", n=self.number(round(value / 60)))
        if 0 <= value < 0.05:
            return words("look.span.seconds", n="<0.1")
        return words("look.span.seconds", n=self.number(value, 1 if value < 10 else 0))

    def size(self, value: Any) -> str:
        """12 kB, 3.4 MB."""
        if not is_number(value):
            return NONE
        for scale, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if value >= scale:
                return f"{self.number(round(value / scale, 1))} {name}"
        return f"{self.number(value)} B"


def _minus(text: str) -> str:
    return text.replace("-", "−")
