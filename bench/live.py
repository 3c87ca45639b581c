"""How many events a second does one core of `huaxiang serve` take, keep and fold, how soon does a profile show one, and what does a kill cost?

    python bench/live.py --out live.json                                # about 8 minutes on 2 cores
    python bench/live.py --minutes 30 --kills 20 --out live.json        # the long one

The server runs on the first core, the load on the second: real requests over keep-alive connections, 100 Segment messages each (530 bytes a
message, as Node's client sends them), every message new, of 20,000 customers in sessions of about ten events, items by Zipf, a session in five
begun unknown. Acknowledged means durable (fsync).

    bare_events_per_s      the ceiling: a raw ASGI application that appends each body to a file (fsync, group commit), and nothing else
    ingest_events_per_s    the collector: parsed, checked, each id once, sealed, durable; the worker rests
    steady_events_per_s    with the worker: folded into states and profiles; the load waits where more than `LAG` requests wait to be folded
    …_per_core_s           the same by the server's processor seconds, which hang less on what else the machine does
    rss_mb_10, rss_mb_100  the server's memory after a tenth of the steady time, and at its end
    freshness_p99_ms       from the sending of an event to the profile that shows it, under half the steady load
    read_per_s, read_p99_ms  profiles read over the API, the same load beside it
    lost, doubled          acknowledged messages that are not in the log, or count twice, after `--kills` kills -9 at random moments
    unlike                 customers whose profile after the kills is not what the log, folded from its start, gives

No other collector runs here offline: RudderStack, PostHog, Jitsu and Snowplow's need several services each, or a licence server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import uvloop

from live_check import check_log, compare_profiles, copy_for_rebuild
from live_load import MESSAGES, Load, Sent, make_bodies, users_of
from live_read import Reader, make_key
from live_servers import LOAD_CORE, Server, running
from measure import Metrics, note, write_report

LAG = 40  # requests


def main() -> None:
    options = _ask()
    os.sched_setaffinity(0, {LOAD_CORE})
    os.environ["HUAXIANG_LIVE__RATE"] = "1e9"
    metrics: Metrics = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        for number in range(options.repeat):
            measure_ceiling(metrics, Path(folder) / f"bare{number}", options)
        shop = options.data or make_shop(Path(folder), options.seed)
        for number in range(options.repeat):
            measure_ingest(metrics, copy(shop, Path(folder) / f"ingest{number}"), options)
        measure_steady(metrics, copy(shop, Path(folder) / "steady"), options)
        if options.kills:
            measure_kills(metrics, shop, copy(shop, Path(folder) / "kills"), options)
    for name, found in metrics.items():
        print(f"{name:<28} {found['mean']:14,.1f}  ± {found['sd']:,.1f} (n={found['n']})")
    data = str(options.data or f"a simulated shop of 500 customers, seed {options.seed}")
    write_report(options.out, __doc__.splitlines()[0], data, metrics, minutes=options.minutes)


def measure_ceiling(metrics: Metrics, path: Path, options: argparse.Namespace) -> None:
    with running("bare", path, ready="/") as server:
        _told(metrics, "bare", server, _send(server, "x", options))
    path.unlink()


def measure_ingest(metrics: Metrics, shop: Path, options: argparse.Namespace) -> None:
    with running("shop", shop, "--no-work") as server:
        sent = _send(server, write_key(shop), options)
        _told(metrics, "ingest", server, sent)
    note_more(metrics, "ingest_p99_ms", float(np.quantile(sent.waits, 0.99) * 1e3))
    _check(metrics, "ingest", shop, sent)
    shutil.rmtree(shop)


def measure_steady(metrics: Metrics, shop: Path, options: argparse.Namespace) -> None:
    """The worker on, for `--minutes`; then freshness and reads under half of that."""
    key = make_key(shop)
    with running("shop", shop) as server:
        bodies = make_bodies(write_key(shop), options.seed)
        load = Load(server.port, bodies, seconds=60 * options.minutes, lines=options.lines)
        watch = Watch(server, load, 60 * options.minutes)
        begun, cpu = time.perf_counter(), server.cpu_s()
        sent = uvloop.run(load.run())
        server.await_folded()
        seconds, events = time.perf_counter() - begun, len(sent.acknowledged) * MESSAGES
        watch.close()
        note_more(metrics, "steady_events_per_s", events / seconds)
        note_more(metrics, "steady_events_per_core_s", events / (server.cpu_s() - cpu))
        note_more(metrics, "rss_mb_10", watch.early)
        note_more(metrics, "rss_mb_100", server.rss_mb())
        reader = Reader(server.port, key, write_key(shop), users_of(bodies))
        if key and reader.answers():
            rate = events / seconds / 2
            for name, ask in (("freshness", reader.freshness), ("read", reader.reads)):
                beside = Load(server.port, bodies, seconds=options.seconds, lines=4, rate=rate, first=load.number + 1)
                found, other = uvloop.run(_both(beside, ask))
                sent.acknowledged += other.acknowledged
                load.number = beside.number
                for figure, value in found.items():
                    note_more(metrics, f"{name}_{figure}", value)
        else:
            print("no profiles over HTTP here: freshness and reads are left out", flush=True)
    _check(metrics, "steady", shop, sent, load.number)
    shutil.rmtree(shop)


def measure_kills(metrics: Metrics, built: Path, shop: Path, options: argparse.Namespace) -> None:
    """kill -9 at random moments under load; the same requests whose answer never came are sent again, as SDKs do."""
    chance, key, total, again = random.Random(options.seed), write_key(shop), Sent(), list[int]()
    bodies, first, restarts = make_bodies(key, options.seed), 0, []
    with running("shop", shop) as server:
        for _ in range(options.kills):
            load = Load(server.port, bodies, seconds=60, lines=options.lines, first=first, again=again)
            timer = threading.Timer(chance.uniform(0.3, 4.0), server.kill)
            timer.start()
            sent = uvloop.run(load.run())
            timer.join()
            first, again = load.number, [*sent.unsure, *load.again]
            total.acknowledged += sent.acknowledged
            begun = time.perf_counter()
            server.start()
            restarts.append(time.perf_counter() - begun)
        load = Load(server.port, bodies, seconds=2, lines=options.lines, first=first, again=again)
        total.acknowledged += uvloop.run(load.run()).acknowledged
        server.await_folded()
    note(metrics, "kills", [options.kills])
    note(metrics, "restart_s", restarts)
    _check(metrics, "kills", shop, total, load.number)
    again_from = shop.with_name("rebuilt")
    copy_for_rebuild(built, shop, again_from)
    with running("shop", again_from) as server:
        server.await_folded()
    customers, unlike = compare_profiles(shop, again_from)
    print(f"kills    {unlike} of {customers} profiles are unlike a rebuild from the log", flush=True)
    note(metrics, "unlike", [unlike])


class Watch(threading.Thread):
    """Looks at a server four times a second: holds its load up where too much waits. early: its memory after a tenth of the time"""

    def __init__(self, server: Server, load: Load, seconds: float) -> None:
        super().__init__(daemon=True)
        self.early = 0.0
        self._server, self._load, self._seconds, self._over = server, load, seconds, threading.Event()
        self.start()

    def run(self) -> None:
        begun = time.monotonic()
        while not self._over.wait(0.1):
            self._load.held = self._server.waiting() > LAG
            if not self.early and time.monotonic() - begun > self._seconds / 10:
                self.early = self._server.rss_mb()

    def close(self) -> None:
        self._over.set()
        self.join()


async def _both(load: Load, ask: object) -> tuple[dict[str, float], Sent]:
    sending = asyncio.create_task(load.run())
    found = await ask(load.seconds)  # type: ignore[operator]
    return found, await sending


def _send(server: Server, key: str, options: argparse.Namespace) -> Sent:
    bodies = make_bodies(key, options.seed)
    uvloop.run(Load(server.port, bodies, seconds=1, lines=options.lines, first=1 << 40).run())  # warm
    server.mark()
    return uvloop.run(Load(server.port, bodies, seconds=options.seconds, lines=options.lines).run())


def _told(metrics: Metrics, name: str, server: Server, sent: Sent) -> None:
    events, cpu_s = len(sent.acknowledged) * MESSAGES, server.cpu_s() - server.marked
    note_more(metrics, f"{name}_events_per_s", events / sent.seconds)
    note_more(metrics, f"{name}_events_per_core_s", events / cpu_s)
    print(
        f"{name:<8} {events / sent.seconds:10,.0f} events/s  {events / cpu_s:10,.0f} a core s  {sent.answers}",
        flush=True,
    )


def _check(metrics: Metrics, name: str, shop: Path, sent: Sent, newest: int | None = None) -> None:
    checked = check_log(shop, sent.acknowledged, max(sent.acknowledged) if newest is None else newest)
    print(f"{name:<8} {checked}", flush=True)
    for figure, value in (("lost", checked.lost), ("doubled", checked.doubled)):
        note_more(metrics, figure, value)


def note_more(metrics: Metrics, name: str, value: float) -> None:
    """One more value of a figure."""
    _values.setdefault(name, []).append(float(value))
    note(metrics, name, _values[name])


_values: dict[str, list[float]] = {}


def make_shop(folder: Path, seed: int) -> Path:
    """A small shop that is built: the simulated one."""
    shop = folder / "shop"
    command = [sys.executable, "-m", "huaxiang.cli", "demo", "--shop", "simulated", "--users", "500", "--seed", str(seed), "--folder", str(shop)]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return shop


def copy(shop: Path, to: Path) -> Path:
    """The shop with a live store of its own, opened once so that it has a source."""
    from huaxiang.serve.open import open_running
    from huaxiang.shop import Shop

    shutil.copytree(shop, to)
    with Shop.open(to) as opened, open_running(opened, work=False):
        return to


def write_key(shop: Path) -> str:
    with sqlite3.connect(shop / "live" / "store.db") as file:
        return str(file.execute("SELECT write_key FROM source").fetchone()[0])


def _ask() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, help="folder of a shop that is built (default: one is made)")
    asked.add_argument("--seconds", type=float, default=15, help="of each short measurement")
    asked.add_argument("--minutes", type=float, default=2, help="of the steady one")
    asked.add_argument("--repeat", type=int, default=3)
    asked.add_argument("--kills", type=int, default=5)
    asked.add_argument("--lines", type=int, default=48, help="connections")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--out", type=Path)
    return asked.parse_args()


if __name__ == "__main__":
    main()
