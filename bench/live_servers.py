"""What the load is sent to, each in a process of its own on the first core: huaxiang's server, and a bare durable log as its ceiling.

python bench/live_servers.py shop FOLDER PORT [--no-work]        python bench/live_servers.py bare FILE PORT
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

SERVER_CORE, LOAD_CORE = 0, 1


class BareLog:
    """Bodies appended to a file, one after the other, durable (fsync, group commit) before each is answered: no parsing, no ids, no seal."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._waiting: deque[tuple[bytes, asyncio.Future[None], asyncio.AbstractEventLoop]] = deque()
        self._wake = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        if parts != [b""]:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()
            with self._wake:
                self._waiting.append((b"".join(parts), done, loop))
                self._wake.notify()
            await done
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting:
                    self._wake.wait()
                taken = list(self._waiting)
                self._waiting.clear()
            content = b"".join(len(body).to_bytes(4, "big") + body for body, *_ in taken)
            while content:
                content = content[self._file.write(content) :]
            os.fsync(self._file.fileno())
            taken[0][2].call_soon_threadsafe(lambda taken=taken: [done.done() or done.set_result(None) for _, done, _ in taken])  # fmt: skip


def serve_bare(path: Path, port: int) -> None:
    import uvicorn

    uvicorn.run(BareLog(path), host="127.0.0.1", port=port, log_level="warning", access_log=False, server_header=False)


def serve_shop(folder: Path, port: int, *, work: bool) -> None:
    from huaxiang.serve.run import serve
    from huaxiang.shop import Shop

    with Shop.open(folder) as shop:
        serve(shop, host="127.0.0.1", port=port, work=work)


class Server:
    """A server's process. ready: the path that answers when it is"""

    def __init__(self, words: Sequence[str | Path], *, ready: str) -> None:
        self.port = free_port()
        self._words, self._ready = words, ready
        self.start()

    def start(self) -> None:
        kind, path, *more = self._words
        command = [sys.executable, __file__, str(kind), str(path), str(self.port), *map(str, more)]
        self.process = subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}))
        self.about = psutil.Process(self.process.pid)
        end = time.monotonic() + 120
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)

    def cpu_s(self) -> float:
        times = self.about.cpu_times()
        return float(times.user + times.system)

    def mark(self) -> None:
        """`cpu_s` of now is `marked`."""
        self.marked = self.cpu_s()

    def waiting(self) -> int:
        """Requests that wait to be folded."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=60) as answer:
            return int(json.load(answer)["waiting"] or 0)

    def await_folded(self) -> None:
        """Comes back when nothing waits, neither requests nor profiles."""
        still = 0
        while still < 3:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
                lines = answer.read().decode().splitlines()
            waits = [line for line in lines if line.startswith("huaxiang_worker_waiting") and float(line.split()[-1])]
            still = 0 if waits else still + 1
            time.sleep(0.1)

    def rss_mb(self) -> float:
        return float(self.about.memory_info().rss) / 1e6

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self._ready}", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def running(*words: str | Path, ready: str = "/health") -> Iterator[Server]:
    server = Server(words, ready=ready)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    kind, path, port, *more = sys.argv[1:]
    if kind == "bare":
        serve_bare(Path(path), int(port))
    else:
        serve_shop(Path(path), int(port), work="--no-work" not in more)
