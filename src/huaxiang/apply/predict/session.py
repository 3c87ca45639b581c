"""A session as it runs: what is known of it after each event, in one definition for a million finished sessions and for one alive.

Both go through the same numbers: counts so far by kind of event, time spent, items met, prices seen, and what the customer had done
before it began. `Running` folds one event at a time in constant work; `prefixes` does all events of many sessions at once in numpy;
a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from huaxiang.errors import DefinitionError
from huaxiang.features.filters import EVENT_CODES
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix

COUNTED = (
    "view", "list_view", "search", "click", "add_to_cart", "remove_from_cart", "wish", "checkout", "coupon_receive", "coupon_redeem",
    "share", "review", "support", "login", "visit",
)  # fmt: skip
BUY = "purchase"
COLUMNS = (
    *(f"{name}_count" for name in COUNTED), "events", "seconds", "seconds_mean", "seconds_last", "items", "again_count", "price_mean",
    "price_last", "price_max", "last_event", "hour", "weekday", "past_sessions", "past_bought", "past_bought_share", "past_quiet_days",
)  # fmt: skip
CATEGORIES = frozenset({"last_event"})


@dataclass(frozen=True)
class Before:
    """What the customer did before the session: sessions begun, sessions with a purchase, days since the last event (NaN: none)."""

    sessions: int = 0
    bought: int = 0
    quiet_days: float = float("nan")


@dataclass
class Running:
    """The state of one session: a few numbers and the items it met."""

    before: Before = Before()
    counts: dict[str, int] = field(default_factory=dict)
    events: int = 0
    first: datetime | None = None
    last: datetime | None = None
    since_last: float = 0.0
    items: set[str] = field(default_factory=set)
    again: int = 0
    priced: int = 0
    price_sum: float = 0.0
    price_last: float = float("nan")
    price_max: float = float("nan")
    last_event: str = ""
    bought: bool = False

    def add(self, event: str, ts: datetime, *, item_id: str | None = None, price: float | None = None) -> None:
        """Folds one event in. An event older than the last counts, but turns no clock back."""
        self.since_last = 0.0 if self.last is None else max((ts - self.last).total_seconds(), 0.0)
        self.first = ts if self.first is None else self.first
        self.last = ts if self.last is None else max(ts, self.last)
        self.events += 1
        self.counts[event] = self.counts.get(event, 0) + 1
        self.last_event, self.bought = event, self.bought or event == BUY
        if item_id is not None:
            self.again += item_id in self.items
            self.items.add(item_id)
        if price is not None and np.isfinite(price):
            self.priced, self.price_sum, self.price_last = self.priced + 1, self.price_sum + price, float(price)
            self.price_max = price if self.priced == 1 else max(self.price_max, price)

    def row(self) -> Matrix:
        """(1, F) what is known now; times of day as the events carry them."""
        if self.first is None or self.last is None:
            return Matrix(COLUMNS, np.full((1, len(COLUMNS)), np.nan), CATEGORIES)
        seconds, before = (self.last - self.first).total_seconds(), self.before
        values = [
            *(self.counts.get(name, 0) for name in COUNTED),
            self.events,
            seconds,
            seconds / max(self.events - 1, 1),
            self.since_last,
            len(self.items),
            self.again,
            self.price_sum / self.priced if self.priced else np.nan,
            self.price_last,
            self.price_max,
            EVENT_CODES.get(self.last_event, 0),
            self.first.hour,
            self.first.isoweekday(),
            before.sessions,
            before.bought,
            before.bought / before.sessions if before.sessions else np.nan,
            before.quiet_days,
        ]
        return Matrix(COLUMNS, np.array([values], dtype=float), CATEGORIES)


@dataclass(frozen=True)
class Sessions:
    """Events of whole sessions, (E,) each, sorted by session and time.

    session: number of the session, rising from 0; code: EVENT_CODES; second: since 1970; item: number, −1 for none; price NaN where
    unknown; hour, weekday: of the session's first event; before_…: as Before, the same on all events of a session
    """

    session: NDArray[np.int64]
    code: NDArray[np.int64]
    second: Floats
    item: NDArray[np.int64]
    price: Floats
    hour: Floats
    weekday: Floats
    before_sessions: Floats
    before_bought: Floats
    before_quiet_days: Floats

    def __len__(self) -> int:
        return len(self.session)


def prefixes(found: Sessions) -> Matrix:
    """(E, F) what was known of each event's session right after it."""
    starts = np.flatnonzero(np.diff(found.session, prepend=-1))
    begin = np.repeat(starts, np.diff(np.append(starts, len(found))))  # (E,) where each event's session begins

    def so_far(values: Floats) -> Floats:
        total = np.cumsum(values)
        return total - (total - values)[begin]

    first = np.arange(len(found)) == begin
    events = np.arange(len(found)) - begin + 1.0
    seconds = found.second - found.second[begin]
    since = np.where(first, 0.0, np.diff(found.second, prepend=found.second[:1]))
    fresh = _first_of_item(found)
    priced = np.isfinite(found.price)
    price_sum, price_count = so_far(np.where(priced, found.price, 0.0)), so_far(priced.astype(float))
    met = np.maximum.accumulate(np.where(priced, np.arange(len(found)), -1))
    price_last = np.where(met >= begin, found.price[np.maximum(met, 0)], np.nan)
    columns = [
        *(so_far((found.code == EVENT_CODES[name]).astype(float)) for name in COUNTED),
        events,
        seconds,
        seconds / np.maximum(events - 1, 1),
        since,
        so_far(fresh.astype(float)),
        so_far(((found.item >= 0) & ~fresh).astype(float)),
        np.divide(price_sum, price_count, out=np.full(len(found), np.nan), where=price_count > 0),
        price_last,
        _running_max(found.price, begin),
        found.code.astype(float),
        found.hour,
        found.weekday,
        found.before_sessions,
        found.before_bought,
        np.divide(found.before_bought, found.before_sessions, out=np.full(len(found), np.nan), where=found.before_sessions > 0),
        found.before_quiet_days,
    ]  # fmt: skip
    return Matrix(COLUMNS, np.column_stack(columns), CATEGORIES)


