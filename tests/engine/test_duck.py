"""The engine: how a query ends that does not end well."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from huaxiang.engine import Engine

LONG = "SELECT sum(list_sum(list_transform(range(100), x -> x + i))) AS n FROM numbers"  # a second or two of work


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda engine, _: engine.arrow(LONG), id="result"),
        pytest.param(lambda engine, _: engine.run(f"CREATE TABLE made AS {LONG}"), id="statement"),
        pytest.param(lambda engine, folder: engine.write(LONG, folder), id="files"),
    ],
)
def test_ctrl_c_in_a_query_is_a_keyboard_interrupt(ask: Callable[[Engine, Path], Any], tmp_path: Path) -> None:
    with Engine(memory_gb=0.5, threads=2) as engine:
        engine.run("CREATE TABLE numbers AS SELECT range AS i FROM range(3000000)")
        ctrl_c = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        ctrl_c.start()
        with pytest.raises(KeyboardInterrupt):
            ask(engine, tmp_path / "out")
        ctrl_c.join()
        assert engine.value("SELECT count(*) FROM numbers") == 3_000_000  # the engine still answers
