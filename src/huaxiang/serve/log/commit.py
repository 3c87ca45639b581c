"""Group commit: requests that arrive while one transaction is written go into the next one together.

One thread writes; the event loop hands requests over and waits, and so do the threads that pull. How much may wait is bounded: of the
event loop's what comes beyond that is refused at once (503 with Retry-After), a thread waits for room; so a slow disk makes senders wait,
and memory does not grow. The same thread lets go of old ids and old requests when it has nothing to write (upkeep.py).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from concurrent.futures import Future
from typing import TypeAlias

from huaxiang.errors import HuaxiangError, StoreError
from huaxiang.serve.log.log import Log, Request
from huaxiang.serve.log.upkeep import Upkeep

log = logging.getLogger(__name__)

WAITING_BYTES = 64 * 1024 * 1024
COMMIT_BYTES = 8 * 1024 * 1024  # of one transaction
Done: TypeAlias = "asyncio.Future[int] | Future[int]"


class OverloadedError(Exception):
    """More waits to be written than may wait."""


class Committer:
    """Writes requests to a log in a thread of its own. appended: counted since the start; upkeep: what it does between commits"""

    def __init__(self, to: Log, *, waiting_bytes: int = WAITING_BYTES, upkeep: Upkeep | None = None) -> None:
        self._log = to
        self._most = waiting_bytes
        self.upkeep = upkeep
        self._waiting: deque[tuple[Request, Done, asyncio.AbstractEventLoop | None]] = deque()
        self._bytes = 0
        lock = threading.Lock()
        self._wake, self._room = threading.Condition(lock), threading.Condition(lock)
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
            self._hand_over(request, done, loop)
        return done

    def put(self, request: Request) -> int:
        """The same for a thread that is no event loop's: waits until the request is on disk; gives its new messages; raises StoreError.

        It leaves half of what may wait to the event loop.
        """
        done: Future[int] = Future()
        with self._wake:
            while self._bytes and self._bytes + len(request.body) > self._most // 2 and not self._closing:
                self._room.wait()
            if self._closing:
                raise StoreError("serve.closing")
            self._hand_over(request, done, None)
        return done.result()

    def close(self) -> None:
        """Writes what waits, and ends the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            self._room.notify_all()
        self._thread.join()

    def _hand_over(self, request: Request, done: Done, loop: asyncio.AbstractEventLoop | None) -> None:
        self._bytes += len(request.body)
        self._waiting.append((request, done, loop))
        self._wake.notify()

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            if not taken:
                assert self.upkeep is not None
                self.upkeep.run()
                continue
            try:
                counts: list[int] | Exception = self._log.append([request for request, *_ in taken])
            except Exception as error:  # whoever waits is told; this thread must outlive it
                if not isinstance(error, HuaxiangError):
                    log.exception("the log could not be written")
                counts = error
            with self._wake:
                self._bytes -= sum(len(request.body) for request, *_ in taken)
                self._room.notify_all()
            if not isinstance(counts, Exception):
                self.commits += 1
                self.requests += len(taken)
                self.messages += sum(counts)
                self.written.set()
            for loop in {loop for *_, loop in taken}:
                mine = [(done, place) for place, (_, done, its) in enumerate(taken) if its is loop]
                if loop is None:
                    _tell(mine, counts)
                else:
                    loop.call_soon_threadsafe(_tell, mine, counts)

    def _next(self) -> list[tuple[Request, Done, asyncio.AbstractEventLoop | None]] | None:
        """What goes into the next transaction ([]: it is time for the upkeep; None: the end)."""
        with self._wake:
            while not self._waiting and not self._closing:
                rest = self.upkeep.rest() if self.upkeep else None
                if rest == 0.0:
                    return []
                self._wake.wait(rest)
            taken, size = [], 0
            while self._waiting and size < COMMIT_BYTES:
                taken.append(self._waiting.popleft())
                size += len(taken[-1][0].body)
        return taken or None


def _tell(waiting: list[tuple[Done, int]], counts: list[int] | Exception) -> None:
    for done, place in waiting:
        if done.done():  # the client has gone away
            continue
        if isinstance(counts, Exception):
            done.set_exception(counts)
        else:
            done.set_result(counts[place])