def _first_of_item(found: Sessions) -> NDArray[np.bool_]:
    """(E,) whether the event is the first on its item in its session."""
    order = np.lexsort((np.arange(len(found)), found.item, found.session))
    session, item = found.session[order], found.item[order]
    new = (np.diff(session, prepend=-1) != 0) | (np.diff(item, prepend=-2) != 0)
    fresh = np.zeros(len(found), dtype=bool)
    fresh[order] = new & (item >= 0)
    return fresh


def _running_max(values: Floats, begin: NDArray[np.int64]) -> Floats:
    """(E,) the greatest known value of each session so far (NaN: none yet). Doubling steps: log2 of the longest session passes."""
    best = np.where(np.isfinite(values), values, -np.inf)
    place, step = np.arange(len(values)), 1
    while step <= int((place - begin).max(initial=0)):
        reach = place - step >= begin
        best[reach] = np.maximum(best[reach], best[place[reach] - step])
        step *= 2
    return np.where(np.isfinite(best), best, np.nan)


def event_of(given: Mapping[str, Any], zone: str) -> dict[str, Any]:
    """The arguments of `Running.add` from an event with the contract's names; a name of another system is understood.

    zone: the shop's, in which times are told that carry none
    raises: DefinitionError for an event without a name, or without a time
    """
    from huaxiang.tables import event_vocabulary

    name, ts = str(given.get("event") or ""), given.get("ts")
    if not name:
        raise DefinitionError("predict.no_event", have=", ".join(map(str, given)) or "-")
    if isinstance(ts, str):
        try:
            ts = datetime.fromisoformat(ts)
        except ValueError as error:
            raise DefinitionError("predict.no_ts", ts=repr(ts)) from error
    if not isinstance(ts, datetime):
        raise DefinitionError("predict.no_ts", ts=repr(ts))
    return {
        "event": event_vocabulary().get(name.lower(), name),
        "ts": ts.astimezone(ZoneInfo(zone)).replace(tzinfo=None) if ts.tzinfo is not None else ts,
        "item_id": given.get("item_id"),
        "price": given.get("price"),
    }
