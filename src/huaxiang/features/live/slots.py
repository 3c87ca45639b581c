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
from huaxiang.features.nodes import Node, const, settle
from huaxiang.features.plan import Measure, Total
from huaxiang.features.windows import Window

COUNT, SUM, MIN, MAX, FIRST, LAST, DECAYED = range(7)
_CODES = {"count": COUNT, "sum": SUM, "min": MIN, "max": MAX, "first": FIRST, "last": LAST}
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
    """What an event of one code does to a slot. value: what it adds (None: 1); keep: a condition left to check."""

    slot: int
    how: int
    value: Function | None
    keep: Function | None
    half_life: float = 0.0


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
    value = None if measure.value is None else to_python(_at_code(measure.value, code), at)
    return Action(slot.number, how, value, keep, measure.half_life)


def _at_code(value: Node, code: int) -> Node:
    """The value an event of `code` has, where that decides it."""
    if value.op == "weights" and value.args[0].columns() == {"event_no"}:
        return const(dict(value.args[1]).get(code, 0.0))
    return settle(value, {"event_no": code})


def step(place: Any, actions: Iterable[Action], row: list[Any], at: Any, day: int, times: tuple[int, int]) -> None:
    """Folds one event into partials that lie at `place[slot]` (at None), or in the tile `place[slot][at]`.

    times: the places of ts and event_id in the row
    """
    for one in actions:
        if one.keep is not None and one.keep(row) is not True:
            continue
        how, value = one.how, 1
        if one.value is not None:
            value = one.value(row)
            if value is None:
                continue
        target, key = place, one.slot
        if at is not None:
            target = place[key]
            if target is None:
                target = place[key] = {}
            key = at
        held = target.get(key) if type(target) is dict else target[key]
        if how <= SUM:
            target[key] = value if held is None else held + value
        elif held is None:
            if how >= FIRST:
                value = [value, day] if how == DECAYED else [row[times[0]], row[times[1]], value]
            target[key] = value
        elif how == MAX:
            if value > held:
                target[key] = value
        elif how == MIN:
            if value < held:
                target[key] = value
        elif how == DECAYED:
            target[key] = _decayed(held, [value, day], one.half_life)
        else:
            target[key] = _picked(how, held, [row[times[0]], row[times[1]], value])


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
