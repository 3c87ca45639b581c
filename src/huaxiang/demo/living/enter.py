"""The replay beside a running server: its write key, an API key to look with, the customer who is shown."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from huaxiang.client import Client
from huaxiang.demo.living.replay import Replay
from huaxiang.demo.living.show import Show
from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ShopError
from huaxiang.serve.api.keys import Keys
from huaxiang.serve.open import Running
from huaxiang.shop import Shop
from huaxiang.words import Lang

NAME = "demo"  # of the source and of the API key
KEY = Path("keys", "demo-api.key")  # a demo's own, so that a second start can say it again


def check_port(host: str, port: int) -> None:
    """Raises ShopError where something listens already: better now than after the build."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            raise ShopError("serve.port_taken", host=host, port=port) from error


def replay_of(running: Running, *, host: str, port: int, speed: float) -> Replay:
    """The replay of a shop that runs, not yet started; its source is made where there is none."""
    known = dict(running.sources.all())
    write_key = known.get(NAME) or running.sources.add(NAME, now=_now())
    return Replay(running.shop.folder, host=host, port=port, write_key=write_key, speed=speed)


def api_key(running: Running) -> str:
    """The API key of the demo (profiling, service), made at the first start."""
    path = running.shop.folder / KEY
    if not path.exists():
        secret = Keys(running.store).add(NAME, ["profiling", "service"], now=_now())
        write_atomically(path, secret, mode=0o600)
    return path.read_text(encoding="utf-8")


@contextmanager
def shown(running: Running, replay: Replay, *, console: Console, lang: Lang, url: str, user: str) -> Iterator[None]:
    """The replay runs and is shown until the end."""
    worker = running.worker
    with Client(url, api_key(running), timeout=10, lang=lang) as client:
        show = Show(
            console,
            lang,
            replay,
            made=lambda: 0 if worker is None else worker.profiles,
            client=client,
            user=user,
            titles=_titles(running.shop),
        )
        replay.start()
        show.start()
        try:
            yield
        finally:
            show.close()
            replay.close()


def _titles(shop: Shop) -> dict[str, str]:
    """What items are called, by id."""
    items = shop.engine.sql(shop.lake.table("ready.items"))
    return {
        row["item_id"]: row["title"]
        for row in shop.engine.rows(f"SELECT item_id, title FROM ({items})")
        if row["title"]
    }


def _now() -> int:
    return time.time_ns() // 1000
