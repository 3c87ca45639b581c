"""The features of a shop as a fold: one event in, two states merged, the values finished.

    fold = Fold(features)
    state = fold.empty()
    fold.add(state, row)                      # row: a list, one value for each of fold.columns
    fold.finish(state, as_of)                 # {feature: value} as of a local midnight

What is folded is the plan of the definitions (plan.py), so a feature means here what it means in batch. A state holds the events
known so far; `finish` gives the values a batch build gives at an as-of after the last of them. As-of "now" is the coming
midnight: today counts as a whole day.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from huaxiang.errors import DefinitionError
from huaxiang.features.algebra import Feature
from huaxiang.features.filters import Expression
from huaxiang.features.in_python import Function, to_python
from huaxiang.features.live.finish import Finish
from huaxiang.features.live.sessions import ID_GAP_US, NO_ID, add_stretch, forget
from huaxiang.features.live.slots import (
    ALL_CODES,
    CODE,
    DAY_NO,
    FIXED,
    FOREVER,
    ID,
    KNOWN,
    SESSION,
    TS,
    Action,
    Recipe,
    Slot,
    action,
    make_slots,
    merged,
)
from huaxiang.features.live.state import State
from huaxiang.features.nodes import column, const, settle
from huaxiang.features.plan import KeyPlan, Measure, Plan, Since, measure

FORGET_DAYS = 14
RECENT_DAYS = 2  # an event that comes twice within two days counts once …
RECENT_KEPT = 500  # … as long as no more than so many came between
KEYS_KEPT = 5_000  # values of one key kept of a customer: the latest met; counts over more of them are then bounded
_EPOCH = date(1970, 1, 1)
_SESSION_COLUMNS = {"session_start", "session_gap_s"}


def why_not_live(feature: Feature) -> str:
    """Why a feature has no exact fold ("": it has one): a key of words/errors.toml."""
    if not feature.agg.live:
        return "features.not_live"
    plan = Plan()
    feature.compile(plan)
    if any(not _is_session(total.measure) for total in plan.totals if total.measure.columns() & _SESSION_COLUMNS):
        return "features.session_not_live"
    others = [made.key.columns() for made in plan.keys.values()]
    others += [total.measure.columns() for made in plan.keys.values() for total in made.measures]
    others += [fold.where.columns for fold in plan.days]
    others += [exact.where.columns | exact.value.columns() for exact in plan.exacts]
    return "features.session_not_live" if frozenset[str]().union(*others) & _SESSION_COLUMNS else ""


def live_features(features: Sequence[Feature]) -> list[Feature]:
    """Those of `features` that fold exactly."""
    return [feature for feature in features if not why_not_live(feature)]


class Fold:
    """`features` compiled. columns: what an event row holds, in order; raises DefinitionError for one that has no exact fold."""

    def __init__(self, features: Sequence[Feature], *, session_gap_min: int = 30) -> None:
        plan = Plan()
        for feature in features:
            if why := why_not_live(feature):
                raise DefinitionError(why, name=feature.name, definition=feature.text())
            feature.compile(plan)
        self.features = tuple(features)
        self.gap = session_gap_min * 60_000_000
        said = json.dumps([session_gap_min, *(feature.definition() for feature in features)], sort_keys=True)
        self.plan_hash = int.from_bytes(hashlib.sha256(said.encode()).digest()[:6], "big")
        self._plan = plan
        self._totals = {total: alias for total, alias in plan.totals.items() if not _is_session(total.measure)}
        self._keys = list(plan.keys.values())
        self._days = list(dict.fromkeys(fold.where for fold in plan.days))
        self._latest = list(plan.exacts)
        self._slots = make_slots(self._totals)
        self._key_slots = [make_slots(made.measures) for made in self._keys]
        self._session_days = max(
            (total.window.days + total.window.shift or FOREVER for total in plan.totals if _is_session(total.measure)),
            default=0,
        )
        self.columns = self._read_columns()
        self._place = {name: place for place, name in enumerate(self.columns)}
        self._for = {code: self._compile(code) for code in ALL_CODES}
        self._horizon = max((slot.horizon for slot in self._slots.values()), default=0)
        self._day_horizons = [_day_horizon(where, plan) for where in self._days]
        self._key_horizons = [
            _key_horizon(made, slots) for made, slots in zip(self._keys, self._key_slots, strict=True)
        ]
        self._finish = Finish(
            plan, self._slots, self._keys, self._key_slots, self._days, self._latest, {NO_ID: self.gap}, ID_GAP_US
        )

    # ---- the four things ------------------------------------------------------------------------------------------

    def empty(self) -> State:
        """The state of someone of whom nothing is known."""
        return State(len(self._keys), len(self._days), len(self._latest))

    def add(self, state: State, row: list[Any], *, today: int | None = None) -> bool:
        """Folds one event into `state`; False where it was there already.

        today: the local day now (days since 1970-01-01); an event known only later waits until then. Default: it is known.
        """
        seen, known = _hash(row[ID]), row[KNOWN]
        if seen in state.recent:
            return False
        state.recent[seen] = known
        if today is not None:
            if state.later:
                self.mature(state, today)
            if known > today:
                state.later.append(row)
                return True
        self._fold(state, row)
        return True

    def mature(self, state: State, today: int) -> None:
        """Folds in what waited for `today`."""
        due = [row for row in state.later if row[KNOWN] <= today]
        if due:
            state.later = [row for row in state.later if row[KNOWN] > today]
            for row in due:
                self._fold(state, row)

    def merge(self, one: State, other: State) -> State:
        """The state of what both hold; associative, and equal to folding the events of both. Neither is changed."""
        made = self.decode(self.encode(one))
        _merge_tiles(made.tiles, other.tiles, self._slots)
        if other.whole:
            made.whole = _merge_slots(made.whole or [None] * len(self._slots), other.whole, self._slots)
        for group, more, slots in zip(made.keys, other.keys, self._key_slots, strict=True):
            for key, entry in more.items():
                held = group.get(key)
                group[key] = list(entry) if held is None else _merge_entry(held, entry, slots)
        for days, more_days in zip(made.days, other.days, strict=True):
            days[:] = sorted({*days, *more_days})
        for exact, latest, more_latest in zip(self._latest, made.latest, other.latest, strict=True):
            latest[:] = sorted(latest + more_latest, key=lambda entry: entry[:2], reverse=True)[: exact.n]
        for session, stretches in other.sessions.items():
            held_stretches = made.sessions.setdefault(session, [])
            for day, first, last in stretches:
                add_stretch(held_stretches, day, first, last, self.gap if session == NO_ID else ID_GAP_US)
        made.recent |= other.recent
        made.later += other.later
        made.newest = max(made.newest, other.newest)
        made.cut = sorted({*made.cut, *other.cut})
        return made

    def finish(self, state: State, as_of: date, *, registered: date | None = None) -> dict[str, Any]:
        """The values as of the local midnight `as_of`, which must not lie before what the state already knows."""
        return self._finish(state, *self._days_of(state, as_of, registered))

    def figures(self, state: State, as_of: date, *, registered: date | None = None) -> dict[str, Any]:
        """The figures the values are made of, by their column in the plan."""
        return self._finish.figures(state, *self._days_of(state, as_of, registered))

    def bounded(self, state: State) -> list[str]:
        """The features whose value is bounded because the customer met more values of a key than are kept."""
        cut = {alias for number in state.cut for alias in self._keys[number].folds.values()}
        return [name for name, node in self._plan.finals.items() if node.columns() & cut]

    def encode(self, state: State) -> bytes:
        """The state as bytes, without what no window reaches any more."""
        self._forget(state)
        return state.encode(self.plan_hash)

    def decode(self, content: bytes) -> State:
        return State.decode(content, self.plan_hash)

    def _days_of(self, state: State, as_of: date, registered: date | None) -> tuple[int, int | None]:
        day = (as_of - _EPOCH).days
        if state.later:
            self.mature(state, day - 1)
        if state.newest >= day:
            raise DefinitionError("features.as_of_past", as_of=as_of)
        return day, (registered - _EPOCH).days if registered is not None and registered < as_of else None

    # ---- how ------------------------------------------------------------------------------------------------------

    def _fold(self, state: State, row: list[Any]) -> None:
        day, known = row[DAY_NO], row[KNOWN]
        if known > state.newest:
            state.newest = known
        work = self._for.get(row[CODE], self._for[0])
        if work.whole is not None:
            if not state.whole:
                state.whole = [None] * len(self._slots)
            work.whole.fold(state.whole, row, day)
        if work.tiled is not None and state.newest - day <= self._horizon:
            tile = state.tiles.get(day)
            if tile is None:
                tile = state.tiles[day] = _Tile()
            elif type(tile) is dict:  # as it was read
                tile = state.tiles[day] = _Tile(tile)
            work.tiled.fold(tile, row, day)
        for number, key_of, width, whole, tiled, keep, instead in work.keyed:
            if instead is not None and state.keys[instead]:
                continue
            key = key_of(row)
            if key is None or (keep is not None and not keep(row)):
                continue
            group = state.keys[number]
            entry = group.get(key)
            if entry is None:
                entry = group[key] = [None] * width
                entry[-1] = day
                if len(group) > 2 * KEYS_KEPT:
                    self._cut(state, number)
            elif day > entry[-1]:
                entry[-1] = day
            if whole is not None:
                whole.fold(entry, row, day)
            if tiled is not None:
                place = entry[-2]
                if place is None:
                    place = entry[-2] = {}
                tile = place.get(day)
                if tile is None:
                    tile = place[day] = _Tile()
                elif type(tile) is dict:
                    tile = place[day] = _Tile(tile)
                tiled.fold(tile, row, day)
        for number, keep in work.days:
            if keep is None or keep(row) is True:
                held = state.days[number]
                if not held or day > held[-1]:
                    held.append(day)
                elif held[place := bisect_left(held, day)] != day:
                    held.insert(place, day)
        for number, value, keep, most in work.latest:
            if keep is None or keep(row) is True:
                _keep_latest(state.latest[number], [row[TS], row[ID], value(row), day], most)
        if self._session_days:
            session, ts = row[SESSION], row[TS]
            number, gap = (NO_ID, self.gap) if session is None else (_hash(session), ID_GAP_US)
            stretches = state.sessions.get(number)
            if stretches is None:
                stretches = state.sessions[number] = []
            if stretches and stretches[-1][0] == day and 0 <= ts - stretches[-1][2] <= gap:
                stretches[-1][2] = ts
            else:
                add_stretch(stretches, day, ts, ts, gap)

    def _compile(self, code: int) -> _Work:
        """What an event of `code` does."""
        at = self._place.__getitem__
        whole = Recipe.of(_actions((slot for slot in self._slots.values() if slot.whole), code, at, tiled=False))
        tiled = Recipe.of(_actions((slot for slot in self._slots.values() if slot.horizon), code, at, tiled=True))
        keyed = []
        for number, (made, slots) in enumerate(zip(self._keys, self._key_slots, strict=True)):
            if made.event not in (None, code):
                continue
            actions = _actions((slot for slot in slots.values() if slot.whole), code, at, tiled=False)
            tiles = _actions((slot for slot in slots.values() if slot.horizon), code, at, tiled=True)
            if actions or tiles:
                key = to_python(settle(made.key, {"event_no": code}), at)
                keep = _common_keep((*actions, *tiles))
                entry = (number, key, len(slots) + 2, Recipe.of(actions), Recipe.of(tiles), keep, self._instead(made))
                keyed.append(entry)
        days = [(number, self._keeper(where, code)) for number, where in enumerate(self._days) if _may(where, code)]
        latest = [
            (number, to_python(exact.value, at), self._keeper(exact.where, code), exact.n)
            for number, exact in enumerate(self._latest)
            if _may(exact.where, code)
        ]
        return _Work(whole, tiled, keyed, days, latest)

    def _instead(self, made: KeyPlan) -> int | None:
        """The key plan that answers for this one as soon as it has a value: nobody asks for what they did before they bought."""
        if made.unless is None or made.unless.window.days:
            return None
        found = (number for number, other in enumerate(self._keys) if other.key == made.key and other.unless is None)
        asked = [number for number in found if _reads_just(self._keys[number], made.unless.where)]
        return asked[0] if asked else None

    def _keeper(self, where: Expression, code: int) -> Function | None:
        """The condition left to check of an event of `code` (None: it always holds)."""
        left = None if where.node is None else settle(where.node, {"event_no": code})
        return None if left is None or left == const(True) else to_python(left, self._place.__getitem__)

    def _read_columns(self) -> tuple[str, ...]:
        found = set[str]()
        for slots in (self._slots, *self._key_slots):
            for one in slots:
                found |= one.columns()
        for made in self._keys:
            found |= made.key.columns()
        for where in (*self._days, *(exact.where for exact in self._latest)):
            found |= where.columns
        for exact in self._latest:
            found |= exact.value.columns()
        return (*FIXED, *sorted(found - {*FIXED, "as_of_no", *_SESSION_COLUMNS}))

    def _cut(self, state: State, number: int) -> None:
        """Keeps the KEYS_KEPT values of a key that were met last."""
        group = state.keys[number]
        kept = sorted(group.items(), key=lambda item: (item[1][-1], str(item[0])), reverse=True)[:KEYS_KEPT]
        state.keys[number] = dict(kept)
        if number not in state.cut:
            state.cut.append(number)

    def _forget(self, state: State) -> None:
        """Drops what no window reaches from the newest day on; once in FORGET_DAYS, for it looks at everything."""
        for number, group in enumerate(state.keys):
            if len(group) > KEYS_KEPT:
                self._cut(state, number)
        if len(state.recent) > RECENT_KEPT:
            state.recent = dict(list(state.recent.items())[-RECENT_KEPT:])
        newest = state.newest
        if not state.forgot:
            state.forgot = newest
        if newest - state.forgot < FORGET_DAYS:
            return
        state.forgot = newest
        state.tiles = {day: tile for day, tile in state.tiles.items() if newest - day <= self._horizon}
        for number, (horizon, slots) in enumerate(zip(self._key_horizons, self._key_slots, strict=True)):
            group = state.keys[number]
            if horizon < FOREVER:
                group = {key: entry for key, entry in group.items() if newest - entry[-1] <= horizon}
            reach = max((slot.horizon for slot in slots.values()), default=0)
            for entry in group.values():
                if entry[-2]:
                    entry[-2] = {day: tile for day, tile in entry[-2].items() if newest - day <= reach} or None
            state.keys[number] = group
        for number, reach in enumerate(self._day_horizons):
            state.days[number] = [day for day in state.days[number] if newest - day <= reach]
        state.recent = {seen: known for seen, known in state.recent.items() if newest - known <= RECENT_DAYS}
        if self._session_days < FOREVER:
            for session in list(state.sessions):
                held = state.sessions[session]
                forget(held, newest - self._session_days)
                if session != NO_ID and held[-1][0] < newest - self._session_days - 1:
                    del state.sessions[session]


@dataclass(frozen=True)
class _Work:
    """What an event of one code does to a state."""

    whole: Recipe | None
    tiled: Recipe | None
    keyed: list[tuple[Any, ...]]
    days: list[tuple[int, Any]]
    latest: list[tuple[int, Function, Any, int]]


class _Tile(dict[int, Any]):
    """slot -> partial of one day; None where there is nothing yet."""

    def __missing__(self, slot: int) -> None:
        return None


def _is_session(measure: Measure) -> bool:
    """Whether a measure is one of the two that sessions.py answers: sessions begun, and seconds in them."""
    if measure.event is not None or measure.half_life:
        return False
    begun = measure.how == "count" and measure.value is None and measure.rest == column("session_start")
    return begun or (measure.how == "sum" and measure.rest is None and measure.value == column("session_gap_s"))


def _may(where: Expression, code: int) -> bool:
    """Whether a condition can hold for an event of `code`."""
    return where.node is None or settle(where.node, {"event_no": code}) != const(False)


def _actions(slots: Any, code: int, at: Callable[[str], int], *, tiled: bool) -> tuple[Action, ...]:
    return tuple(found for slot in slots if (found := action(slot, code, at, tiled=tiled)) is not None)


def _common_keep(actions: tuple[Action, ...]) -> Function | None:
    """The condition under which any action does something, where one condition serves all (None: do not ask)."""
    keeps = [one.keep for one in actions]
    if any(keep is None for keep in keeps):
        return None
    found = [keep for keep in keeps if keep is not None]
    return lambda row: any(keep(row) is True for keep in found)


def _day_horizon(where: Expression, plan: Plan) -> int:
    """The days after which a day can be forgotten: a gap's other end may lie anywhere before its window."""
    folds = [fold for fold in plan.days if fold.where == where]
    if any(fold.how in ("mean", "std") for fold in folds):
        return FOREVER
    return max(fold.window.days + fold.window.shift or FOREVER for fold in folds)


