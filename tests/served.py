"""A shop that lives, started for tests: the real server, on a port of its own, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from huaxiang.client import Client
from huaxiang.serve.api.audit import find_looks
from huaxiang.serve.api.rooms import Rooms, open_rooms
from huaxiang.serve.open import open_running
from huaxiang.serve.run import config_of
from huaxiang.shop import Shop
from servers import free_port

SCOPES = ("profiling", "marketing", "service", "admin")


@dataclass
class Served:
    """A running shop. keys: by scope, with `personal` (service + personal) and `all`"""

    url: str
    folder: Path
    rooms: Rooms
    keys: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, *, key: str | None = "all", **how: Any) -> httpx.Response:
        headers = dict(how.pop("headers", {}))
        if key is not None:
            headers.setdefault("authorization", f"Bearer {self.keys.get(key, key)}")
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=60, **how)

    def get(self, path: str, **how: Any) -> httpx.Response:
        return self.ask("GET", f"/api/v1{path}", **how)

    def post(self, path: str, **how: Any) -> httpx.Response:
        return self.ask("POST", f"/api/v1{path}", **how)

    def client(self, key: str = "all") -> Client:
        return Client(self.url, self.keys[key])

    def send(self, event: str, number: str, **message: Any) -> None:
        """Sends an event as an SDK does, and waits until it is folded."""
        (_, key), *_ = self.rooms.running.sources.all()
        said = {"event": event, "messageId": number, "writeKey": key, "properties": {"product_id": "sku-1"}} | message
        assert self.ask("POST", "/v1/track", key=None, json=said).status_code == 200
        worker = self.rooms.running.worker
        assert worker is not None
        end = time.monotonic() + 30
        while worker.lag():
            assert time.monotonic() < end
            time.sleep(0.02)

    def last_look(self) -> dict[str, Any]:
        return find_looks(self.rooms.audit.database, limit=1)[0]

    def looks(self) -> int:
        return self.rooms.audit.looks


@contextmanager
def serve_shop(folder: Path, *, work: bool = True) -> Iterator[Served]:
    """The shop in `folder`, served until the end."""
    with (
        Shop.open(folder) as shop,
        open_running(shop, work=work) as running,
        open_rooms(running, running.profiles) as rooms,
    ):
        port = free_port()
        server = uvicorn.Server(config_of(rooms, host="127.0.0.1", port=port))
        thread = threading.Thread(target=server.run, name="server")
        thread.start()
        served = Served(f"http://127.0.0.1:{port}", folder, rooms)
        for scope in SCOPES:
            served.keys[scope] = rooms.keys.add(scope, [scope], now=1)
        served.keys["personal"] = rooms.keys.add("personal", ["service", "personal"], now=1)
        served.keys["all"] = rooms.keys.add("all", [*SCOPES, "personal"], now=1)
        end = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive() and time.monotonic() < end
            time.sleep(0.01)
        try:
            yield served
        finally:
            server.should_exit = True
            thread.join()
