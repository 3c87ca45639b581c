"""What a category's purchases cost on average before a day, kept up to date purchase by purchase."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class _Category:
    days: list[int] = field(default_factory=list)
    totals: dict[int, tuple[float, int]] = field(default_factory=dict)
    before: dict[int, float | None] = field(default_factory=dict)


class Prices:
    """Daily sums of the prices paid in each category, by the local day on which a purchase was known."""

    def __init__(self, known: Iterable[tuple[str, int, float, int]] = ()) -> None:
        """known: (category, day, total, n) of the past."""
        self._held: dict[str, _Category] = {}
        self._changed: set[tuple[str, int]] = set()
        self.replace(known)

    def replace(self, known: Iterable[tuple[str, int, float, int]]) -> None:
        """Forgets everything for `known`."""
        self._held.clear()
        self._changed.clear()
        for category, day, total, n in known:
            self._add(category, day, total, n)

    def add(self, category: str, known_day: int, price: float) -> None:
        """One purchase."""
        self._add(category, known_day, price, 1)
        self._changed.add((category, known_day))

    def mean(self, category: str, day: int) -> float | None:
        """The mean price of the category's purchases that were known before the local `day`."""
        held = self._held.get(category)
        if held is None:
            return None
        if day not in held.before:
            some = [held.totals[known] for known in held.days[: bisect_left(held.days, day)]]
            count = sum(n for _, n in some)
            held.before[day] = sum(total for total, _ in some) / count if count else None
        return held.before[day]

    def changed(self) -> list[tuple[str, int, float, int]]:
        """(category, day, total, n) of what changed since the last call."""
        found = [(category, day, *self._held[category].totals[day]) for category, day in sorted(self._changed)]
        self._changed.clear()
        return found

    def _add(self, category: str, day: int, total: float, n: int) -> None:
        held = self._held.setdefault(category, _Category())
        if day in held.totals:
            held.totals[day] = (held.totals[day][0] + total, held.totals[day][1] + n)
        else:
            insort(held.days, day)
            held.totals[day] = (total, n)
        if held.before:
            held.before = {asked: mean for asked, mean in held.before.items() if asked <= day}
