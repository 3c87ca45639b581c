"""What another day costs: a shop is built, a hundredth more events arrive; Shop.build() then, beside building all anew."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from typing import Any

from engines import run_stage
from measure import Metrics, Timer, in_child, note, wait_until_quiet
from shop import add_day, copy_shop

OUTCOMES = """
[outcomes.churn_30d]
agg = "none"
where = "event == 'purchase'"
within = "30d"
among = "purchases_90d > 0"

[outcomes.purchase_7d]
agg = "any"
where = "event == 'purchase'"
within = "7d"

[outcomes.spend_30d]
agg = "sum"
column = "amount"
where = "event == 'purchase'"
within = "30d"
"""


def run_build(shop: Path, full: bool) -> tuple[Timer, dict[str, Any]]:
    """Shop.build(), of everything where `full`; gives what it reports. Without the argument it always builds everything."""
    from huaxiang.shop import Shop

    known = "full" in inspect.signature(Shop.build).parameters
    with Shop.open(shop) as opened, Timer() as timer:
        report = opened.build(**({"full": True} if full and known else {}))
    return timer, {"incremental": known, "training_rows": report.training_rows, "users": report.users}


def measure_next_day(metrics: Metrics, shop: Path, events: int, *, seed: int, repeat: int, wait_s: float) -> None:
    """Adds incremental_share (incremental / full), incremental_s and full_build_s to `metrics`."""
    day, trial = shop.with_name(f"{shop.name}-day"), shop.with_name(f"{shop.name}-trial")
    try:
        copy_shop(shop, day, rest=OUTCOMES)
        before = in_child(run_build, day, True)
        more = add_day(day, events, seed=seed)
        for stage in ("collect", "clean"):
            in_child(run_stage, day, stage)
        print(f"next day  built before {before}; then {more:,} more events", flush=True)
        taken: dict[bool, list[float]] = {False: [], True: []}
        for turn in range(repeat):
            for full in (False, True) if turn % 2 == 0 else (True, False):
                copy_shop(day, trial)
                wait_until_quiet(wait_s)
                run = in_child(run_build, trial, full)
                taken[full].append(run.seconds)
                print(f"next day  {'full       ' if full else 'incremental'} {run}  {run.result}", flush=True)
        if not before.result["incremental"]:
            print("next day  Shop.build has no `full` argument: both build everything, so the share says nothing yet")
            return
        note(metrics, "incremental_share", [one / all_ for one, all_ in zip(taken[False], taken[True], strict=True)])
        note(metrics, "incremental_s", taken[False])
        note(metrics, "full_build_s", taken[True])
    finally:
        for folder in (day, trial):
            shutil.rmtree(folder, ignore_errors=True)
