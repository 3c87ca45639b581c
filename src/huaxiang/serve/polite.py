"""Threads that let those who wait go first."""

from __future__ import annotations

import os
import sys
import threading

NICE = 5  # a third of the weight of the thread that answers, where both want one core; all of it where that one sleeps


def step_back() -> None:
    """Gives the thread that calls it, and those that it starts (DuckDB's), less weight than the one that answers requests; on Linux alone,
    where threads have a weight of their own."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + NICE, 19))
