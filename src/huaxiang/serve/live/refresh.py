"""States that changed → profiles: the features finished as of the coming midnight, the rest as the last build knew it.

The profiles of a moment are made together: the fixed cost of a query is shared. Who changed again and again is made anew once a
`pause` at most; whoever is asked for goes first.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from huaxiang.features.live.store import LiveStore
from huaxiang.features.live.tables import key_of
from huaxiang.profile.live import LiveRows
from huaxiang.serve.live.rows import PROFILE, now_us, number_of, pack_profile, read_kept
from huaxiang.store import Writer

MOST = 500  # profiles of one round
BESIDE = 250  # of one round while events wait to be folded …
BESIDE_S = 0.5  # … and how often there is one: a round costs 40 ms before the first profile
PAUSE_S = 0.4  # a profile is visible within a second: this, a round, and some room

Also = Callable[[Writer, Sequence[Mapping[str, Any]]], object]


class Queue:
    """Whose profile is to be made: those asked for first, then in the order of their change. May be used from several threads."""

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self._pause = pause_s
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._made: dict[str, float] = {}
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, user: str) -> bool:
        return user in self._due

    def add(self, users: Iterable[str], *, now: float) -> None:
        """Users whose state changed."""
        with self._guard:
            for user in users:
                if user not in self._due:
                    self._put(user, max(now, self._made.get(user, 0.0) + self._pause))

    def hasten(self, users: Iterable[str]) -> None:
        """Users that somebody waits for."""
        with self._guard:
            for user in users:
                self._put(user, 0.0)

    def take(self, most: int, *, now: float) -> list[str]:
        """The next users that are due, taken out."""
        found = list[str]()
        with self._guard:
            while self._heap and len(found) < most and self._heap[0][0] <= now:
                due, user = heapq.heappop(self._heap)
                if self._due.get(user) == due:
                    del self._due[user]
                    self._made[user] = now
                    found.append(user)
            if len(self._made) > 4 * most and len(self._made) > 10_000:
                self._made = {user: at for user, at in self._made.items() if now - at < self._pause}
        return found

    def wait(self, *, now: float) -> float | None:
        """Seconds until the next is due (None: nobody waits)."""
        with self._guard:
            return max(0.0, self._heap[0][0] - now) if self._heap else None

    def _put(self, user: str, due: float) -> None:
        self._due[user] = due
        heapq.heappush(self._heap, (due, user))


class Refresher:
    """Makes the profiles of users whose state changed. also: writes more in the same transaction (audiences)"""

    def __init__(self, live: LiveStore, rows: LiveRows, zone: str, *, also: Also = lambda write, rows: None) -> None:
        self._live, self._rows, self._zone, self._also = live, rows, ZoneInfo(zone), also
        self.made = 0
        self._at = int(live.database.rows("SELECT coalesce(max(at), 0) FROM profile")[0][0])

    def tomorrow(self, now: datetime | None = None) -> date:
        """The local midnight that profiles are as of: today counts as a whole day."""
        return (now or datetime.now(self._zone)).astimezone(self._zone).date() + timedelta(days=1)

    def registered_of(self, people: Iterable[tuple[str, datetime, Mapping[str, Any]]]) -> list[tuple[str, date]]:
        """The local day on which people say they registered. people: user, when they said it, what they declared"""
        said = {user: declared["registered_at"] for user, _, declared in people if "registered_at" in declared}
        return [(user, at.replace(tzinfo=UTC).astimezone(self._zone).date()) for user, at in said.items()]

    def make(self, users: Sequence[str], *, as_of: date) -> list[dict[str, Any]]:
        """The rows of `profiles` of users, as of a local midnight; nothing is written."""
        states = self._live.states(users)
        known = {user: state for user, state in states.items() if state.newest or state.later}
        registered = self._live.registered(users)
        kept = read_kept(self._live.database, users, self._rows.kept)
        finish = self._live.fold.finish
        day = number_of(as_of)
        rows = []
        for user in users:
            row: dict[str, Any] = {"user_id": user, **kept[user]}
            if user in known:
                at = max(day, known[user].newest + 1)  # an event dated ahead of the clock
                row |= finish(known[user], date(1970, 1, 1) + timedelta(days=at), registered=registered.get(user))
            elif not kept[user]:
                continue
            rows.append(row)
        return self._rows.finish(rows, as_of) if rows else []

    def refresh(self, users: Sequence[str], *, as_of: date) -> int:
        """Makes profiles and writes them, all in one transaction; gives how many."""
        if not users:
            return 0
        rows = self.make(users, as_of=as_of)
        at = self._at = max(now_us(), self._at + 1)  # rising, whatever the clock does: readers ask for what came after
        packed = sorted((pack_profile(row, number_of(as_of), at) for row in rows), key=lambda one: one[0])
        with self._live.database.transaction() as write:
            write.run_many(PROFILE, packed)
            write.run_many("DELETE FROM stale WHERE key = ?", [(key_of(user),) for user in users])
            self._also(write, rows)
        self.made += len(rows)
        return len(rows)
