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
from collections.abc import Sequence
from datetime import date
from typing import Any

from huaxiang.errors import DefinitionError
from huaxiang.features.algebra import Feature
from huaxiang.features.live import upkeep
from huaxiang.features.live.finish import Finish
from huaxiang.features.live.layout import SESSION_COLUMNS, Layout, is_session
from huaxiang.features.live.sessions import ID_GAP_US, NO_ID, add_stretch
from huaxiang.features.live.slots import ALL_CODES, CODE, DAY_NO, ID, KNOWN, SESSION, TS, Tile
from huaxiang.features.live.state import State
from huaxiang.features.live.upkeep import cut_key, forget_old, merge_into
from huaxiang.features.live.work import compile_work
from huaxiang.features.plan import Plan

_EPOCH = date(1970, 1, 1)


def why_not_live(feature: Feature) -> str:
    """Why a feature has no exact fold ("": it has one): a key of words/errors.toml."""
    if not feature.agg.live:
        return "features.not_live"
    plan = Plan()
    feature.compile(plan)
    if any(exact.q is not None for exact in plan.exacts):  # of a part of it
        return "features.not_live"
    if any(not is_session(total.measure) for total in plan.totals if total.measure.columns() & SESSION_COLUMNS):
        return "features.session_not_live"
    others = [made.key.columns() for made in plan.keys.values()]
    others += [total.measure.columns() for made in plan.keys.values() for total in made.measures]
    others += [fold.where.columns for fold in plan.days]
    others += [exact.where.columns | exact.value.columns() for exact in plan.exacts]
    return "features.session_not_live" if frozenset[str]().union(*others) & SESSION_COLUMNS else ""


def live_features(features: Sequence[Feature]) -> list[Feature]:
    """Those of `features` that fold exactly."""
    return [feature for feature in features if not why_not_live(feature)]


class Fold:
    """`features` compiled. bounded: whether a state that is only added to keeps no more values of a key than upkeep.KEYS_KEPT to twice that. columns: what an event row holds, in order; raises DefinitionError for one that has no exact fold."""

    def __init__(self, features: Sequence[Feature], *, session_gap_min: int = 30, bounded: bool = True) -> None:
        plan = Plan()
        for feature in features:
            if why := why_not_live(feature):
                raise DefinitionError(why, name=feature.name, definition=feature.text())
            feature.compile(plan)
        self.features = tuple(features)
        said = json.dumps([session_gap_min, *(feature.definition() for feature in features)], sort_keys=True)
        self.plan_hash = int.from_bytes(hashlib.sha256(said.encode()).digest()[:6], "big")
        self._layout = Layout(plan, session_gap_min)
        self.columns = self._layout.columns
        self._for = {code: compile_work(self._layout, code) for code in ALL_CODES}
        self._finish = Finish(self._layout)
        self._bounded_keys = bounded

    # ---- the four things ------------------------------------------------------------------------------------------

    def empty(self) -> State:
        """The state of someone of whom nothing is known."""
        return State(len(self._layout.keys), len(self._layout.days), len(self._layout.latest))

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
        merge_into(self._layout, made, other)
        return made

    def finish(self, state: State, as_of: date, *, registered: date | None = None) -> dict[str, Any]:
        """The values as of the local midnight `as_of`, which must not lie before what the state already knows."""
        return self._finish(state, *self._days_of(state, as_of, registered))

    def figures(self, state: State, as_of: date, *, registered: date | None = None) -> dict[str, Any]:
        """The figures the values are made of, by their column in the plan."""
        return self._finish.figures(state, *self._days_of(state, as_of, registered))

    def bounded(self, state: State) -> list[str]:
        """The features whose value is bounded because the customer met more values of a key than are kept."""
        cut = {alias for number in state.cut for alias in self._layout.keys[number].folds.values()}
        return [name for name, node in self._layout.plan.finals.items() if node.columns() & cut]

    def encode(self, state: State) -> bytes:
        """The state as bytes, without what no window reaches any more."""
        forget_old(self._layout, state)
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
        to, day, known = self._layout, row[DAY_NO], row[KNOWN]
        if known > state.newest:
            state.newest = known
        work = self._for.get(row[CODE], self._for[0])
        if work.whole is not None:
            if not state.whole:
                state.whole = [None] * len(to.slots)
            work.whole.fold(state.whole, row, day)
        if work.tiled is not None and state.newest - day <= to.horizon:
            tile = state.tiles.get(day)
            if tile is None:
                tile = state.tiles[day] = Tile()
            elif type(tile) is dict:  # as it was read
                tile = state.tiles[day] = Tile(tile)
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
                if self._bounded_keys and len(group) > 2 * upkeep.KEYS_KEPT:
                    cut_key(state, number)
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
                    tile = place[day] = Tile()
                elif type(tile) is dict:
                    tile = place[day] = Tile(tile)
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
        if to.session_days:
            session, ts = row[SESSION], row[TS]
            number, gap = (NO_ID, to.gap) if session is None else (_hash(session), ID_GAP_US)
            stretches = state.sessions.get(number)
            if stretches is None:
                stretches = state.sessions[number] = []
            if stretches and stretches[-1][0] == day and 0 <= ts - stretches[-1][2] <= gap:
                stretches[-1][2] = ts
            else:
                add_stretch(stretches, day, ts, ts, gap)


def _keep_latest(held: list[list[Any]], entry: list[Any], most: int) -> None:
    place = 0
    while place < len(held) and held[place][:2] > entry[:2]:
        place += 1
    if place < most:
        held.insert(place, entry)
        del held[most:]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
