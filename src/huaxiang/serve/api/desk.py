"""Threads that do what blocks, each with a shop of its own: an engine serves one thread at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeVar

from huaxiang.serve.api.problems import ApiError
from huaxiang.serve.profiles import stamp_of
from huaxiang.shop import Shop
from huaxiang.shop.opened import SETTINGS

T = TypeVar("T")
THREADS = 2
MOST_WAITING = 64


class Desk:
    """Answers questions of the shop in `folder` in a few threads; more than `most` at a time are refused."""

    def __init__(self, folder: Path, *, threads: int = THREADS, most: int = MOST_WAITING) -> None:
        self._folder = folder
        self._most = most
        self._inside = 0
        self._here = threading.local()
        self._open: list[Shop] = []
        self._guard = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="huaxiang-desk")

    async def ask(self, work: Callable[[Shop], T]) -> T:
        """What `work` gives of the shop, as its settings are now; raises ApiError where too many wait."""
        return await self.run(lambda: work(self._shop()))

    async def run(self, work: Callable[[], T]) -> T:
        """As `ask`, for what needs no shop."""
        if self._inside >= self._most:
            self.refuse()
        self._inside += 1
        done = asyncio.get_running_loop().run_in_executor(self._pool, work)
        done.add_done_callback(self._left)  # also where the client has gone away
        return await done

    def refuse(self) -> NoReturn:
        raise ApiError("serve.api_busy", most=self._inside)

    @property
    def waiting(self) -> int:
        return self._inside

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for shop in self._open:
            shop.close()

    def _left(self, done: asyncio.Future[T]) -> None:
        self._inside -= 1

    def _shop(self) -> Shop:
        """This thread's own, opened anew after its settings changed."""
        at = stamp_of(str(self._folder / SETTINGS))
        if getattr(self._here, "at", None) != at:
            fresh = Shop.open(self._folder)
            with self._guard:
                if (old := getattr(self._here, "shop", None)) is not None:
                    self._open.remove(old)
                    old.close()
                self._open.append(fresh)
            self._here.shop, self._here.at = fresh, at
        shop: Shop = self._here.shop
        return shop
