"""The bodies of requests, read within bounds: of each its size and its time, of all together the memory that they take meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from huaxiang.serve.wire.message import LaterError, WireError
from huaxiang.serve.wire.squeezed import LARGEST, unzip

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
BODY_S = 30.0  # a body that takes longer is given up
TOGETHER = 256 * 1024 * 1024  # bytes of all bodies in progress
FREE = 64 * 1024  # of each that do not count: what SDKs usually send comes in while a few large ones take all the room


class Bodies:
    """Reads bodies. held: bytes in progress that count"""

    def __init__(self, together: int = TOGETHER) -> None:
        self._together = together
        self.held = 0

    async def read(self, receive: Receive, headers: dict[bytes, bytes]) -> bytes:
        """The body, unpacked; raises WireError for one that is too large, too slow or broken, LaterError where too much is in progress."""
        said = headers.get(b"content-length", b"")
        if said.isdigit() and (len(said) > 12 or int(said) > LARGEST):
            raise WireError("too_large", f"a body may hold {LARGEST} bytes", 413)
        try:
            async with asyncio.timeout(BODY_S):
                body = await self._gather(receive)
        except TimeoutError as error:
            raise WireError("too_slow", f"the body took longer than {BODY_S:.0f} s", 408) from error
        coding = headers.get(b"content-encoding", b"").strip().lower()
        if coding in (b"gzip", b"deflate") or body[:2] == b"\x1f\x8b":
            return unzip(body)
        if coding not in (b"", b"identity"):
            raise WireError("bad_encoding", "Content-Encoding may be gzip or deflate", 415)
        return body

    async def _gather(self, receive: Receive) -> bytes:
        first, rest, mine = b"", bytearray(), 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise WireError("gone", "the client went away", 400)
                part: bytes = message.get("body", b"")
                more = message.get("more_body", False)
                if not first:
                    first = part
                else:
                    rest += part
                size = len(first) + len(rest)
                if size > LARGEST:
                    raise WireError("too_large", f"a body may hold {LARGEST} bytes", 413)
                if not more:
                    return first + bytes(rest) if rest else first
                grown = max(0, size - FREE) - mine
                if grown and self.held + grown > self._together:
                    raise LaterError("busy", "too many large bodies are being read", 503, seconds=2.0)
                mine += grown
                self.held += grown
        finally:
            self.held -= mine
