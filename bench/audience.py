"""How long does an audience of a million customers take, from the condition to its size and a sample?

    python bench/audience.py --out audience.json          # about 3 minutes, most of it making the tables

A made lake: a million profiles of 40 columns, ten million events of 50,000 items. Each condition is previewed (checked, counted, its composition,
five members) in a fresh process, `--runs` times. Metrics: CONDITION/s, CONDITION/core_s, and the peak memory of that process. Target: under a second. Baseline beside it: the same
count in pandas over columns already in memory, for the condition over traits alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from huaxiang.apply.market.audiences import preview
from huaxiang.apply.market.language import Reader
from huaxiang.engine import Engine, Lake
from made import AS_OF, draw_by, items_sql, open_made_lake
from measure import Metrics, Timer, in_child, note, write_report

CONDITIONS = {
    "traits": "churn_30d > 0.6 and value_tier in ('gold', 'platinum') and orders_90d >= 2",
    "traits and events": "churn_30d > 0.6 and value_tier in ('gold', 'platinum') and not bought('coffee', days=30)",
    "events twice": "bought('coffee', days=90, times=2) and not refunded('coffee')",
    "everybody": "recency_days >= 0",
    "nobody": "recency_days < 0",
}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--customers", type=int, default=1_000_000)
    asked.add_argument("--events", type=int, default=10_000_000)
    asked.add_argument("--runs", type=int, default=3)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    metrics = measure_audiences(options.customers, options.events, options.runs, options.seed)
    write_report(
        options.out,
        __doc__.splitlines()[0],
        f"made, seed {options.seed}",
        metrics,
        customers=options.customers,
        events=options.events,
    )


def measure_audiences(customers: int, events: int, runs: int, seed: int) -> Metrics:
    """Seconds by the clock and of work of each condition, and the peak memory of the process that previewed them."""
    metrics: Metrics = {}
    with open_made_lake() as (lake, folder):
        make(lake, customers, events, seed)
        run = in_child(preview_all, folder, runs)
        for name, (seconds, work, size) in run.result.items():
            note(metrics, f"{name}/s", seconds)
            note(metrics, f"{name}/core_s", work)
            print(
                f"{name:<20}{np.median(seconds):8.2f} s   work {np.median(work):6.2f} s   {size:>9,} customers",
                flush=True,
            )
        note(metrics, "peak_gb", [run.peak_gb])
        print(f"peak {run.peak_gb:.2f} GB, others {run.others:.0%}")
        columns = lake.engine.arrow(
            f"SELECT churn_30d, value_tier, orders_90d FROM ({lake.engine.sql(lake.table('profiles'))})"
        )
    frame = columns.to_pandas()
    with Timer() as timer:
        size = int(
            ((frame.churn_30d > 0.6) & frame.value_tier.isin(["gold", "platinum"]) & (frame.orders_90d >= 2)).sum()
        )
    note(metrics, "pandas, in memory/s", [timer.seconds])
    print(
        f"{'pandas, in memory':<20}{timer.seconds:8.2f} s   work {timer.cpu_s:6.2f} s   {size:>9,} customers (the count alone)"
    )
    return metrics


def preview_all(folder: Path, runs: int) -> tuple[Timer, dict[str, tuple[list[float], list[float], int]]]:
    """Of each condition seconds and work of each run, and its size."""
    found: dict[str, tuple[list[float], list[float], int]] = {}
    with Timer() as whole, Engine(memory_gb=2, threads=2, temp=folder / "tmp-preview") as engine:
        lake = Lake(folder / "lake", engine)
        for name, text in CONDITIONS.items():
            each, size = [], 0
            for _ in range(runs):
                with Timer() as timer:
                    size = preview(Reader(lake), text).size
                each.append(timer)
            found[name] = [one.seconds for one in each], [one.cpu_s for one in each], size
    return whole, found


def make(lake: Lake, customers: int, events: int, seed: int) -> None:
    """Random tables of the shapes that a shop's have."""

    draw = draw_by(seed)
    numbers = ", ".join(f"{draw(number)} * 100 AS trait_{number}" for number in range(30))
    with lake.step("build") as step:
        step.replace(
            "profiles",
            f"SELECT 'u' || i AS user_id, i::INTEGER AS user_no, {draw(90)} AS churn_30d, "
            f"['platinum', 'gold', 'silver', 'bronze'][1 + (sqrt({draw(91)}) * 4)::INTEGER % 4] AS value_tier, "
            f"['active', 'new', 'lost'][1 + ({draw(92)} * 3)::INTEGER % 3] AS lifecycle, floor({draw(93)} * 6) AS orders_90d, "
            f"floor({draw(94)} * 300) AS recency_days, {draw(95)} * 900 AS spend_90d, {numbers} FROM range({customers}) AS t(i)",
        )
        step.replace(
            "ready.items",
            items_sql(
                50_000,
                "CASE WHEN i % 50 = 0 THEN 'Ground coffee ' ELSE 'Thing ' END || i",
                "'KIND > ' || (i % 300)",
                ", 'B' || (i % 700) AS brand",
            ),
        )
        step.replace(
            "ready.events",
            f"SELECT 'u' || (({draw(96)} ** 2) * {customers})::BIGINT AS user_id, (({draw(96)} ** 2) * {customers})::INTEGER AS user_no, CASE WHEN {draw(97)} < 0.2 THEN 10 WHEN {draw(97)} < 0.22 THEN 12 ELSE 1 END::TINYINT AS event_no, "
            f"({draw(98)} * 49999)::INTEGER AS item_no, DATE '2025-03-01' - (1 + {draw(99)} * 364)::INTEGER AS day, "
            f"DATE '2025-03-01' - (1 + {draw(99)} * 364)::INTEGER AS known_day FROM range({events}) AS t(i)",
        )
        step.note["as_of"] = AS_OF


if __name__ == "__main__":
    main()
