"""Threads that do what can wait have less weight than the one that answers."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest

from huaxiang.serve.api.desk import Desk
from huaxiang.serve.polite import NICE


def weight() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a weight of their own on Linux alone")
def test_the_desk_steps_back_and_who_asks_does_not(tmp_path: Path) -> None:
    before, desk = weight(), Desk(tmp_path, threads=1)
    assert asyncio.run(desk.run(weight)) == min(before + NICE, 19)
    assert weight() == before
    desk.close()
