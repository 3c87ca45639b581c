"""Work that many requests want at once, done once for all of them.

After a build no row is at hand, and every request wants some: asked one by one, they would fill the desk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from huaxiang.serve.api.desk import Desk
from huaxiang.serve.profiles import Profiles, Row

T = TypeVar("T")
TOGETHER = 1_000  # pseudonyms of one question
MOST_WAITING = 20_000


class Gathered:
    """Reads rows by pseudonym: who asks while one question is answered is part of the next."""

    def __init__(self, desk: Desk, profiles: Profiles) -> None:
        self._desk, self._profiles = desk, profiles
        self._waiting: list[tuple[Sequence[str], asyncio.Future[dict[str, Row]]]] = []
        self._task: asyncio.Task[None] | None = None

    async def read(self, users: Sequence[str]) -> dict[str, Row]:
        """The rows of these pseudonyms, perhaps with those of others; those unknown are left out."""
        if len(self._waiting) >= MOST_WAITING:
            self._desk.refuse()
        done: asyncio.Future[dict[str, Row]] = asyncio.get_running_loop().create_future()
        self._waiting.append((users, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await done

    async def _run(self) -> None:
        while self._waiting:
            taken, count = [], 0
            while self._waiting and count < TOGETHER:
                taken.append(self._waiting.pop(0))
                count += len(taken[-1][0])
            every = [user for users, _ in taken for user in users]
            try:
                found = await self._desk.run(lambda every=every: self._profiles.many(every))  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - each who asked is told
                for _, done in taken:
                    if not done.done():
                        done.set_exception(error)
                continue
            for _, done in taken:
                if not done.done():  # the client has gone away
                    done.set_result(found)


class Once(Generic[T]):
    """What is made anew when its stamp changes, once for all who ask meanwhile. make: gives it"""

    def __init__(self, make: Callable[[], Awaitable[T]], stamp: Callable[[], object]) -> None:
        self._make, self._stamp = make, stamp
        self._held: tuple[object, T] | None = None
        self._task: tuple[object, asyncio.Task[T]] | None = None

    async def get(self) -> T:
        now = self._stamp()
        if self._held is not None and self._held[0] == now:
            return self._held[1]
        if self._task is None or self._task[0] != now or self._task[1].done():
            self._task = now, asyncio.create_task(self._made(now))
        return await asyncio.shield(self._task[1])

    async def _made(self, stamp: object) -> T:
        made = await self._make()
        self._held = stamp, made
        return made
