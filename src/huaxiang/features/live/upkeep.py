"""States kept in order: two merged, and what no window reaches any more dropped."""

from __future__ import annotations

from typing import Any

from huaxiang.features.live.layout import Layout
from huaxiang.features.live.sessions import ID_GAP_US, NO_ID, add_stretch, forget
from huaxiang.features.live.slots import FOREVER, Slot, Tile, merged
from huaxiang.features.live.state import State
from huaxiang.features.plan import Measure

FORGET_DAYS = 14
RECENT_DAYS = 2  # an event that comes twice within two days counts once …
RECENT_KEPT = 500  # … as long as no more than so many came between
KEYS_KEPT = 5_000  # values of one key kept of a customer: the latest met; counts over more of them are then bounded


def merge_into(to: Layout, made: State, other: State) -> None:
    """Adds what `other` holds to `made`; they are of different events."""
    _merge_tiles(made.tiles, other.tiles, to.slots)
    if other.whole:
        made.whole = _merge_slots(made.whole or [None] * len(to.slots), other.whole, to.slots)
    for group, more, slots in zip(made.keys, other.keys, to.key_slots, strict=True):
        for key, entry in more.items():
            held = group.get(key)
            group[key] = list(entry) if held is None else _merge_entry(held, entry, slots)
    for days, more_days in zip(made.days, other.days, strict=True):
        days[:] = sorted({*days, *more_days})
    for exact, latest, more_latest in zip(to.latest, made.latest, other.latest, strict=True):
        latest[:] = sorted(latest + more_latest, key=lambda entry: entry[:2], reverse=True)[: exact.n]
    for session, stretches in other.sessions.items():
        held_stretches = made.sessions.setdefault(session, [])
        for day, first, last in stretches:
            add_stretch(held_stretches, day, first, last, to.gap if session == NO_ID else ID_GAP_US)
    made.recent |= other.recent
    made.later += other.later
    made.newest = max(made.newest, other.newest)
    made.cut = sorted({*made.cut, *other.cut})


def cut_key(state: State, number: int) -> None:
    """Keeps the KEYS_KEPT values of a key that were met last."""
    group = state.keys[number]
    kept = sorted(group.items(), key=lambda item: (item[1][-1], str(item[0])), reverse=True)[:KEYS_KEPT]
    state.keys[number] = dict(kept)
    if number not in state.cut:
        state.cut.append(number)


def forget_old(to: Layout, state: State) -> None:
    """Drops what no window reaches from the newest day on; once in FORGET_DAYS, for it looks at everything."""
    for number, group in enumerate(state.keys):
        if len(group) > KEYS_KEPT:
            cut_key(state, number)
    if len(state.recent) > RECENT_KEPT:
        state.recent = dict(list(state.recent.items())[-RECENT_KEPT:])
    newest = state.newest
    if not state.forgot:
        state.forgot = newest
    if newest - state.forgot < FORGET_DAYS:
        return
    state.forgot = newest
    state.tiles = {day: tile for day, tile in state.tiles.items() if newest - day <= to.horizon}
    for number, (horizon, slots) in enumerate(zip(to.key_horizons, to.key_slots, strict=True)):
        group = state.keys[number]
        if horizon < FOREVER:
            group = {key: entry for key, entry in group.items() if newest - entry[-1] <= horizon}
        reach = max((slot.horizon for slot in slots.values()), default=0)
        for entry in group.values():
            if entry[-2]:
                entry[-2] = {day: tile for day, tile in entry[-2].items() if newest - day <= reach} or None
        state.keys[number] = group
    for number, reach in enumerate(to.day_horizons):
        state.days[number] = [day for day in state.days[number] if newest - day <= reach]
    state.recent = {seen: known for seen, known in state.recent.items() if newest - known <= RECENT_DAYS}
    if to.session_days < FOREVER:
        for session in list(state.sessions):
            held = state.sessions[session]
            forget(held, newest - to.session_days)
            if session != NO_ID and held[-1][0] < newest - to.session_days - 1:
                del state.sessions[session]


def _merge_slots(held: Any, more: Any, slots: dict[Measure, Slot]) -> Any:
    for slot in slots.values():
        place = slot.number
        held[place] = merged(slot.how, slot.measure.half_life, held[place], more[place])
    return held


def _merge_tiles(held: dict[int, Any], more: dict[int, Any], slots: dict[Measure, Slot]) -> None:
    by_number = {slot.number: slot for slot in slots.values()}
    for day, tile in more.items():
        found = held[day] = Tile(held.get(day) or {})
        for number, partial in tile.items():
            found[number] = merged(by_number[number].how, 0.0, found[number], partial)


def _merge_entry(held: list[Any], more: list[Any], slots: dict[Measure, Slot]) -> list[Any]:
    made = _merge_slots(list(held), more, slots)
    tiles = dict(held[-2] or {})
    _merge_tiles(tiles, more[-2] or {}, slots)
    made[-2] = tiles or None
    made[-1] = max(held[-1], more[-1])
    return list(made)
