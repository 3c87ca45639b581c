"""What customers do right now: the events of their running sessions, in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

GAP = timedelta(minutes=30)  # the quiet after which a session is over, as the build cuts them
MOST_EVENTS = 200  # of one session, the last ones
MOST_USERS = 50_000


@dataclass(slots=True)
class Event:
    event_id: str
    event: str
    ts: datetime  # UTC, without a zone
    item_id: str | None = None
    price: float | None = None
    order_id: str | None = None
    session_id: str | None = None


@dataclass(slots=True)
class _Session:
    events: list[Event] = field(default_factory=list)


class Sessions:
    """The last session of each customer who did something lately. May be used from several threads.

    It is memory alone: after a restart it knows a session from its next event on.
    """

    def __init__(self, *, users: int = MOST_USERS) -> None:
        self._most = users
        self._lock = threading.Lock()
        self._held: OrderedDict[str, _Session] = OrderedDict()

    def add(self, rows: Iterable[Sequence[Any]], names: Sequence[str]) -> None:
        """Takes in events that were folded. rows: tuples; names: of their columns, as the table `events` calls them"""
        at = {name: place for place, name in enumerate(names)}
        with self._lock:
            for row in rows:
                user = row[at["user_id"]] or row[at["anonymous_id"]]
                if user:
                    told = (
                        row[at[name]]
                        for name in ("event_id", "event", "ts", "item_id", "price", "order_id", "session_id")
                    )
                    self._add(user, Event(*told))

    def of(self, user: str, *, now: datetime) -> list[Event]:
        """The events of the session that runs `now` (UTC), oldest first ([]: none does)."""
        with self._lock:
            found = self._held.get(user)
            events = list(found.events) if found is not None else []
        return events if events and now - events[-1].ts < GAP else []

    def _add(self, user: str, event: Event) -> None:
        session = self._held.setdefault(user, _Session())
        self._held.move_to_end(user)
        events = session.events
        if events and event.ts - events[-1].ts >= GAP:
            events.clear()
        if not any(one.event_id == event.event_id for one in events[-MOST_EVENTS:]):
            place = next((n + 1 for n in range(len(events) - 1, -1, -1) if events[n].ts <= event.ts), 0)
            events.insert(place, event)
            del events[:-MOST_EVENTS]
        while len(self._held) > self._most:
            self._held.popitem(last=False)
