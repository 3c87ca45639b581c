"""Group commit: requests that arrive while one transaction is written go into the next one together.

One thread writes; the event loop hands requests over and waits. How much may wait is bounded: what comes beyond that is refused at once
(503 with Retry-After), so a slow disk makes clients wait, and memory does not grow.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque

from huaxiang.errors import HuaxiangError
from huaxiang.serve.log.log import Log, Request

log = logging.getLogger(__name__)

WAITING_BYTES = 64 * 1024 * 1024
COMMIT_BYTES = 8 * 1024 * 1024  # of one transaction


class OverloadedError(Exception):
    """More waits to be written than may wait."""


class Committer:
    """Writes requests to a log in a thread of its own. appended: counted since the start"""

    def __init__(self, to: Log, *, waiting_bytes: int = WAITING_BYTES) -> None:
        self._log = to
        self._most = waiting_bytes
        self._waiting: deque[tuple[Request, asyncio.Future[int], asyncio.AbstractEventLoop]] = deque()
        self._bytes = 0
        self._wake = threading.Condition()
        self._closing = False
        self.written = threading.Event()  # set after each commit: wakes the worker
        self.requests = self.messages = self.commits = 0
        self._thread = threading.Thread(target=self._run, name="huaxiang-log", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def append(self, request: Request) -> asyncio.Future[int]:
        """Done when the request is on disk; gives its new messages; raises OverloadedError at once, StoreError when it is awaited."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        with self._wake:
            if self._bytes and self._bytes + len(request.body) > self._most:
                raise OverloadedError
            self._bytes += len(request.body)
            self._waiting.append((request, done, loop))
            self._wake.notify()
        return done

    def close(self) -> None:
        """Writes what waits, and ends the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if not self._waiting:
                    return
                taken, size = [], 0
                while self._waiting and size < COMMIT_BYTES:
                    taken.append(self._waiting.popleft())
                    size += len(taken[-1][0].body)
            try:
                counts: list[int] | Exception = self._log.append([request for request, *_ in taken])
            except Exception as error:  # whoever waits is told; this thread must outlive it
                if not isinstance(error, HuaxiangError):
                    log.exception("the log could not be written")
                counts = error
            with self._wake:
                self._bytes -= size
            if not isinstance(counts, Exception):
                self.commits += 1
                self.requests += len(taken)
                self.messages += sum(counts)
                self.written.set()
            for loop in {loop for *_, loop in taken}:
                mine = [(done, place) for place, (_, done, its) in enumerate(taken) if its is loop]
                loop.call_soon_threadsafe(_tell, mine, counts)


def _tell(waiting: list[tuple[asyncio.Future[int], int]], counts: list[int] | Exception) -> None:
    for done, place in waiting:
        if done.done():  # the client has gone away
            continue
        if isinstance(counts, Exception):
            done.set_exception(counts)
        else:
            done.set_result(counts[place])
