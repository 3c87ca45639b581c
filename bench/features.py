"""How fast is the feature build beside the same columns in SQL by hand, in pandas and on Spark, and what does another day cost?

    python bench/features.py --events 10000000 --engines sql,pandas,huaxiang,spark --out features.json    # 15 minutes, 12 GB of disk
    python bench/features.py --growth --sizes 1,10,50 --out growth.json                                   # 30 minutes, 30 GB of disk

Makes a seeded shop (bench/shop.py) and prepares it (collect, clean, build). Then, `--repeat` times in turn, each in a process of its
own: huaxiang's feature build, the same 122 columns in SQL by hand (bench/features_sql.py) with the same memory and threads, and in pandas
(bench/features_pandas.py); the columns are compared to 1e-6. Ratios are taken within a round: `huaxiang_vs_sql` 1.5 means that the SQL
takes one and a half times as long. With huaxiang among the engines also: what another day costs (bench/next_day.py) and the live fold
(bench/fold.py); with spark: the whole build there (bench/on_spark.py). What does not exist is said, and left out of the metrics.
`--growth` measures huaxiang's feature build alone at several sizes, in millions of events, and draws docs/img/growth.svg.
`--shop FOLDER` keeps the prepared shop, and takes it up again; `--wait S` waits up to S seconds for a quiet machine before each run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import engines
from fold import measure_fold
from growth import measure_growth
from measure import Metrics, Run, in_child, note, wait_until_quiet, write_report
from next_day import measure_next_day
from on_spark import measure_spark
from shop import count_rows

ROUNDS = ("huaxiang", "sql", "pandas")


def main() -> None:
    options = _options()
    metrics: Metrics = {}
    columns: dict[str, object] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        if options.growth:
            measure_growth(metrics, Path(folder), options)
            data = f"generated, {options.sizes} million events, seed {options.seed}"
        else:
            shop = options.shop or Path(folder) / "shop"
            prepare_shop(metrics, shop, options)
            events = count_rows(options.data or shop / "events.parquet")
            chosen = [name for name in ROUNDS if name in options.engines]
            runs = run_rounds(shop, chosen, options.repeat, options.wait)
            columns = sum_up(metrics, runs, events)
            if "huaxiang" in chosen and not options.rounds_only:
                seed, repeat, wait_s = options.seed, options.repeat, options.wait
                measure_next_day(metrics, shop, events, seed=seed, repeat=repeat, wait_s=wait_s)
                measure_fold(metrics, shop, repeat=repeat, wait_s=wait_s)
            if "spark" in options.engines:
                measure_spark(metrics, shop, repeat=options.repeat, wait_s=options.wait)
            data = str(options.data or f"generated, {events:,} events, seed {options.seed}")
    print_table(metrics)
    write_report(options.out, __doc__.splitlines()[0], data, metrics, columns=columns)


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--events", type=float, default=1e6)
    asked.add_argument("--data", type=Path, help="a Parquet file with the generator's columns")
    asked.add_argument("--engines", type=lambda text: text.split(","), default=list(ROUNDS))
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--repeat", type=int, default=3)
    asked.add_argument("--memory-gb", type=float, default=2.0)
    asked.add_argument("--shop", type=Path, help="keep the prepared shop here, and take it up again")
    asked.add_argument("--wait", type=float, default=0.0, help="seconds to wait at most for a quiet machine")
    asked.add_argument("--rounds-only", action="store_true", help="neither another day nor the live fold")
    asked.add_argument("--growth", action="store_true")
    asked.add_argument("--sizes", type=lambda text: [float(size) for size in text.split(",")], default=[1, 10, 50])
    asked.add_argument("--picture", type=Path, default=Path(__file__).parent.parent / "docs" / "img" / "growth.svg")
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    if unknown := set(options.engines) - {*ROUNDS, "spark"}:
        asked.error(f"unknown engines: {', '.join(sorted(unknown))}")
    return options


def prepare_shop(metrics: Metrics, shop: Path, options: argparse.Namespace) -> None:
    """The generated shop, collected, cleaned and built; nothing to do where it stands already."""
    if (shop / "lake" / "ready" / "events").exists():
        return
    shop.mkdir(parents=True, exist_ok=True)
    in_child(engines.run_make, shop, options.events, options.seed, options.memory_gb, options.data)
    for stage in ("collect", "clean", "build"):
        run = in_child(engines.run_stage, shop, stage)
        note(metrics, f"{stage}_s", [run.seconds])
        note(metrics, f"{stage}_peak_gb", [run.peak_gb])
        print(f"{stage:<9} {run}", flush=True)


def run_rounds(shop: Path, names: list[str], repeat: int, wait_s: float) -> dict[str, list[Run]]:
    """Each engine once a round, another first each time."""
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for turn in range(repeat if names else 0):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            wait_until_quiet(wait_s)
            runs[name].append(in_child(getattr(engines, f"run_{name}"), shop))
            print(f"{name:<9} {runs[name][-1]}", flush=True)
    return runs


def sum_up(metrics: Metrics, runs: dict[str, list[Run]], events: int) -> dict[str, object]:
    """Figures of the rounds, and ratios within each; gives what the comparison of columns found, by engine."""
    columns = {}
    for name, found in runs.items():
        note(metrics, f"{name}_s", [run.seconds for run in found])
        note(metrics, f"{name}_cpu_s", [run.cpu_s for run in found])
        note(metrics, f"{name}_peak_gb", [run.peak_gb for run in found])
        note(metrics, f"{name}_others_share", [run.others for run in found])
        if compared := found[-1].result:
            columns[name] = compared
            note(metrics, f"{name}_columns_equal", [compared["columns"]])
    if ours := runs.get("huaxiang"):
        note(metrics, "features_events_per_s", [events / run.seconds for run in ours])
        note(metrics, "peak_gb", [run.peak_gb for run in ours])
        for peer in ("sql", "pandas"):
            if theirs := runs.get(peer):
                pairs = list(zip(ours, theirs, strict=True))
                note(metrics, f"huaxiang_vs_{peer}", [their.seconds / our.seconds for our, their in pairs])
                note(metrics, f"huaxiang_vs_{peer}_cpu", [their.cpu_s / our.cpu_s for our, their in pairs])
    for name, compared in columns.items():
        print(
            f"{name}: {compared['columns']} columns equal, differing: {compared['differing']}, missing: {compared['only_ours']}"
        )
    return columns


def print_table(metrics: Metrics) -> None:
    print(f"\n{'':<32}{'median':>14}{'mean':>14}{'sd':>12}{'n':>4}")
    for name, figure in metrics.items():
        middle = figure.get("median", figure["mean"])
        print(f"{name:<32}{middle:>14,.3f}{figure['mean']:>14,.3f}{figure['sd']:>12,.3f}{figure['n']:>4.0f}")


if __name__ == "__main__":
    main()
