"""Connections that do not get on are closed: uvicorn gives a client any time, and any room, for the head of a request."""

from __future__ import annotations

import asyncio

from huaxiang.serve.cork import CorkedProtocol

HEAD_S = 10.0
HEAD_BYTES = 64 * 1024


class Line(CorkedProtocol):
    """One connection. A client has HEAD_S seconds, and HEAD_BYTES bytes, from its first byte to the end of the head."""

    _timer: asyncio.TimerHandle | None = None
    _bytes = 0  # of a head that is not complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.parser is None or self.transport.is_closing():
            return
        if self._timer is not None:
            self._bytes += len(data)
            if self._bytes > HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")
        elif self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()  # line ends between requests

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._have_head()
        super().on_headers_complete()

    def _await_head(self) -> None:
        if self._timer is None:
            self._bytes = 0
            self._timer = self.loop.call_later(HEAD_S, self._give_up)

    def _have_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()
