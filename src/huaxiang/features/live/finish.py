"""The values of a state as of a day: tiles put together by window, keys folded, and every feature finished."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean
from typing import Any

from huaxiang.features.in_python import to_python
from huaxiang.features.live.folds import compile_fold, edges, plain
from huaxiang.features.live.layout import Layout
from huaxiang.features.live.sessions import ID_GAP_US, NO_ID, begun
from huaxiang.features.live.slots import FIRST, LAST, merged
from huaxiang.features.live.state import State
from huaxiang.features.nodes import column
from huaxiang.features.plan import DayFold, Exact
from huaxiang.features.windows import Window

_START = column("session_start")


class Finish:
    """Called with a state, the as-of day and the day of registration (or None); gives the values by feature."""

    def __init__(self, to: Layout) -> None:
        plan, slots, days, latest = to.plan, to.slots, to.days, to.latest
        names = [*plan.totals.values(), *plan.days.values(), *plan.exacts.values()]
        names += [alias for made in to.keys for alias in made.folds.values()]
        self._place = {name: place for place, name in enumerate(["as_of_no", "registered_no", *names])}
        self._finals = [(name, to_python(node, self._place.__getitem__)) for name, node in plan.finals.items()]
        self._keys = [
            [(self._place[alias], compile_fold(fold, slots)) for fold, alias in made.folds.items()]
            for made, slots in zip(to.keys, to.key_slots, strict=True)
        ]
        self._sessions = [
            (total, self._place[alias]) for total, alias in plan.totals.items() if total.measure not in slots
        ]
        self._whole: list[tuple[int, int, float, int]] = []
        self._tiled: dict[int, list[tuple[Window, int, int, float]]] = {}
        for total, alias in plan.totals.items():
            slot = slots.get(total.measure)
            if slot is None:
                continue
            if total.window.days:
                entry = (total.window, self._place[alias], slot.how, total.measure.half_life)
                self._tiled.setdefault(slot.number, []).append(entry)
            else:
                self._whole.append((slot.number, slot.how, total.measure.half_life, self._place[alias]))
        self._days = [(fold, days.index(fold.where), self._place[alias]) for fold, alias in plan.days.items()]
        self._latest = [(number, exact, self._place[plan.exacts[exact]]) for number, exact in enumerate(latest)]
        self._gap = to.gap

    def __call__(self, state: State, as_of: int, registered: int | None) -> dict[str, Any]:
        values = self._figures(state, as_of, registered)
        return {name: _number(finish(values)) for name, finish in self._finals}

    def figures(self, state: State, as_of: int, registered: int | None) -> dict[str, Any]:
        """The value of each column of the plan."""
        return dict(zip(self._place, self._figures(state, as_of, registered), strict=True))

    def _figures(self, state: State, as_of: int, registered: int | None) -> list[Any]:
        values: list[Any] = [None] * len(self._place)
        values[0], values[1] = as_of, registered
        if state.whole:
            for number, how, half_life, place in self._whole:
                values[place] = plain(how, half_life, state.whole[number], as_of)
        self._put_tiles(state, as_of, values)
        for folds, group in zip(self._keys, state.keys, strict=True):
            if group:
                for place, fold in folds:
                    values[place] = fold(group, as_of)
        for day_fold, number, place in self._days:
            values[place] = _of_days(day_fold, state.days[number], as_of)
        for number, exact, place in self._latest:
            values[place] = _newest(exact, state.latest[number], as_of)
        self._put_sessions(state, as_of, values)
        return values

    def _put_tiles(self, state: State, as_of: int, values: list[Any]) -> None:
        tiled = self._tiled
        ends: list[tuple[int, int]] = []
        for day in sorted(state.tiles):
            age = as_of - day
            for number, partial in state.tiles[day].items():
                for window, place, how, half_life in tiled[number]:
                    if window.shift < age <= window.shift + window.days:
                        weighed = partial * 0.5 ** (age / half_life) if half_life else partial
                        values[place] = merged(how, 0.0, values[place], weighed)
                        if how in (FIRST, LAST):
                            ends.append((place, how))
        for place, _ in dict.fromkeys(ends):
            values[place] = values[place][2]

    def _put_sessions(self, state: State, as_of: int, values: list[Any]) -> None:
        if not self._sessions:
            return
        stretches = [
            stretch
            for session, held in state.sessions.items()
            for stretch in begun(held, self._gap if session == NO_ID else ID_GAP_US)
        ]
        for total, place in self._sessions:
            low, high = edges(total.window, as_of)
            inside = [stretch for stretch in stretches if low <= stretch[0] < high]
            if inside:
                starts = total.measure.rest == _START
                values[place] = sum(one[1] for one in inside) if starts else sum(one[2] for one in inside) / 1e6


def _of_days(fold: DayFold, days: list[int], as_of: int) -> float | None:
    low, high = edges(fold.window, as_of)
    if fold.how == "count":
        return float(sum(1 for day in days if low <= day < high)) if days else None
    if fold.how in ("mean", "std"):
        gaps = [after - before for before, after in pairwise(days) if low <= after < high]
        if fold.how == "mean":
            return fmean(gaps) if gaps else None
        if len(gaps) < 2:
            return None
        mean = fmean(gaps)
        return math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1))
    runs: list[list[int]] = []
    for day in days:
        if low <= day < high:
            if runs and runs[-1][1] == day - 1:
                runs[-1][1] = day
            else:
                runs.append([day, day])
    if fold.how == "current":
        runs = [run for run in runs if run[1] == as_of - 1]
    return float(max(last - first + 1 for first, last in runs)) if runs else None


def _newest(exact: Exact, held: list[list[Any]], as_of: int) -> list[Any] | None:
    low, _ = edges(exact.window, as_of)
    return [value for day, value in ((entry[3], entry[2]) for entry in held) if day >= low] or None


def _number(value: Any) -> Any:
    """Numbers as floats, as batch stores them."""
    return float(value) if isinstance(value, int) else value
