"""Load for a collector: what a shop's pages and servers send, built once and patched in place, over raw connections.

Requests are 100 Segment messages each, as analytics-python and analytics-node send them; ids and times are of fixed width and are written into
the prepared bytes just before each send, so that every message is new and one core makes several hundred thousand a second.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httptools
import numpy as np

MESSAGES = 100
USERS, ITEMS = 20_000, 5_000
SESSION = 10  # events of one, about
NUMBER, TIME = "N" * 12, "T" * 24  # what is patched: the request's number within each message id, and the time
BODIES = 1_000
_CONTEXT = {
    "library": {"name": "analytics-node", "version": "3.1.0"},
    "locale": "zh-CN",
    "page": {"path": "/item", "referrer": "https://shop.example/", "url": "https://shop.example/item?id=1", "title": "Item"},
    "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
}  # fmt: skip


class Shoppers:
    """Messages of customers in sessions, items by Zipf; one session in five begins unknown and logs in halfway. users: ids begin with it"""

    def __init__(self, seed: int, users: str = "u") -> None:
        self._chance, self._users = random.Random(seed), users
        weights = 1 / np.arange(1, ITEMS + 1) ** 1.05
        self._items = np.random.default_rng(seed).choice(ITEMS, size=1_000_000, p=weights / weights.sum())
        self._at = 0
        self._left: list[dict[str, Any]] = []

    def message(self) -> dict[str, Any]:
        if not self._left:
            self._left = self._session()
        return self._left.pop(0)

    def _session(self) -> list[dict[str, Any]]:
        chance = self._chance
        user, visitor = f"{self._users}{chance.randrange(USERS)}", f"v-{chance.randrange(1 << 40):010x}"
        unknown, count = chance.random() < 0.2, max(1, int(chance.expovariate(1 / SESSION)) + 1)
        login, made = count // 2 if unknown else -1, []
        for place in range(count):
            if place == login:
                traits = {"plan": chance.choice(["basic", "gold"]), "city": "上海"}
                made.append({"type": "identify", "userId": user, "anonymousId": visitor, "traits": traits})
            known = not unknown or place >= login
            made.append(self._event({"userId": user} if known else {"anonymousId": visitor}, visitor))
        return made

    def _event(self, who: dict[str, Any], session: str) -> dict[str, Any]:
        chance, item = self._chance, self._item()
        told = {
            "product_id": f"sku-{item}",
            "price": round(3 + item % 97 * 1.7, 2),
            "session_id": session,
            "currency": "CNY",
        }
        drawn = chance.random()
        if drawn < 0.60:
            return {"type": "track", **who, "event": "Product Viewed", "properties": told}
        if drawn < 0.75:
            return {"type": "track", **who, "event": "Products Searched", "properties": {"query": f"thing {item % 500}", "session_id": session}}  # fmt: skip
        if drawn < 0.87:
            return {"type": "page", **who, "name": "Home", "properties": {"path": "/", "session_id": session}}
        if drawn < 0.95:
            return {"type": "track", **who, "event": "Product Added", "properties": told | {"quantity": 1 + item % 3}}
        lines = [{"product_id": f"sku-{self._item()}", "price": 9.5, "quantity": 1} for _ in range(1 + item % 4)]
        order = {"order_id": f"o-{chance.randrange(1 << 40)}", "total": 9.5 * len(lines), "products": lines}
        return {"type": "track", **who, "event": "Order Completed", "properties": order}

    def _item(self) -> int:
        self._at = (self._at + 1) % len(self._items)
        return int(self._items[self._at])


@dataclass
class Body:
    """A request whose numbers and times are patched. numbers, times: the places of their bytes, one row each"""

    content: Any  # (bytes,) uint8
    numbers: Any
    times: Any

    def patch(self, number: int, now: bytes) -> bytes:
        self.content[self.numbers] = np.frombuffer(b"%012x" % number, np.uint8)
        self.content[self.times] = np.frombuffer(now, np.uint8)
        return self.content.tobytes()


def make_bodies(key: str, seed: int, *, count: int = BODIES, users: str = "u", path: str = "/v1/batch") -> list[Body]:
    """Whole HTTP requests. key: a write key; users: what the customers' ids begin with"""
    shoppers, made = Shoppers(seed, users), []
    for _ in range(count):
        messages = [
            {**shoppers.message(), "messageId": f"m-{NUMBER}-{place:03d}", "timestamp": TIME, "context": _CONTEXT}
            for place in range(MESSAGES)
        ]
        body = json.dumps({"batch": messages, "sentAt": TIME}, ensure_ascii=False, separators=(",", ":")).encode()
        basic = b64encode(f"{key}:".encode()).decode()
        head = f"POST {path} HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nAuthorization: Basic {basic}\r\nContent-Length: {len(body)}\r\n\r\n"  # fmt: skip
        whole = head.encode() + body
        made.append(Body(np.frombuffer(bytearray(whole), np.uint8), _places(whole, NUMBER), _places(whole, TIME)))
    return made


