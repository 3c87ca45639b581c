"""What is made of the values of a key: each fold of a plan as a function of the group, its measures looked up once.

A group is value -> entry: its partials over all history by slot, its tiles, and the newest day it was met (state.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from huaxiang.features.live.slots import FIRST, LAST, Slot, merged
from huaxiang.features.plan import OFF, STEPS, Best, Measure, Met, Over, Shares, Since, Strongest, Total
from huaxiang.features.windows import Window

Group = Mapping[Any, list[Any]]
Of = Callable[[list[Any], int], Any]  # entry, as-of day
Fold = Callable[[Group, int], Any]


def edges(window: Window, as_of: int) -> tuple[int, int]:
    """The first day of the window, and the one after its last."""
    high = as_of - window.shift
    return (high - window.days if window.days else -(1 << 30)), high


def plain(how: int, half_life: float, partial: Any, as_of: int) -> Any:
    """A partial as the number it stands for."""
    if partial is None:
        return None
    if half_life:
        return partial[0] * 0.5 ** ((as_of - partial[1]) / half_life)
    return partial[2] if how in (FIRST, LAST) else partial


def compile_fold(fold: Any, slots: Mapping[Measure, Slot]) -> Fold:
    """The function that gives the fold's value of a group that holds something."""
    match fold:
        case Since():
            return _since(slots[fold.day.measure].number, fold.days)
        case Met():
            count = _compile_of(fold.count, slots)
            return lambda group, as_of: sum(1 for entry in group.values() if (count(entry, as_of) or 0) > 0)
        case Over(only=only) if only is not None:
            return _only(only, _compile_of(fold.total, slots))
        case Over():
            return _over(fold.how, _compile_of(fold.total, slots))
        case Shares():
            return _shares(tuple(fold.places), _compile_of(fold.count, slots))
        case Best():
            return _best(_compile_of(fold.count, slots), _compile_of(fold.last, slots))
        case Strongest():
            return _strongest(fold.k, _compile_of(fold.score, slots))
    raise AssertionError(fold)


def _compile_of(total: Total, slots: Mapping[Measure, Slot]) -> Of:
    """A measure of one value of a key in its window."""
    slot, half_life = slots[total.measure], total.measure.half_life
    number, how, window = slot.number, slot.how, total.window
    if not window.days:
        return lambda entry, as_of: plain(how, half_life, entry[number], as_of)

    def of(entry: list[Any], as_of: int) -> Any:
        tiles = entry[-2]
        if not tiles:
            return None
        low, high = edges(window, as_of)
        found = None
        for day, tile in tiles.items():
            if low <= day < high and (partial := tile.get(number)) is not None:
                weighed = partial * 0.5 ** ((as_of - day) / half_life) if half_life else partial
                found = merged(how, 0.0, found, weighed)
        return found[2] if found is not None and how in (FIRST, LAST) else found

    return of


def _since(number: int, days: int) -> Fold:
    def fold(group: Group, as_of: int) -> int:
        least = as_of - days if days else -(1 << 30)
        return sum(1 for entry in group.values() if entry[number] is not None and entry[number] >= least)

    return fold


def _only(only: Any, of: Of) -> Fold:
    def fold(group: Group, as_of: int) -> Any:
        entry = group.get(only)
        return None if entry is None else of(entry, as_of)

    return fold


def _over(how: str, of: Of) -> Fold:
    def fold(group: Group, as_of: int) -> Any:
        found = [value for entry in group.values() if (value := of(entry, as_of)) is not None]
        if not found:
            return None
        return max(found) if how == "max" else math.fsum(found) / (len(found) if how == "mean" else 1)

    return fold


def _shares(places: tuple[Any, ...], of: Of) -> Fold:
    def fold(group: Group, as_of: int) -> list[float] | None:
        counts = {key: of(entry, as_of) or 0 for key, entry in group.items()}
        whole = sum(counts.values())
        return [counts.get(place, 0) / whole for place in places] if whole else None

    return fold


def _best(count_of: Of, last_of: Of) -> Fold:
    def fold(group: Group, as_of: int) -> Any:
        found = [
            (count, last_of(entry, as_of), key)
            for key, entry in group.items()
            if (count := count_of(entry, as_of) or 0) > 0
        ]
        return max(found)[2] if found else None

    return fold


def _strongest(k: int, of: Of) -> Fold:
    def fold(group: Group, as_of: int) -> list[tuple[float, Any]] | None:
        scores = [(score, key) for key, entry in group.items() if (score := of(entry, as_of) or 0.0) > 0]
        scores.sort(key=lambda found: (math.floor(math.log(found[0]) * STEPS + OFF), found[1]), reverse=True)
        return scores[:k] or None

    return fold
