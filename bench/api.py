"""How many profiles a second does the API answer on one core, and how soon, with nothing else to do and while events come in?

    python bench/api.py --shop myshop            # a built shop; a copy of it is served; 1 minute

The server has one core to itself, all its threads on it; who asks has the others. Every answer is whole: key, scope, row, document, and its
audit on disk. Each connection asks again when it is answered, for customers drawn at random. `per_core_s` is by the server's own work
(user and system time), which is steadier than the clock where other processes want the same core.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from measure import Metrics, note, wait_until_quiet, write_report

BATCH = 50  # events of one request


@dataclass
class Asked:
    """What the load saw. took: seconds of each answer"""

    took: list[float] = field(default_factory=list)
    refused: int = 0
    sent: int = 0


@dataclass(frozen=True)
class Server:
    port: int
    key: str
    write_key: str
    users: list[str]
    process: subprocess.Popen[bytes]

    def work_s(self) -> float:
        """User and system time so far."""
        parts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--shop", type=Path, required=True)
    asked.add_argument("--connections", type=int, default=8)
    asked.add_argument("--seconds", type=float, default=8)
    asked.add_argument("--rate", type=int, default=500, help="events a second that come in, in the second half")
    asked.add_argument("--runs", type=int, default=3)
    asked.add_argument(
        "--wait-s", type=float, default=60, help="how long to wait, before each, for others to leave the machine alone"
    )
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    metrics = measure_reads(
        options.shop, options.connections, options.seconds, options.rate, options.runs, options.seed
    )
    write_report(options.out, __doc__.splitlines()[0], str(options.shop), metrics, connections=options.connections, rate=options.rate)  # fmt: skip


def measure_reads(
    shop: Path, connections: int, seconds: float, rate: int, runs: int, seed: int, wait_s: float = 0
) -> Metrics:
    """Answers a second by the clock and by the server's work, and how soon the median and the slowest came (ms)."""
    figures: dict[str, list[float]] = {}
    with serve_copy(shop) as server:
        asyncio.run(load(server, connections, 1.0, 0, seed))  # rows come to hand
        for number in range(runs):
            for name, events in (("alone", 0), ("ingesting", rate)):
                wait_until_quiet(wait_s)
                before = server.work_s()
                found = asyncio.run(load(server, connections, seconds, events, seed + number))
                work = server.work_s() - before
                took = sorted(found.took)
                shown = {
                    "per_s": len(took) / seconds,
                    "per_core_s": len(took) / work,
                    "p50_ms": took[len(took) // 2] * 1e3,
                    "p99_ms": took[int(len(took) * 0.99)] * 1e3,
                    "core": work / seconds,
                }
                assert found.refused == 0, f"{found.refused} answers were not 200"
                for figure, value in shown.items():
                    figures.setdefault(f"{name}/{figure}", []).append(value)
                print(f"{name:<10}", "  ".join(f"{figure} {value:9.2f}" for figure, value in shown.items()), f"  events {found.sent}", flush=True)  # fmt: skip
    metrics: Metrics = {}
    for name, values in figures.items():
        note(metrics, name, values)
    return metrics


@contextmanager
def serve_copy(shop: Path) -> Iterator[Server]:
    """A copy of the shop, served on the first core."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(shop, home := Path(folder) / "shop", ignore=shutil.ignore_patterns("live", "live.db*"))
        command = [sys.executable, "-m", "huaxiang.cli"]
        key = subprocess.run([*command, "key", "add", str(home), "bench", "--scope", "profiling"], check=True, capture_output=True, text=True).stdout.strip()  # fmt: skip
        write_key = subprocess.run([*command, "source", "add", str(home), "bench"], check=True, capture_output=True, text=True).stdout.strip()  # fmt: skip
        users = subprocess.run([sys.executable, "-c", f"from huaxiang import Shop; s = Shop.open({str(home)!r}); print('\\n'.join(r['user_id'] for r in s.engine.rows(s.engine.sql(s.lake.table('profiles').select('user_id').limit(20000)))))"], check=True, capture_output=True, text=True).stdout.split()  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        cores = sorted(os.sched_getaffinity(0))
        process = subprocess.Popen([*command, "serve", str(home), "--port", str(port)], stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, cores[:1]))  # fmt: skip
        if len(cores) > 1:
            os.sched_setaffinity(0, cores[1:])
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            yield Server(port, key, write_key, users, process)
        finally:
            process.terminate()
            process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < end, "the server did not start"
            time.sleep(0.1)


async def load(server: Server, connections: int, seconds: float, rate: int, seed: int) -> Asked:
    """What `connections` readers are answered, while `rate` events a second are sent by one more."""
    asked, loop = Asked(), asyncio.get_running_loop()
    end = loop.time() + seconds
    readers = [loop.create_connection(lambda n=n: Reader(server, asked, end, random.Random(f"{seed} {n}")), "127.0.0.1", server.port) for n in range(connections)]  # fmt: skip
    opened = await asyncio.gather(*readers)
    if rate:
        await send_events(server, asked, rate, end, random.Random(seed))
    await asyncio.sleep(max(0.0, end - loop.time()) + 0.2)
    for transport, _ in opened:
        transport.close()
    return asked


class Reader(asyncio.Protocol):
    """Asks for one profile after the other."""

    def __init__(self, server: Server, asked: Asked, end: float, chance: random.Random) -> None:
        self._server, self._asked, self._end, self._chance = server, asked, end, chance
        self._held, self._size = b"", 0
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._size:
            head = self._held.find(b"\r\n\r\n")
            if head < 0:
                return
            self._size = head + 4 + int(self._held[:head].lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(self._held) < self._size:
            return
        self._asked.took.append(time.perf_counter() - self._start)
        self._asked.refused += self._held[9:12] != b"200"
        self._held, self._size = b"", 0
        if self._loop.time() < self._end:
            self._ask()

    def _ask(self) -> None:
        user = self._chance.choice(self._server.users)
        self._start = time.perf_counter()
        self._wire.write(f"GET /api/v1/profiles/{user} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._server.key}\r\n\r\n".encode())  # fmt: skip


async def send_events(server: Server, asked: Asked, rate: int, end: float, chance: random.Random) -> None:
    """Posts batches as an SDK does, evenly in time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    login = base64.b64encode(f"{server.write_key}:".encode()).decode()
    loop = asyncio.get_running_loop()
    at = loop.time()
    while (at := at + BATCH / rate) < end:
        events = [{"type": "track", "userId": str(chance.randrange(10_000)), "messageId": f"{chance.getrandbits(64):x}", "event": "Product Viewed", "properties": {"product_id": f"sku-{chance.randrange(40)}", "price": 2.5}} for _ in range(BATCH)]  # fmt: skip
        body = json.dumps({"batch": events}).encode()
        head = (
            f"POST /v1/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer[9:12] == b"200", answer
        await reader.readexactly(int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        asked.sent += BATCH
        await asyncio.sleep(max(0.0, at - loop.time()))
    writer.close()


if __name__ == "__main__":
    main()
