"""The worker: reads the log on, maps its messages, folds the events into the customers' states.

State and offset change in one transaction (features/live/store.py), so a kill at any instant counts nothing twice; what else a
message brings (personal values, quarantine) is written before, and is the same when it is written again.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Sequence

from huaxiang.errors import HuaxiangError
from huaxiang.features.live.store import LiveStore
from huaxiang.serve.log import Committer, Entry, Log
from huaxiang.serve.map import SCHEMA, Mapper, Person, Rows
from huaxiang.serve.sessions import Sessions
from huaxiang.serve.wire.message import read_batch
from huaxiang.trust import Vault

log = logging.getLogger(__name__)

SOURCE = "log"
REST_S = 0.5  # how long it sleeps at most when nothing comes
AGAIN_S = 2.0  # after an error


class Worker:
    """Folds in a thread of its own. lock: held while states are written; who reads states takes it too."""

    def __init__(
        self, log: Log, committer: Committer, live: LiveStore, mapper: Mapper, vault: Vault, sessions: Sessions
    ) -> None:
        self._sessions = sessions
        self._log, self._committer, self._live, self._mapper, self._vault = log, committer, live, mapper, vault
        self.lock = threading.Lock()
        self.events = self.refused = self.stuck = 0  # stuck: how often a batch could not be folded
        self.applied = live.applied(SOURCE)
        self.unknown: dict[str, int] = {}
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

    def step(self) -> int:
        """Folds the next requests of the log in; gives how many (0: nothing waits)."""
        entries = self._log.read(self.applied)
        if entries:
            self._fold(entries)
        return len(entries)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._committer.written.clear()
            try:
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
                self._committer.written.wait(REST_S)

    def _fold(self, entries: Sequence[Entry]) -> None:
        rows = map_entries(self._mapper, entries)
        self._keep_personal(rows.people)
        if rows.refused:
            with self._log.database.transaction() as write:
                for one in rows.refused:
                    self._log.refuse(write, one.source, one.received_at, "map", one.reason, one.content, one.at)
        with self.lock:
            self._live.apply(rows.table(), source=SOURCE, offset=entries[-1].offset)
        self._sessions.add(rows.events, SCHEMA.names)
        self.applied = entries[-1].offset
        self.events += len(rows.events)
        self.refused += len(rows.refused)
        for name, count in rows.unknown.items():
            if name in self.unknown or len(self.unknown) < 1_000:
                self.unknown[name] = self.unknown.get(name, 0) + count

    def _keep_personal(self, people: Sequence[Person]) -> None:
        fields = sorted({name for person in people for name in person.personal})
        for name in fields:
            having = [(person.user_id, person.personal[name]) for person in people if name in person.personal]
            self._vault.put_many([user for user, _ in having], name, [value for _, value in having])


def map_entries(mapper: Mapper, entries: Sequence[Entry]) -> Rows:
    """What the messages of some requests come to, in their order."""
    rows = Rows()
    for entry in entries:
        batch, _ = read_batch(entry.body)
        mapper.add(
            rows,
            batch,
            source=entry.source,
            offset=entry.offset,
            received_at=entry.received_at,
            skipped=entry.skipped,
        )
    return rows


def place_of(error: BaseException) -> str:
    """Where an unexpected error arose; its values might be personal, so they are not told."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename.rpartition('/')[2]}:{last.lineno}"
