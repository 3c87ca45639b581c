"""What the behaviour model foresees, kept up with the customer: vector, items likely next, and the vector that predictors read.

These cost more than a profile, so they follow at a distance: a customer's are made anew `pause_s` after the last time at the earliest, in
a thread of their own, and the profile is made again when they are there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from huaxiang.errors import HuaxiangError
from huaxiang.features.live.ledger import Ledger
from huaxiang.features.live.rebuild import only, owned
from huaxiang.features.live.tables import key_of
from huaxiang.features.live.tail import events_of, read_tail
from huaxiang.models.live_history import LiveForesight
from huaxiang.serve.live.refresh import Queue
from huaxiang.serve.live.rows import now_us, put_foreseen, put_stale
from huaxiang.serve.polite import step_back
from huaxiang.shop import Shop
from huaxiang.store import Database

log = logging.getLogger(__name__)

MOST = 64  # customers of one round
AGAIN_S = 30.0  # after an error
LOOK_S = 0.2
SHARE = 4  # it rests so many times as long as it works: a fifth of a core at most


class Foreseer:
    """Works in a thread of its own. pause_s: between two of one customer; busy: whether events wait to be folded, which goes first; done:
    called with customers whose foresight is new"""

    def __init__(
        self,
        folder: Path,
        states: Database,
        *,
        pause_s: float,
        as_of: Callable[[], date],
        done: Callable[[Sequence[str]], None],
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._folder, self._states, self._as_of, self._done, self._busy = folder, states, as_of, done, busy
        self.queue = Queue(pause_s)
        self.made = self.stuck = 0
        self._mark = ""
        self._found: LiveForesight | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="huaxiang-foresight", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends after the round in hand."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def add(self, users: Sequence[str]) -> None:
        """Customers whose state changed."""
        self.queue.add(users, now=time.monotonic())

    def _run(self) -> None:
        step_back()
        with Shop.open(self._folder) as shop:
            rest = LOOK_S
            while not self._closing.wait(rest):
                rest = LOOK_S
                start = time.monotonic()
                try:
                    if self._busy():
                        continue
                    self._step(shop)
                    rest = max(LOOK_S, SHARE * (time.monotonic() - start))
                except Exception as error:  # noqa: BLE001 - the thread must outlive it; profiles stand without
                    self.stuck += 1
                    log.error(
                        "foresight waits %s s: %s",
                        AGAIN_S,
                        error if isinstance(error, HuaxiangError) else type(error).__name__,
                    )
                    self._closing.wait(AGAIN_S)

    def _step(self, shop: Shop) -> None:
        users = self.queue.take(MOST, now=time.monotonic())
        if not users:
            return
        found = self._opened(shop)
        if found is None:
            return
        made = self._make(found, users)
        if not made:
            return
        with self._states.transaction() as write:
            marks = ", ".join("?" * len(made))
            found_now = write.rows(f"SELECT user_id FROM state WHERE key IN ({marks})", [key_of(user) for user in made])
            there = {user for (user,) in found_now}  # not who was erased meanwhile, or became another
            made = {user: foreseen for user, foreseen in made.items() if user in there}
            put_foreseen(write, made)
            put_stale(write, made, now_us())
        self.made += len(made)
        self._done(list(made))

    def _opened(self, shop: Shop) -> LiveForesight | None:
        """The models of the last training; None where there is no behaviour model."""
        mark = str(shop.lake.note("train").get("finished_at", "")) + str(shop.lake.note("build").get("finished_at", ""))
        if mark != self._mark:
            status = shop.lake.note("train").get("behaviour", {}).get("status")
            self._found = (
                LiveForesight(shop.lake, shop.settings, shop.folder / "models") if status == "trained" else None
            )
            self._mark = mark
        return self._found

    def _make(self, found: LiveForesight, users: Sequence[str]) -> dict[str, dict[str, Any]]:
        ledger, as_of = Ledger(self._states), self._as_of()
        owners = sorted({*users, *(visitor for user in users for visitor in ledger.visitors_of(user))})
        tail = only(owned(events_of(read_tail(self._states, owners).values()), ledger), users)
        return found.look(users, tail, as_of)
