"""How long does `huaxiang serve` take to its first answers with a million live profiles, and how much memory?

    python bench/live_start.py --users 1000000 --out start.json            # about 5 minutes, 6 GB of disk

A small shop is built and served once; then its live profiles, states and what is kept of its customers are written again and again under
made-up ids until there are `--users` of them. The server is started on the first core and asked, from the second, until it answers.

    health_s          to the first answer at all
    profile_s         to the first profile of one of the made-up customers, over the API, its look in the audit
    rss_mb            the server's memory then
    find_s            the first condition asked of the shop (`GET /api/v1/profiles?where=…`), where nothing changed since the build
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from huaxiang.features.live.tables import key_of
from live import copy, make_shop
from live_read import make_key
from live_servers import LOAD_CORE, running
from measure import Metrics, note, write_report

AT_ONCE = 20_000


def main() -> None:
    options = _ask()
    os.sched_setaffinity(0, {LOAD_CORE})
    metrics: Metrics = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        shop = copy(options.data or make_shop(Path(folder), options.seed), Path(folder) / "large")
        with running("shop", shop, ready="/health") as server:
            server.await_folded()
            time.sleep(2)
        inflate(shop / "live.db", options.users)
        key = make_key(shop)
        times: dict[str, list[float]] = {}
        for _ in range(options.repeat):
            measure(times, shop, key, options.users)
    for name, values in times.items():
        note(metrics, name, values)
    for name, found in metrics.items():
        print(f"{name:<12} {found['mean']:12,.2f}  ± {found['sd']:,.2f} (n={found['n']})")
    write_report(
        options.out,
        __doc__.splitlines()[0],
        f"{options.users:,} customers of {options.data or 'a simulated shop'}",
        metrics,
    )


def measure(found: dict[str, list[float]], shop: Path, key: str, users: int) -> None:
    subprocess.run(["sync"], check=True)
    start = time.perf_counter()
    with running("shop", shop, ready="/health") as server:
        found.setdefault("health_s", []).append(time.perf_counter() - start)
        _ask_until(server.port, key, f"/profiles/{name_of(users // 2)}")
        found.setdefault("profile_s", []).append(time.perf_counter() - start)
        found.setdefault("rss_mb", []).append(server.rss_mb())
        asked = time.perf_counter()
        _ask_until(server.port, key, "/profiles?where=spend_90d%20%3E%20100&limit=5")
        found.setdefault("find_s", []).append(time.perf_counter() - asked)


def inflate(path: Path, users: int) -> None:
    """Rows of the tables of live profiles until there are so many customers."""
    with sqlite3.connect(path) as file:
        samples = {
            "profile": file.execute(
                "SELECT user_id, as_of, (SELECT value FROM made WHERE name = 'at') + 0, content FROM profile LIMIT 400"
            ).fetchall(),
            "state": file.execute("SELECT user_id, content FROM state LIMIT 400").fetchall(),
            "kept": file.execute("SELECT user_id, content FROM kept LIMIT 400").fetchall(),
        }
        for first in range(0, users, AT_ONCE):
            names = [name_of(number) for number in range(first, min(first + AT_ONCE, users))]
            for table, rows in samples.items():
                made = []
                for number, name in enumerate(names):
                    old, *rest = rows[number % len(rows)]
                    if table == "profile":
                        rest[-1] = rest[-1].replace(old.encode(), name.encode())
                    made.append((key_of(name), name, *rest))
                marks = ",".join("?" * len(made[0]))
                file.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", sorted(made))
            file.commit()


def name_of(number: int) -> str:
    """A pseudonym that no shop made."""
    return f"x{number:011d}"


def _ask_until(port: int, key: str, path: str) -> None:
    """Comes back with the first good answer."""
    end = time.monotonic() + 300
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1{path}", headers={"Authorization": f"Bearer {key}"}
    )
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                json.load(answer)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise RuntimeError(f"{path} was not answered")


def _ask() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, help="folder of a shop that is built (default: one is made)")
    asked.add_argument("--users", type=int, default=1_000_000)
    asked.add_argument("--repeat", type=int, default=3)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--out", type=Path)
    return asked.parse_args()


if __name__ == "__main__":
    main()
