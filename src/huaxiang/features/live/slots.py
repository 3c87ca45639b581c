"""The measures of a plan as slots of a state: how one event is folded in, and how two partials of one slot merge.

    partial     count  sum   min, max  first, last      sum with a half-life
    kept as     n      Σ     value     [ts, id, value]  [score, the day it is as of]

Over all history there is one partial; over windows one for each local day ("tile"), dropped when no window reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.in_python import Function, to_python
from huaxiang.features.nodes import DAY, Node, const, settle
from huaxiang.features.plan import Measure, Total
from huaxiang.features.windows import Window

COUNT, SUM, MIN, MAX, FIRST, LAST, DECAYED = range(7)
_CODES = {"count": COUNT, "sum": SUM, "min": MIN, "max": MAX, "first": FIRST, "last": LAST}
# The first columns of every row.
FIXED = ("event_no", "day_no", "known_no", "ts", "event_id", "session_id")
CODE, DAY_NO, KNOWN, TS, ID, SESSION = range(6)
FOREVER = 1 << 30
ALL_CODES = (0, *EVENT_CODES.values())  # 0: an event of another name


@dataclass(frozen=True)
class Slot:
    """One measure. whole: kept over all history; horizon: days of tiles kept (0: none)."""

    measure: Measure
    number: int
    whole: bool
    horizon: int

    @property
    def how(self) -> int:
        return _CODES[self.measure.how]


@dataclass(frozen=True)
class Action:
    """What an event of one code does to a slot.

    value: what it adds (None: 1); keep: a condition left to check."""

    slot: int
    how: int
    value: Function | None
    keep: Function | None
    half_life: float = 0.0
    day: bool = False
    weight: float | None = None


def make_slots(totals: Iterable[Total]) -> dict[Measure, Slot]:
    windows: dict[Measure, list[Window]] = {}
    for total in totals:
        windows.setdefault(total.measure, []).append(total.window)
    return {
        measure: Slot(
            measure,
            number,
            any(not window.days for window in some),
            max(window.days + window.shift if window.days else 0 for window in some),
        )
        for number, (measure, some) in enumerate(windows.items())
    }


def action(slot: Slot, code: int, at: Callable[[str], int], *, tiled: bool) -> Action | None:
    """What an event of `code` does to the slot (None: nothing)."""
    measure = slot.measure
    keep = None
    if measure.condition is not None:
        left = settle(measure.condition, {"event_no": code})
        if left == const(False):
            return None
        keep = None if left == const(True) else to_python(left, at)
    how = DECAYED if measure.half_life and not tiled else slot.how
    if measure.value is None:
        return Action(slot.number, how, None, keep)
    value = _at_code(measure.value, code)
    weight = value.args[1] if value.op == "const" else None
    return Action(slot.number, how, to_python(value, at), keep, measure.half_life, value == DAY, weight)


def _at_code(value: Node, code: int) -> Node:
    """The value an event of `code` has, where that decides it."""
    if value.op == "weights" and value.args[0].columns() == {"event_no"}:
        return const(dict(value.args[1]).get(code, 0.0))
    return settle(value, {"event_no": code})


@dataclass(frozen=True)
class Recipe:
    """What an event of one code does to the slots of one place, the common cases apart: they are most of the work.

    counts: slots that count it; lasts: slots whose last day it may move; decays: slot, weight and half-life of what it adds
    """

    counts: tuple[int, ...]
    lasts: tuple[int, ...]
    decays: tuple[tuple[int, float, float], ...]
    rest: tuple[Action, ...]

    @classmethod
    def of(cls, actions: Iterable[Action]) -> Recipe | None:
        counts, lasts, decays, rest = [], [], [], []
        for one in actions:
            if one.keep is not None:
                rest.append(one)
            elif one.how == COUNT:
                counts.append(one.slot)
            elif one.how == MAX and one.day:
                lasts.append(one.slot)
            elif one.how == DECAYED and one.weight is not None:
                decays.append((one.slot, one.weight, one.half_life))
            else:
                rest.append(one)
        found = tuple(counts), tuple(lasts), tuple(decays), tuple(rest)
        return cls(*found) if any(found) else None

    def fold(self, place: Any, row: list[Any], day: int) -> None:
        """Folds one event into the partials at `place` (place[slot]; None: nothing yet)."""
        for slot in self.counts:
            held = place[slot]
            place[slot] = 1 if held is None else held + 1
        for slot in self.lasts:
            held = place[slot]
            if held is None or day > held:
                place[slot] = day
        for slot, weight, half_life in self.decays:
            held = place[slot]
            if held is None:
                place[slot] = [weight, day]
            elif day == held[1]:
                held[0] += weight
            elif day > held[1]:
                held[0] = held[0] * 0.5 ** ((day - held[1]) / half_life) + weight
                held[1] = day
            else:
                held[0] += weight * 0.5 ** ((held[1] - day) / half_life)
        for one in self.rest:
            if one.keep is None or one.keep(row) is True:
                _step(place, one, row, day)


def _step(place: Any, one: Action, row: list[Any], day: int) -> None:
    how, slot = one.how, one.slot
    value: Any = 1
    if one.value is not None:
        value = one.value(row)
        if value is None:
            return
    if how == DECAYED:
        value = [value, day]
    elif how >= FIRST:
        value = [row[TS], row[ID], value]
    place[slot] = merged(how if how != DECAYED else SUM, one.half_life, place[slot], value)


class Tile(dict[int, Any]):
    """slot -> partial of one day; None where there is nothing yet."""

    def __missing__(self, slot: int) -> None:
        return None


def merged(slot_how: int, half_life: float, one: Any, other: Any) -> Any:
    """Two partials of one slot put together."""
    if one is None or other is None:
        return other if one is None else one
    if slot_how <= SUM:
        return _decayed(one, other, half_life) if isinstance(one, list) else one + other
    if slot_how == MIN:
        return min(one, other)
    if slot_how == MAX:
        return max(one, other)
    return _picked(slot_how, one, other)


def _decayed(one: list[Any], other: list[Any], half_life: float) -> list[Any]:
    if one[1] < other[1]:
        one, other = other, one
    return [one[0] + other[0] * 0.5 ** ((one[1] - other[1]) / half_life), one[1]]


def _picked(how: int, one: list[Any], other: list[Any]) -> list[Any]:
    return (min if how == FIRST else max)(one, other, key=lambda held: held[:2])
