"""The engine: how a query ends that does not end well."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

# In a process of its own: a signal that came too late would stop the tests.
INTERRUPTED = """
import os, signal, threading
from pathlib import Path
from huaxiang.engine import Engine

LONG = "SELECT sum(list_sum(list_transform(range(100), x -> x + i))) AS n FROM numbers"  # a second or two of work
with Engine(memory_gb=0.5, threads=2) as engine:
    engine.run("CREATE TABLE numbers AS SELECT range AS i FROM range(3000000)")
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        {ask}
    except KeyboardInterrupt:
        print("interrupted", engine.value("SELECT count(*) FROM numbers"))
"""


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param("engine.arrow(LONG)", id="result"),
        pytest.param('engine.run(f"CREATE TABLE made AS {LONG}")', id="statement"),
        pytest.param('engine.write(LONG, Path("out"))', id="files"),
    ],
)
def test_ctrl_c_in_a_query_is_a_keyboard_interrupt(ask: str, tmp_path: Path) -> None:
    """And the engine still answers."""
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.replace("{ask}", ask)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # tests run in the background ignore it
    )
    assert ran.stdout == "interrupted 3000000\n", ran.stderr
