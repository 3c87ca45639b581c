"""Many who want the same at once: asked once, told each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from huaxiang.errors import ShopError
from huaxiang.serve.api.desk import Desk
from huaxiang.serve.api.gather import Gathered, Once
from huaxiang.serve.api.problems import ApiError
from served import Served


class Slow:
    """Profiles whose every question takes a while. asked: how many pseudonyms each question had"""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def many(self, users: Sequence[str]) -> dict[str, Any]:
        self.asked.append(len(users))
        time.sleep(0.05)
        if "bad" in users:
            raise ShopError("lake.no_table", name="profiles", have="-")
        return {user: {"user_id": user} for user in users if user != "nobody"}


def test_who_asks_while_a_question_is_answered_is_part_of_the_next(tmp_path: Path) -> None:
    profiles, desk = Slow(), Desk(tmp_path, threads=1, most=4)

    async def go() -> None:
        rows = Gathered(desk, profiles)  # type: ignore[arg-type]
        found = await asyncio.gather(*(rows.read([f"u{n}"]) for n in range(300)))
        assert all(one[f"u{n}"]["user_id"] == f"u{n}" for n, one in enumerate(found))
        assert "nobody" not in await rows.read(["nobody"])

    asyncio.run(go())
    assert sum(profiles.asked) == 301 and len(profiles.asked) <= 4
    desk.close()


def test_an_error_is_told_to_those_who_asked_and_to_nobody_after(tmp_path: Path) -> None:
    desk = Desk(tmp_path, threads=1)

    async def go() -> None:
        rows = Gathered(desk, Slow())  # type: ignore[arg-type]
        with pytest.raises(ShopError):
            await rows.read(["bad"])
        assert await rows.read(["u"]) == {"u": {"user_id": "u"}}

    asyncio.run(go())
    desk.close()


def test_more_than_may_wait_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huaxiang.serve.api.gather.MOST_WAITING", 1)
    desk = Desk(tmp_path, threads=1)

    async def go() -> None:
        rows = Gathered(desk, Slow())  # type: ignore[arg-type]
        waiting = asyncio.create_task(rows.read(["u"]))
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="wait already"):
            await rows.read(["v"])
        assert await waiting

    asyncio.run(go())
    desk.close()


def test_made_once_for_all_and_anew_when_the_stamp_changes() -> None:
    made: list[int] = []
    stamp = [1]

    async def make() -> int:
        made.append(stamp[0])
        await asyncio.sleep(0.02)
        if stamp[0] == 3:
            raise ShopError("lake.no_table", name="profiles", have="-")
        return stamp[0]

    async def go() -> None:
        once = Once(make, lambda: stamp[0])
        assert await asyncio.gather(*(once.get() for _ in range(20))) == [1] * 20
        assert await once.get() == 1
        stamp[0] = 2
        assert await once.get() == 2
        stamp[0] = 3
        for _ in range(2):
            with pytest.raises(ShopError):
                await once.get()

    asyncio.run(go())
    assert made == [1, 2, 3, 3]


def test_a_rush_on_rows_that_are_not_at_hand_is_answered_to_everyone(bare: Served) -> None:
    """After a build every request finds nothing at hand: 300 at once, for 60 customers."""

    async def go() -> list[int]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(
            limits=limits, timeout=60, headers={"authorization": f"Bearer {bare.keys['all']}"}
        ) as web:
            asked = (web.get(f"{bare.url}/api/v1/profiles/{1000 + n % 60}") for n in range(300))
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert asyncio.run(go()) == [200] * 300
