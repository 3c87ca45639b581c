"""What an event of one code does to a state, found out once for all events of the code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from huaxiang.features.filters import Expression
from huaxiang.features.in_python import Function, to_python
from huaxiang.features.live.layout import Layout
from huaxiang.features.live.slots import Action, Recipe, Slot, action
from huaxiang.features.nodes import const, settle
from huaxiang.features.plan import KeyPlan, measure


@dataclass(frozen=True)
class Work:
    """keyed: key plan, key, width of its entries, what happens to the whole, to the tile, condition, the plan that answers instead;
    days: list of days, condition; latest: sequence, value, condition, length."""

    whole: Recipe | None
    tiled: Recipe | None
    keyed: list[tuple[Any, ...]]
    days: list[tuple[int, Any]]
    latest: list[tuple[int, Function, Any, int]]


def compile_work(to: Layout, code: int) -> Work:
    """What an event of `code` does."""
    at = to.place.__getitem__
    whole = Recipe.of(_actions((slot for slot in to.slots.values() if slot.whole), code, at, tiled=False))
    tiled = Recipe.of(_actions((slot for slot in to.slots.values() if slot.horizon), code, at, tiled=True))
    keyed = []
    for number, (made, slots) in enumerate(zip(to.keys, to.key_slots, strict=True)):
        if made.event not in (None, code):
            continue
        actions = _actions((slot for slot in slots.values() if slot.whole), code, at, tiled=False)
        tiles = _actions((slot for slot in slots.values() if slot.horizon), code, at, tiled=True)
        if actions or tiles:
            key = to_python(settle(made.key, {"event_no": code}), at)
            keep = _common_keep((*actions, *tiles))
            entry = (number, key, len(slots) + 2, Recipe.of(actions), Recipe.of(tiles), keep, _instead(to, made))
            keyed.append(entry)
    days = [(number, _keeper(to, where, code)) for number, where in enumerate(to.days) if _may(where, code)]
    latest = [
        (number, to_python(exact.value, at), _keeper(to, exact.where, code), exact.n)
        for number, exact in enumerate(to.latest)
        if _may(exact.where, code)
    ]
    return Work(whole, tiled, keyed, days, latest)


def _instead(to: Layout, made: KeyPlan) -> int | None:
    """The key plan that answers for this one as soon as it has a value: nobody asks for what they did before they bought."""
    if made.unless is None or made.unless.window.days:
        return None
    found = (number for number, other in enumerate(to.keys) if other.key == made.key and other.unless is None)
    asked = [number for number in found if _reads_just(to.keys[number], made.unless.where)]
    return asked[0] if asked else None


def _keeper(to: Layout, where: Expression, code: int) -> Function | None:
    """The condition left to check of an event of `code` (None: it always holds)."""
    left = None if where.node is None else settle(where.node, {"event_no": code})
    return None if left is None or left == const(True) else to_python(left, to.place.__getitem__)


def _may(where: Expression, code: int) -> bool:
    """Whether a condition can hold for an event of `code`."""
    return where.node is None or settle(where.node, {"event_no": code}) != const(False)


def _actions(slots: Iterable[Slot], code: int, at: Callable[[str], int], *, tiled: bool) -> tuple[Action, ...]:
    return tuple(found for slot in slots if (found := action(slot, code, at, tiled=tiled)) is not None)


def _common_keep(actions: tuple[Action, ...]) -> Function | None:
    """The condition under which any action does something, where one condition serves all (None: do not ask)."""
    keeps = [one.keep for one in actions]
    if any(keep is None for keep in keeps):
        return None
    found = [keep for keep in keeps if keep is not None]
    return lambda row: any(keep(row) is True for keep in found)


def _reads_just(made: KeyPlan, where: Expression) -> bool:
    """Whether the measures of a key read exactly the events that `where` keeps, over all history."""
    return all(total.measure == measure("count", where) and not total.window.days for total in made.measures)
