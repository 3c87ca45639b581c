"""The door of the API: who asks, how much may come in, and that no answer about a customer leaves before its audit is on disk.

    401  no key, or none that is open          413, 408  a body too large or too slow
    500  what nobody foresaw, as a problem too; its place is logged, its values are not

One profile (`GET /api/v1/profiles/{user}`) is answered here, past the framework, by the same code that its route runs: at 3,000 a
second the framework alone would take the core.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from huaxiang.errors import HuaxiangError
from huaxiang.serve.api.problems import ApiError, lang_of, write_problem
from huaxiang.serve.api.rooms import Caller, Rooms
from huaxiang.serve.live.worker import place_of

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[Any, Any, Any], Awaitable[None]]
ROOT = "/api/v1/"
PROFILES = "/api/v1/profiles/"
CALLER = "huaxiang.caller"  # where a request's scope holds who asks
BODY_BYTES = 1024 * 1024
BODY_S = 30.0
LONGEST_ID = 512  # a longer one is told what it lacks by the route
JSON = [(b"content-type", b"application/json")]


class Door:
    """An ASGI application around `api`. quick: the document of one profile, as its route gives it"""

    def __init__(
        self, rooms: Rooms, api: ASGI, quick: Callable[[Rooms, Caller, str], Awaitable[dict[str, Any]]]
    ) -> None:
        self._rooms, self._api, self._quick = rooms, api, quick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        start = time.perf_counter()
        answer = _Answer(self._rooms, send)
        headers = dict(scope["headers"])
        try:
            if not scope["path"].startswith(ROOT):
                await self._api(scope, receive, answer)
            else:
                answer.caller = scope[CALLER] = self._who(headers)
                await self._ask(scope, receive, answer, headers)
        except HuaxiangError as error:
            await answer.problem(error, headers)
        except Exception as error:  # noqa: BLE001 - whoever asked is told, and nothing of the values is
            log.error("api: %s at %s", type(error).__name__, place_of(error))
            await answer.problem(ApiError("serve.api_broken"), headers)
        what = answer.caller.look.what if answer.caller is not None else "other"
        self._rooms.counted.count(what, answer.status, time.perf_counter() - start)

    def _who(self, headers: dict[bytes, bytes]) -> Caller:
        said = headers.get(b"authorization", b"")
        key = self._rooms.keys.find(said[7:].strip().decode("latin-1")) if said[:7].lower() == b"bearer " else None
        if key is None:
            raise ApiError("serve.api_no_key")
        return self._rooms.caller(key, "other", lang_of(headers))

    async def _ask(self, scope: Scope, receive: Receive, answer: _Answer, headers: dict[bytes, bytes]) -> None:
        path = scope["path"]
        if path.startswith(PROFILES) and scope["method"] == "GET" and not scope["query_string"]:
            user = path[len(PROFILES) :]
            if "/" not in user and 0 < len(user) <= LONGEST_ID:
                assert answer.caller is not None
                document = await self._quick(self._rooms, answer.caller, user)
                await answer.whole(200, msgspec.json.encode(document), JSON)
                return
        body = await read_body(receive, headers)
        await self._api(scope, _replay(body, receive), answer)


class _Answer:
    """What goes out, once its look is kept. A look that cannot be kept makes it a problem."""

    def __init__(self, rooms: Rooms, send: Send) -> None:
        self._rooms, self._send = rooms, send
        self.caller: Caller | None = None
        self.status = 0  # 0: nothing went out yet
        self._dropped = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and not self._dropped:
            if self.status:  # the framework sends a last word of its own after an error
                self._dropped = True
                return
            try:
                await self._keep(message["status"])
            except HuaxiangError as error:  # what was to be told stays here
                self._dropped = True
                await self._refuse(error)
                return
            self.status = message["status"]
        if not self._dropped:
            await self._send(message)

    async def whole(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        length = (b"content-length", str(len(body)).encode())
        await self({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await self({"type": "http.response.body", "body": body})

    async def problem(self, error: HuaxiangError, headers: dict[bytes, bytes]) -> None:
        """The error, where nothing went out yet."""
        if not self.status:
            await self.whole(*write_problem(error, lang_of(headers)))

    async def _refuse(self, error: HuaxiangError) -> None:
        """The error, past the audit."""
        lang = self.caller.lang if self.caller is not None else "en"
        self.status, body, headers = write_problem(error, lang)
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _keep(self, status: int) -> None:
        look = self.caller.look if self.caller is not None else None
        if look is not None and look.kept and look.what != "other":
            look.status = status
            await self._rooms.audit.append(look)


async def read_body(receive: Receive, headers: dict[bytes, bytes]) -> bytes:
    """raises: ApiError for one that is too large or too slow"""
    said = headers.get(b"content-length", b"")
    if said.isdigit() and int(said[:20]) > BODY_BYTES:
        raise ApiError("serve.api_too_large", most=BODY_BYTES)
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError("serve.api_unreadable")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                more = message.get("more_body", False)
                if size > BODY_BYTES:
                    raise ApiError("serve.api_too_large", most=BODY_BYTES)
    except TimeoutError as error:
        raise ApiError("serve.api_too_slow", seconds=int(BODY_S)) from error
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
