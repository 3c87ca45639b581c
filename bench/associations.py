"""How long do association rules of a million customers take, and how much memory?

    python bench/associations.py --out associations.json          # about 3 minutes, most of it making the tables

The made lake of bench/audience.py, whose traits are drawn independently: every rule told would be a false one. Each kind in a fresh process.
Metrics: KIND/s, KIND/core_s, KIND/peak_gb, KIND/tested, KIND/false.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from audience import make
from huaxiang.apply.market.associations import Over, find_associations
from huaxiang.engine import Engine, Lake
from made import draw_by, open_made_lake
from measure import Metrics, Timer, in_child, note, write_report

KINDS: tuple[Over, ...] = ("customers", "orders", "traits")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--customers", type=int, default=1_000_000)
    asked.add_argument("--events", type=int, default=10_000_000)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    metrics: Metrics = {}
    with open_made_lake() as (lake, folder):
        make(lake, options.customers, options.events, options.seed)
        complete(lake, options.seed)
        for kind in KINDS:
            run = in_child(find, folder, kind)
            for name, value in (("s", run.seconds), ("core_s", run.cpu_s), ("peak_gb", run.peak_gb)):
                note(metrics, f"{kind}/{name}", [value])
            for name, key in (("tested", "tested"), ("false", "held")):
                note(metrics, f"{kind}/{name}", [run.result[key]])
            print(f"{kind:<10}{run}   tested {run.result['tested']}, told {run.result['held']}", flush=True)
    question = __doc__.splitlines()[0]
    write_report(options.out, question, f"made, seed {options.seed}", metrics, customers=options.customers)


def complete(lake: Lake, seed: int) -> None:
    """What rules read of events beside what audiences do: the category, the order, and the kind of event by name."""
    draw = draw_by(seed)
    events = lake.engine.sql(lake.table("ready.events"))
    with lake.step("build") as step:
        step.note |= lake.note("build")
        step.replace(
            "ready.events",
            f"SELECT *, 'purchase' AS event, 'C' || floor({draw(50)} * 200)::INTEGER AS category_2, 'ALL' AS category_top, "
            f"(user_no * 400 + date_diff('day', DATE '2024-01-01', day))::BIGINT AS order_key "
            f"FROM (SELECT *, row_number() OVER () AS i FROM ({events}) WHERE event_no = 10)",
        )


def find(folder: Path, kind: Over) -> tuple[Timer, dict[str, Any]]:
    with Timer() as timer, Engine(memory_gb=2, threads=2, temp=folder / f"tmp-{kind}") as engine:
        found = find_associations(Lake(folder / "lake", engine), kind, days=365)
    return timer, found


if __name__ == "__main__":
    main()