def _key_horizon(made: KeyPlan, slots: dict[Measure, Slot]) -> int:
    """The days after which a value of the key that was not met again can be forgotten."""
    days = 0
    for fold in made.folds:
        if isinstance(fold, Since) and fold.days and fold.day.measure.how == "max":
            days = max(days, fold.days)
        else:
            days = max(days, *(total.window.days + total.window.shift or FOREVER for total in fold.totals))
    return days


def _reads_just(made: KeyPlan, where: Expression) -> bool:
    """Whether the measures of a key read exactly the events that `where` keeps, over all history."""
    return all(total.measure == measure("count", where) and not total.window.days for total in made.measures)


def _merge_slots(held: Any, more: Any, slots: dict[Measure, Slot]) -> Any:
    for slot in slots.values():
        place = slot.number
        held[place] = merged(slot.how, slot.measure.half_life, held[place], more[place])
    return held


def _merge_tiles(held: dict[int, Any], more: dict[int, Any], slots: dict[Measure, Slot]) -> None:
    by_number = {slot.number: slot for slot in slots.values()}
    for day, tile in more.items():
        found = held[day] = _Tile(held.get(day) or {})
        for number, partial in tile.items():
            found[number] = merged(by_number[number].how, 0.0, found[number], partial)


def _merge_entry(held: list[Any], more: list[Any], slots: dict[Measure, Slot]) -> list[Any]:
    made = _merge_slots(list(held), more, slots)
    tiles = dict(held[-2] or {})
    _merge_tiles(tiles, more[-2] or {}, slots)
    made[-2] = tiles or None
    made[-1] = max(held[-1], more[-1])
    return list(made)


def _keep_latest(held: list[list[Any]], entry: list[Any], most: int) -> None:
    place = 0
    while place < len(held) and held[place][:2] > entry[:2]:
        place += 1
    if place < most:
        held.insert(place, entry)
        del held[most:]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
