"""What does a build cost after the last few days of a shop arrived, against a full build?

    python bench/incremental.py --events 1000000 --out incremental.json        # about 3 minutes on 2 cores

The shop of bench/build.py (or `--data FILE`, with its columns) with one outcome declared: all but the last `--days` are collected, cleaned and built, then the
rest arrives. The incremental build and a full one of the same clean tables run in processes of their own; processor seconds
are compared, which hang less on what else the machine does, and wall seconds stand beside them. The tables of both must have
as many rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

from build import in_child, make_shop, note, run_stage

OUTCOME = """
[outcomes.churn_30d]
agg = "none"
where = "event == 'purchase'"
within = "30d"
among = "purchases_90d > 0"
"""
TABLES = ("ready.users", "ready.items", "features", "training", "labels")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--events", type=float, default=1e6)
    asked.add_argument("--data", type=Path)
    asked.add_argument("--days", type=int, default=3, help="days that arrive later (3 of 270: 1.1 %%)")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--memory-gb", type=float, default=2.0)
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        shop = Path(folder)
        make_shop(shop, options)
        later = deal(shop, options.days, options.data)
        for stage in ("collect", "clean", "build"):
            in_child(run_stage, shop, stage)
        (shop / "later.parquet").rename(shop / "events-later.parquet")
        for stage in ("collect", "clean"):
            in_child(run_stage, shop, stage)
        metrics: dict[str, dict[str, float]] = {}
        found = {}
        for name, full in (("incremental", False), ("full", True)):
            wall, peak, found[name] = in_child(run_build, shop, full)
            note(metrics, f"{name}_wall_s", [wall])
            note(metrics, f"{name}_cpu_s", [found[name]["cpu_s"]])
            note(metrics, f"{name}_peak_gb", [peak])
            print(
                f"{name:<12} {wall:8.1f} s  {found[name]['cpu_s']:8.1f} CPU s  peak {peak:5.2f} GB  {found[name]}",
                flush=True,
            )
        if found["incremental"]["rows"] != found["full"]["rows"] or found["incremental"]["full"]:
            sys.exit("the incremental build is not what the full one is")
        note(metrics, "cpu_share", [found["incremental"]["cpu_s"] / found["full"]["cpu_s"]])
        print(f"{later:,} events later; share of a full build: {metrics['cpu_share']['mean']:.1%}")
    report = {
        "question": __doc__.splitlines()[0],
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "data": str(options.data or f"generated, {int(options.events):,} events, seed {options.seed}"),
        "metrics": metrics,
    }
    if options.out:
        options.out.write_text(json.dumps(report, indent=1), encoding="utf-8")


def deal(shop: Path, days: int, data: Path | None) -> int:
    """Splits the events into events-first.parquet and later.parquet, declares the outcome; gives the events that come later."""
    from huaxiang.engine import Engine

    whole = data or shop / "events.parquet"
    with Engine() as engine:
        cut = engine.value(f"SELECT date_trunc('day', max(ts)) - INTERVAL {days - 1} DAY FROM '{whole}'")
        for name, kept in (("events-first", "<"), ("later", ">=")):
            rows = f"SELECT * FROM '{whole}' WHERE ts {kept} TIMESTAMP '{cut}'"
            engine.run(f"COPY ({rows}) TO '{shop / name}.parquet' (FORMAT parquet)")
        later = int(engine.value(f"SELECT count(*) FROM '{shop}/later.parquet'"))
    (shop / "events.parquet").unlink(missing_ok=True)
    settings = (shop / "huaxiang.toml").read_text(encoding="utf-8")
    settings = settings.replace(
        f'from = "{whole.resolve() if data else "events.parquet"}"', 'from = "events-*.parquet"'
    )
    (shop / "huaxiang.toml").write_text(settings + OUTCOME, encoding="utf-8")
    return later


def run_build(shop: Path, full: bool) -> tuple[float, dict[str, object]]:
    from huaxiang.shop import Shop

    with Shop.open(shop) as opened:
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        made = opened.build(full=full)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return wall, {
            "cpu_s": cpu,
            "full": made.full,
            "events_written": made.rows,
            "users_touched": made.touched,
            "training_rows_computed": made.redone,
            "rows": {name: opened.lake.rows(name) for name in TABLES},
        }


if __name__ == "__main__":
    main()
