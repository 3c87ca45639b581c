"""The process: one server, one worker, until somebody stops it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import uvicorn

from huaxiang.serve.api.app import make_api
from huaxiang.serve.api.rooms import Rooms, open_rooms
from huaxiang.serve.app import App
from huaxiang.serve.lines import Line
from huaxiang.serve.open import Running, open_running
from huaxiang.shop import Shop

SWITCH_S = 0.001  # while the worker folds, a request waits for Python's lock no longer than this (Python's own: 5 ms)
STOP_S = 10  # how long requests in hand may take when the process ends


def serve(
    shop: Shop,
    *,
    host: str,
    port: int,
    work: bool = True,
    started: Callable[[Running], None] = lambda running: None,
    beside: Callable[[Running], AbstractContextManager[object]] = lambda running: nullcontext(),
) -> None:
    """Serves `shop` until the process is asked to end (Ctrl-C, SIGTERM); what was acknowledged is on disk by then.

    work: fold what is collected (else it waits in the log); started: called before the first request; beside: opened then, and closed
    when requests have ended, while the shop is still open
    """
    with open_running(shop, work=work) as running, open_rooms(running, running.profiles) as rooms:
        started(running)
        sys.setswitchinterval(SWITCH_S)
        with beside(running):
            _Server(config_of(rooms, host=host, port=port)).run()


def config_of(rooms: Rooms, *, host: str, port: int) -> uvicorn.Config:
    """How the server runs: the collector and the API in one process."""
    return uvicorn.Config(
        App(rooms.running.collector, make_api(rooms)),
        host=host,
        port=port,
        http=Line,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_S,
        server_header=False,
        limit_concurrency=2_000,
    )


class _Server(uvicorn.Server):
    """Being asked to end is a good end: uvicorn's own raises the signal once more, and the process would exit with it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        def end(number: int, frame: Any) -> None:
            self.force_exit = self.should_exit and number == signal.SIGINT  # asked twice: at once
            self.should_exit = True

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
