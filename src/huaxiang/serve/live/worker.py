"""The worker: reads the log on, maps its messages, folds the events into the customers' states, makes the profiles of those that changed.

States, links, offset and the list of profiles to be made change in one transaction; a profile, its audiences and what goes out for them
in the next. So a kill at any instant counts nothing twice and forgets nothing. What else a message brings (personal values, quarantine) is
written before, and is the same when it is written again.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path

from huaxiang.errors import HuaxiangError, StoreError
from huaxiang.features.live.ledger import Fact
from huaxiang.features.live.open import SOURCE
from huaxiang.features.live.store import Changed
from huaxiang.serve.live.check import Check, check_live
from huaxiang.serve.live.core import Core, build_mark, open_core
from huaxiang.serve.live.personal import Personal
from huaxiang.serve.live.refresh import BESIDE, BESIDE_S, MOST, Also, Queue
from huaxiang.serve.live.rows import drop_users, now_us, number_of, put_declared, put_stale
from huaxiang.serve.live.to_lake import declared_of
from huaxiang.serve.log import Committer, Entry, Log
from huaxiang.serve.map import SCHEMA, Mapper, Rows, map_entries
from huaxiang.serve.polite import step_back
from huaxiang.serve.sessions import Sessions
from huaxiang.shop import Shop
from huaxiang.store import Database, Writer
from huaxiang.trust import Vault

log = logging.getLogger(__name__)

REST_S = 0.5  # how long it sleeps at most when nothing comes
AGAIN_S = 2.0  # after an error
LOOK_S = 5.0  # how often it looks for a new build
LEAD = 7312  # of the processes on one PostgreSQL one folds; another takes over when it ends
EVENTS = 2_000  # folded in one transaction, about …
EVENTS_BEHIND = 5_000  # … and while more than that wait: the fixed costs are shared


class Worker:
    """Works in a thread of its own, on a shop opened there.

    database: of the states; also: written with the profiles; changed: told whose events are new; opened: called with the shop once a build is
    opened; sessions: what runs now
    """

    def __init__(
        self,
        folder: Path,
        log: Log,
        committer: Committer,
        database: Database,
        mapper: Mapper,
        vault: Vault,
        *,
        also: Also = lambda write, rows: None,
        changed: Callable[[list[str]], None] = lambda users: None,
        opened: Callable[[Shop], None] = lambda shop: None,
        sessions: Sessions | None = None,
    ) -> None:
        self._sessions = sessions or Sessions()
        self._when_opened = opened
        self._folder, self._log, self._committer, self._database = folder, log, committer, database
        self._mapper, self._personal, self._also, self._changed = mapper, Personal(vault), also, changed
        self.queue = Queue()
        self.events = self.refused = self.stuck = self.profiles = 0  # stuck: how often a batch could not be folded
        self.applied = 0
        self.core: Core | None = None
        self.checked: Check | None = None  # live against batch, at the last build
        self.unknown: dict[str, int] = {}
        self.ready = threading.Event()  # the states are there
        self._looked = 0.0
        self._making = 0
        self._behind, self._rounded = False, 0.0
        self._swept: date | None = None  # the day up to which every profile is
        self._erase: list[tuple[str, int, threading.Event]] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="huaxiang-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends after the batch in hand."""
        self._closing.set()
        self._committer.written.set()
        if self._thread.is_alive():
            self._thread.join()

    def lag(self) -> int:
        """Requests that wait to be folded."""
        return max(0, self._log.last() - max(self.applied, 0))

    def waiting(self) -> int:
        """Profiles that wait to be made."""
        return len(self.queue) + self._making

    def want(self, users: Sequence[str]) -> None:
        """Makes the profiles of users next: somebody asks for them."""
        self.queue.hasten(users)
        self._committer.written.set()

    def again(self, users: Sequence[str]) -> None:
        """Makes the profiles of users anew when their turn comes: something else than events changed them."""
        self.queue.add(users, now=time.monotonic())
        self._committer.written.set()

    def upto(self) -> int:
        """The offset up to which the lake may know the log: what is folded; all of it while there are no states."""
        return self.applied if self.ready.is_set() else self._log.last()

    def built(self) -> int:
        """The offset up to which the build knows the log that the states are from: from there on they may have to be made anew."""
        core = self.core
        return core.known if core is not None else 0

    def erased(self) -> dict[str, int]:
        """Who was erased, and when (µs)."""
        return dict(self._database.rows("SELECT user_id, upto FROM erased"))

    def erase(self, user: str, *, upto: int, timeout_s: float = 30.0) -> bool:
        """Forgets a user, in the worker's turn; whether it was done in time."""
        done = threading.Event()
        self._erase.append((user, upto, done))
        self._committer.written.set()
        return done.wait(timeout_s)

    def step(self) -> int:
        """Folds the next requests of the log in, then makes the next profiles; gives how many of both (0: nothing waits)."""
        core = self._opened()
        while self._erase:
            self._forget(core, *self._erase.pop(0))  # where it fails, who asked is told so in time, and asks again
        events = EVENTS_BEHIND if self._behind else EVENTS
        entries = self._log.read(self.applied, most=events, messages=events)
        if entries:
            self._fold(core, entries)
        self._behind = bool(entries) and self.lag() > 0
        done = len(entries)
        if not self._behind or time.monotonic() - self._rounded >= BESIDE_S:
            done += self._make(core, BESIDE if self._behind else MOST)
            self._rounded = time.monotonic()
        return done or self._sweep(core)

    def _run(self) -> None:
        step_back()
        with Shop.open(self._folder) as shop:  # an engine serves one thread
            self._shop = shop
            while not self._closing.is_set():
                self._committer.written.clear()
                try:
                    if not self._leads() or not self._has_build():
                        self._closing.wait(REST_S)
                        continue
                    done = self.step()
                except Exception as error:  # noqa: BLE001 - the thread must outlive it; what is not folded stays in the log, and is tried again
                    if isinstance(error, HuaxiangError):
                        log.error("the worker waits %s s: %s", AGAIN_S, error)
                    else:
                        log.error("the worker waits %s s: %s at %s", AGAIN_S, type(error).__name__, place_of(error))
                    self.stuck += 1
                    self._closing.wait(AGAIN_S)
                    continue
                if not done:
                    wait = self.queue.wait(now=time.monotonic())
                    self._committer.written.wait(REST_S if wait is None else min(wait, REST_S))
            if self.core is not None:
                self.core.live.close()
            with suppress(StoreError):  # a database that is away has let go of it
                self._database.let_lead(LEAD)

    def _leads(self) -> bool:
        """Whether this process folds; what another has written meanwhile is read anew."""
        leads = self._database.lead(LEAD)
        if not leads and self.core is not None:
            self.core = None
            self.ready.clear()
        return leads

    def _has_build(self) -> bool:
        """Whether there is a build to work on; notices a new one."""
        now = time.monotonic()
        if self.core is not None and now - self._looked < LOOK_S:
            return True
        self._looked = now
        mark = build_mark(self._shop)
        if self.core is not None and mark and mark != self.core.build:
            self._check(self.core)
            self.ready.clear()
            self.core = None
        return self.core is not None or bool(mark)

    def _check(self, core: Core) -> None:
        """The states as they have grown against the new build, before they are made anew from it."""
        build = self._shop.lake.note("build")
        if int(build.get("live_offset", 0)) > self.applied:
            return
        try:
            as_of = core.refresher.tomorrow()
            self.checked = check_live(self._shop, core.live, as_of=as_of, seed=as_of.toordinal())
        except HuaxiangError as error:
            log.error("the check of live against batch failed: %s", error)

    def _opened(self) -> Core:
        if self.core is None:
            self.core = open_core(self._shop, self._database, self.queue, also=self._also)
            self._when_opened(self._shop)
            self.applied = max(self.core.live.applied(SOURCE), 0)
            self._swept = None
            self.ready.set()
        return self.core

    def _fold(self, core: Core, entries: Sequence[Entry]) -> None:
        rows = map_entries(self._mapper, entries)
        counts, first = core.live.counts, entries[0].received_at
        heard = [person for person in rows.people if counts(person.user_id, micros(person.received_at))]
        self._personal.keep(heard)
        self._personal.keep_ids(rows.ids.items(), lambda user: counts(user, first))
        if rows.refused:
            with self._log.database.transaction() as write:
                for one in rows.refused:
                    self._log.refuse(write, one.source, one.received_at, "map", one.reason, one.content, one.at)
        offset, now = entries[-1].offset, now_us()
        people = [(person.user_id, person.at, declared_of(person)) for person in heard]
        said = {user for user, _, declared in people if declared}

        def also(write: Writer, changed: Changed) -> None:
            drop_users(write, changed.gone)
            self._also(write, [{"user_id": one, "gone": True} for one in changed.gone])
            put_declared(write, [(user, micros(at), declared) for user, at, declared in people])
            core.live.put_registered(write, core.refresher.registered_of(people))
            put_stale(write, said.union(changed.users), now)

        changed = core.live.take(rows.table(), facts_of(rows), source=SOURCE, offset=offset, also=also)
        self.queue.add(said.union(changed.users), now=time.monotonic())
        self.applied = offset
        self._changed(changed.users)
        self._sessions.add(rows.events, SCHEMA.names)
        self.events += len(rows.events)
        self.refused += len(rows.refused)
        for name, count in rows.unknown.items():
            if name in self.unknown or len(self.unknown) < 1_000:
                self.unknown[name] = self.unknown.get(name, 0) + count

    def _make(self, core: Core, most: int) -> int:
        self._making = most  # never seen as none while some are in hand
        users = self.queue.take(most, now=time.monotonic())
        try:
            made = core.refresher.refresh(users, as_of=core.refresher.tomorrow())
        except BaseException:
            self.queue.add(users, now=time.monotonic() + AGAIN_S)
            raise
        finally:
            self._making = 0
        self.profiles += made
        return len(users)

    def _sweep(self, core: Core) -> int:
        """Where nothing else is to be done: brings profiles of an earlier day up to today; of a shop that never had a live event, none."""
        as_of = core.refresher.tomorrow()
        if not self.applied or self._swept == as_of:
            return 0
        sql = "SELECT user_id FROM profile WHERE as_of < ? LIMIT ?"
        users = [user for (user,) in self._database.rows(sql, (number_of(as_of), BESIDE))]
        if not users:
            self._swept = as_of
        self.profiles += core.refresher.refresh(users, as_of=as_of)
        return len(users)

    def _forget(self, core: Core, user: str, upto: int, done: threading.Event) -> None:
        self._personal.erase(user)  # first: whoever asks again after a kill finds nothing of it left

        def also(write: Writer, changed: Changed) -> None:
            drop_users(write, [*changed.users, *changed.gone])
            self._also(write, [{"user_id": one, "erased": True} for one in (*changed.users, *changed.gone)])

        core.live.erase(user, upto=upto, also=also)
        done.set()


def facts_of(rows: Rows) -> list[Fact]:
    """The links of rows as the live ledger takes them."""
    return [
        Fact(link.anonymous_id, link.user_id, micros(link.at), micros(link.known_at), link.rule) for link in rows.links
    ]


def micros(at: datetime) -> int:
    """µs since 1970 of a time in UTC without zone."""
    return (at - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def place_of(error: BaseException) -> str:
    """Where an unexpected error arose; its values might be personal, so they are not told."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename.rpartition('/')[2]}:{last.lineno}"