def users_of(bodies: Sequence[Body]) -> list[str]:
    """The customers that the requests are about."""
    found = {user.decode() for body in bodies for user in re.findall(rb'"userId":"([^"]+)"', body.content.tobytes())}
    return sorted(found)


def _places(content: bytes, what: str) -> Any:
    found, at, sought = [], 0, what.encode()
    while (at := content.find(sought, at)) >= 0:
        found.append(range(at, at + len(sought)))
        at += len(sought)
    return np.array(found)


def say_now() -> bytes:
    return f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z".encode()


@dataclass
class Sent:
    """acknowledged, unsure: numbers of requests answered 200, and of those whose answer never came; answers: by status; waits: s of each"""

    acknowledged: list[int] = field(default_factory=list)
    unsure: list[int] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    seconds: float = 0.0


class _Line(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._parser = httptools.HttpResponseParser(self)
        self._status = self._number = -1
        self._begun = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        sent, self._status = self._load.sent, self._parser.get_status_code()
        sent.answers[self._status] = sent.answers.get(self._status, 0) + 1
        sent.waits.append(time.perf_counter() - self._begun)
        (sent.acknowledged if self._status == 200 else sent.unsure).append(self._number)
        self._number = -1
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if self._number >= 0:
            self._load.sent.unsure.append(self._number)
        self._load.lost(self)

    def _next(self) -> None:
        wait = self._load.wait()
        if wait is None:
            self._transport.close()
        elif wait > 0:
            asyncio.get_running_loop().call_later(wait, self._next)
        else:
            self._number, request = self._load.request()
            self._begun = time.perf_counter()
            self._transport.write(request)


class Load:
    """Sends over `lines` connections for `seconds`, as fast as it is answered, or at `rate` messages a second, not while it is `held`.

    first: number of the request before the first; again: numbers to send first, as they were
    """

    def __init__(
        self,
        port: int,
        bodies: list[Body],
        *,
        seconds: float,
        lines: int = 16,
        rate: float = 0.0,
        first: int = 0,
        again: Sequence[int] = (),
    ) -> None:
        self._port, self._bodies, self.seconds, self._lines = port, bodies, seconds, lines
        self.again, self.held = list(again), False
        self._every = MESSAGES / rate if rate else 0.0
        self.number = first
        self.sent = Sent()
        self._open = 0

    async def run(self) -> Sent:
        loop = asyncio.get_running_loop()
        self._begun = time.perf_counter()
        self._due = self._begun
        self._end, self._said = self._begun + self.seconds, b""
        self._over = loop.create_future()
        self._open = self._lines
        for _ in range(self._lines):
            try:
                await loop.create_connection(lambda: _Line(self), "127.0.0.1", self._port)
            except OSError:
                self.lost(None)
        await self._over
        self.sent.seconds = time.perf_counter() - self._begun
        return self.sent

    def wait(self) -> float | None:
        """Seconds until the next request may go; None at the end."""
        now = time.perf_counter()
        if now >= self._end:
            return None
        if self.held:
            return 0.02
        if not self._every:
            return 0.0
        if self._due > now:
            return self._due - now
        self._due += self._every
        return 0.0

    def request(self) -> tuple[int, bytes]:
        if self.again:
            number = self.again.pop()
        else:
            self.number += 1
            number = self.number
        if not self._said or number % 16 == 1:
            self._said = say_now()
        return number, self._bodies[number % len(self._bodies)].patch(number, self._said)

    def lost(self, line: _Line | None) -> None:
        self._open -= 1
        if self._open == 0 and not self._over.done():
            self._over.set_result(None)
