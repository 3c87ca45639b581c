"""Masks for free text: e-mail addresses, phone numbers and Chinese identity numbers.

The patterns avoid look-around, so that DuckDB (RE2) and Python's `re` read them alike.
"""

from __future__ import annotations

import re

_DATE = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"

# In this order: an identity number holds what would pass for a phone number.
MASKS: tuple[tuple[str, str], ...] = (
    (r"[A-Za-z0-9._%+\-]+\s?[@＠]\s?[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}", "[email]"),
    (rf"\b[1-9]\d{{5}}(?:18|19|20)\d{{2}}{_DATE}\d{{3}}[\dXx]\b", "[id]"),
    (rf"\b[1-9]\d{{5}}\d{{2}}{_DATE}\d{{3}}\b", "[id]"),
    (r"(?:\+?\b(?:00)?86[\s\-.]*1|\b1)[3-9](?:[\s\-.]?\d){9}\b", "[phone]"),
    (r"\+\d{1,3}(?:[\s\-.()]{0,2}\d){7,12}\b", "[phone]"),
    (r"\(?\b0\d{2,3}\)?[\s\-]\d{7,8}\b", "[phone]"),
    (r"\(0\d{2,3}\)\d{7,8}\b", "[phone]"),
    (r"\(?\b0?\d{3}\)?[\s\-.]\d{3}[\s\-.]\d{4}\b", "[phone]"),
    (r"\b0\d{2,4}\s\d{3,4}\s?\d{3,4}\b", "[phone]"),
)
_COMPILED = tuple((re.compile(pattern, re.ASCII), mask) for pattern, mask in MASKS)

# What a value may hold beside digits and signs and still be shown as it is: words of dates, units and absence.
_WORDS = (
    "jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec|january|february|march|april|june|july|august|september|october|"
    "november|december|mon|tue|wed|thu|fri|sat|sun|am|pm|utc|gmt|cst|t|z|e|x|usd|cny|rmb|eur|gbp|pcs|pc|kg|g|ml|l|"
    "n/a|na|nan|inf|none|null|unknown|missing|tbd|free|true|false|yes|no|error"
)
_ZH_WORDS = "元|个|件|年|月|日|号|时|点|分|秒|上午|下午|未知|无|空|免费|赠品"
PLAIN_TEXT = rf"(?i)(?:[\d\s.,:;/+\-()¥￥$€£%#*_?=\[\]]|\b(?:{_WORDS})\b|\d(?:t|e|z|am|pm)|t\d|{_ZH_WORDS}|\[(?:email|phone|id)\])*"


def mask_text(text: str) -> str:
    """`text` with e-mail addresses, phone numbers and identity numbers masked."""
    for pattern, mask in _COMPILED:
        text = pattern.sub(mask, text)
    return text


def mask_sql(sql: str) -> str:
    """The SQL twin of `mask_text`."""
    masked = sql
    for pattern, mask in MASKS:
        masked = f"regexp_replace({masked}, {_literal(pattern)}, {_literal(mask)}, 'g')"
    return f"CASE WHEN regexp_matches({sql}, '[@＠]|[0-9]{{3}}') THEN {masked} ELSE {sql} END"


def mask_value(text: str) -> str:
    """A value that did not fit its column, safe to show: letters that could be a name or an address become `x`."""
    masked = mask_text(text)
    return masked if re.fullmatch(PLAIN_TEXT, masked) else re.sub(r"[^\W\d_]", "x", masked)


def mask_value_sql(sql: str) -> str:
    """The SQL twin of `mask_value`."""
    masked = mask_sql(sql)
    return (
        f"CASE WHEN regexp_full_match({masked}, {_literal(PLAIN_TEXT)}) THEN {masked} "
        f"ELSE regexp_replace({masked}, '\\pL', 'x', 'g') END"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
