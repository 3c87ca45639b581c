"""Looks on disk before what was looked at is told: those that come together are kept together.

SQLite is written on the event loop itself, once a turn, for all that were answered in it: that is 20 µs a look, while handing them to a
thread costs more than the writing, and waits for Python's lock at each step (measured: 5 ms and more at the slowest 1 %). What may take long (moving
the write-ahead log into the file, forgetting what is old) a thread does. PostgreSQL is written by that thread: there one waits for a network.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from pathlib import Path

from huaxiang.errors import HuaxiangError, StoreError
from huaxiang.serve.api.audit import DAY_US, Look, forget, write_looks
from huaxiang.serve.api.keys import Keys
from huaxiang.store import Database

log = logging.getLogger(__name__)

MOST_WAITING = 20_000
TOGETHER = 1_000  # looks of one transaction
TEND_S = 1.0
BUSY_MS = 200
SWEEP_S = 3_600.0
LARGE_BYTES = 64 * 1024 * 1024  # of a write-ahead log: from here on writers wait until it is emptied


class Audit:
    """Keeps looks in `database`, which has their tables. keep_days: how long (0: for ever); file: of a SQLite database"""

    def __init__(
        self, database: Database, *, keep_days: float = 0, keys: Keys | None = None, file: Path | None = None
    ) -> None:
        self.database = database
        self._keep_days, self._keys, self._file = keep_days, keys, file
        self._waiting: deque[tuple[Look, asyncio.Future[None], asyncio.AbstractEventLoop]] = deque()
        self._wake = threading.Condition()
        self._closing = self._soon = self._set = False
        self._used: set[str] = set()
        self._swept = float("-inf")
        self.looks = 0
        run = self._run if file is None else self._tend_on
        self._thread = threading.Thread(target=run, name="huaxiang-audit", daemon=True)
        self._thread.start()

    def append(self, look: Look) -> asyncio.Future[None]:
        """Done when the look is kept; raises StoreError at once where too many wait, or when it is awaited."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        look.at = time.time_ns() // 1000
        if len(self._waiting) >= MOST_WAITING or self._closing:
            raise StoreError("serve.audit_behind")
        if self._file is not None:
            self._waiting.append((look, done, loop))
            if not self._soon:
                self._soon = True
                loop.call_soon(self._write_here)
            return done
        with self._wake:
            self._waiting.append((look, done, loop))
            self._wake.notify()
        return done

    def close(self) -> None:
        """Writes what waits, and ends the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    # ---- on the event loop -----------------------------------------------------------------------------------------

    def _write_here(self) -> None:
        self._soon = False
        taken = list(self._waiting)
        self._waiting.clear()
        error = self._write([look for look, *_ in taken])
        _tell([done for _, done, _ in taken], error)

    def _write(self, looks: list[Look]) -> Exception | None:
        try:
            if self._file is not None and not self._set:
                self.database.rows(
                    "PRAGMA wal_autocheckpoint = 0"
                )  # moving the log waits for the disk: the thread does it
                self.database.rows(
                    f"PRAGMA busy_timeout = {BUSY_MS}"
                )  # whoever else holds the file: no turn waits longer
                self._set = True
            write_looks(self.database, looks)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            if not isinstance(error, HuaxiangError):
                log.error("the audit could not be written: %s", type(error).__name__)
                return StoreError("serve.audit_behind")
            return error
        self.looks += len(looks)
        self._used |= {look.key for look in looks}
        return None

    # ---- in the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """PostgreSQL: writes what waits."""
        while True:
            with self._wake:
                if not self._waiting and not self._closing:
                    self._wake.wait(TEND_S)
                if not self._waiting and self._closing:
                    return
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER))]
            if taken:
                error = self._write([look for look, *_ in taken])
                for loop in {loop for *_, loop in taken}:
                    loop.call_soon_threadsafe(_tell, [done for _, done, its in taken if its is loop], error)
            self._tend()

    def _tend_on(self) -> None:
        """SQLite: what nobody waits for."""
        while not self._closing:
            with self._wake:
                self._wake.wait(TEND_S)
            self._tend()

    def _tend(self) -> None:
        """Which keys were used, the write-ahead log, and what is too old."""
        try:
            if self._keys is not None and self._used:
                used, self._used = self._used, set()
                self._keys.note_used(used)
            if self._file is not None:
                wal = self._file.with_name(f"{self._file.name}-wal")
                large = wal.exists() and wal.stat().st_size > LARGE_BYTES
                self.database.rows("PRAGMA wal_checkpoint(PASSIVE)")
                if large:
                    self.database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            if self._keep_days and time.monotonic() - self._swept > SWEEP_S:
                self._swept = time.monotonic()
                forget(self.database, int(time.time_ns() // 1000 - self._keep_days * DAY_US))
        except Exception as error:  # noqa: BLE001 - done another time; the thread must outlive it
            log.warning("audit: %s", error if isinstance(error, HuaxiangError) else type(error).__name__)


def _tell(waiting: list[asyncio.Future[None]], error: Exception | None) -> None:
    for done in waiting:
        if done.done():  # the client has gone away
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
