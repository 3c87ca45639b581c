"""Profiles read over the API: how many a second, how long one takes, and how soon an event shows."""

from __future__ import annotations

import asyncio
import json
import random
import time
import urllib.error
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httptools
import numpy as np

from live_load import say_now

EVERY_S, LONGEST_S = 0.2, 30.0


def make_key(shop: Path) -> str:
    """A key for the API of `shop` ("": this huaxiang has none)."""
    import subprocess
    import sys

    made = subprocess.run(
        [sys.executable, "-m", "huaxiang.cli", "key", "add", str(shop), "bench", "--scope", "profiling"],
        capture_output=True,
        text=True,
        check=False,
    )
    return made.stdout.split()[-1] if made.returncode == 0 and made.stdout.split() else ""


class Reader:
    """Asks a server for profiles. key: of the API; write_key: of a source; users: whose profiles there are"""

    def __init__(self, port: int, key: str, write_key: str, users: Sequence[str]) -> None:
        self._port, self._key, self._write_key, self._users = port, key, write_key, users

    def answers(self) -> bool:
        """Whether there are profiles over HTTP."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self._port}/api/v1/profiles/{self._users[0]}", headers={"Authorization": f"Bearer {self._key}"})  # fmt: skip
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            return "json" in (error.headers.get("content-type") or "") and error.code == 404 and _is_known(error.read())

    async def reads(self, seconds: float) -> dict[str, float]:
        """Of customers that the load is about, one after the other over four connections."""
        end, waits, chance = time.perf_counter() + seconds, list[float](), random.Random(1)

        async def ask_on() -> None:
            line = await Line.open(self._port)
            while time.perf_counter() < end:
                begun = time.perf_counter()
                status, _ = await line.ask(self._get(chance.choice(self._users)))
                if status == 200:
                    waits.append(time.perf_counter() - begun)
            line.close()

        await asyncio.gather(*(ask_on() for _ in range(4)))
        return {"per_s": len(waits) / seconds, "p50_ms": _quantile(waits, 0.5), "p99_ms": _quantile(waits, 0.99)}

    async def freshness(self, seconds: float) -> dict[str, float]:
        """A new customer's first event, sent every fifth of a second; asked for until the profile is there."""
        end, waits, late = time.perf_counter() + seconds, list[float](), 0
        line = await Line.open(self._port)
        while time.perf_counter() < end:
            user, begun, found = f"fresh-{uuid.uuid4()}", time.perf_counter(), False
            await line.ask(self._event(user))
            while not found and time.perf_counter() - begun < LONGEST_S:
                found = (await line.ask(self._get(user)))[0] == 200
                if not found:
                    await asyncio.sleep(0.002)
            late += not found
            waits.append(time.perf_counter() - begun)
            await asyncio.sleep(EVERY_S)
        line.close()
        return {"p50_ms": _quantile(waits, 0.5), "p99_ms": _quantile(waits, 0.99), "n": len(waits), "late": late}

    def _get(self, user: str) -> bytes:
        return (
            f"GET /api/v1/profiles/{user} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {self._key}\r\n\r\n".encode()
        )

    def _event(self, user: str) -> bytes:
        said = say_now().decode()
        event = {"type": "track", "userId": user, "event": "Product Viewed", "messageId": f"f-{uuid.uuid4().hex}-0", "timestamp": said, "properties": {"product_id": "sku-1", "price": 3.0}}  # fmt: skip
        body = json.dumps({"batch": [event], "sentAt": said}).encode()
        basic = b64encode(f"{self._write_key}:".encode()).decode()
        return f"POST /v1/batch HTTP/1.1\r\nHost: shop\r\nAuthorization: Basic {basic}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body  # fmt: skip


class Line(asyncio.Protocol):
    """One keep-alive connection that asks and waits."""

    @classmethod
    async def open(cls, port: int) -> Line:
        _, made = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return made

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self._body, self._done = [], asyncio.get_running_loop().create_future()
        self._transport.write(request)
        status: int = await self._done
        return status, b"".join(self._body)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._done.set_result(self._parser.get_status_code())

    def connection_lost(self, error: Exception | None) -> None:
        if hasattr(self, "_done") and not self._done.done():
            self._done.set_exception(ConnectionError("the server went away"))

    def close(self) -> None:
        self._transport.close()


def _is_known(body: bytes) -> bool:
    """Whether a 404 is the API's own (an unknown customer), not that of a path that there is not."""
    try:
        return json.loads(body) != {"detail": "Not Found"}
    except ValueError:
        return False


def _quantile(values: list[float], share: float) -> float:
    return float(np.quantile(values, share) * 1e3) if values else float("nan")
