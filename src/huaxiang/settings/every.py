"""How often something is done anew: after_run, by_hand, or an interval such as 15min, 6h, 1d, 2w."""

from __future__ import annotations

import difflib
import re
from datetime import timedelta

AFTER_RUN, BY_HAND = "after_run", "by_hand"
_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_INTERVAL = re.compile(r"([1-9]\d{0,3})(min|h|d|w)")
_WORDS = {AFTER_RUN: AFTER_RUN, BY_HAND: BY_HAND, "hourly": "1h", "daily": "1d", "nightly": "1d", "weekly": "1w"}
_GIVEN = re.compile(r"(\d*)\s*([a-z]+)")


def tidy_every(text: str) -> str:
    """As it is written in huaxiang.toml: "by hand" is by_hand, "6 h" is 6h."""
    plain = " ".join(text.strip().lower().split())
    words = plain.replace(" ", "_").replace("-", "_")
    return words if words in (AFTER_RUN, BY_HAND) else plain.replace(" ", "")


def interval_of(text: str) -> timedelta | None:
    """The time between two refreshes; None of after_run and by_hand. Raises ValueError for what is neither."""
    if text in (AFTER_RUN, BY_HAND):
        return None
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return int(found[1]) * _UNITS[found[2]]


def nearest_every(text: str) -> str:
    """What was likely meant by a text that `interval_of` refuses."""
    plain = tidy_every(text)
    given = _GIVEN.fullmatch(plain)
    if given is not None and given[1]:
        unit = next((unit for unit in _UNITS if unit[0] == given[2][0]), "d")
        return f"{min(max(int(given[1]), 1), 9999)}{unit}"
    if plain.isdigit() and 0 < int(plain) <= 9999:
        return f"{int(plain)}d"
    near = difflib.get_close_matches(plain, _WORDS, n=1, cutoff=0.5)
    return _WORDS[near[0]] if near else AFTER_RUN
