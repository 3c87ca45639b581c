"""How fast is the journey, and how does the feature build compare with the same features in pandas?

    python bench/build.py --events 10000000 --out build.json        # about 8 minutes and 12 GB of disk on 2 cores

Makes a seeded shop with power-law customers and items (bench/shop.py), then takes it through collect → clean → build → profile,
each step in a process of its own so that its peak memory is its own. The feature build alone (from the prepared events) then runs
against the same columns written in pandas (bench/features_pandas.py), in turn, `--repeat` times; the columns of both are compared to
1e-6 relative. More peers: bench/features.py.
`--data FILE` takes a Parquet file with the generator's columns instead.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from engines import run_huaxiang, run_make, run_pandas, run_stage
from measure import Metrics, in_child, note, write_report
from shop import count_rows


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--events", type=float, default=1e6)
    asked.add_argument("--data", type=Path)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--repeat", type=int, default=3)
    asked.add_argument("--memory-gb", type=float, default=2.0)
    asked.add_argument("--stages", default="collect,clean,build,profile")
    asked.add_argument(
        "--no-pandas", action="store_true", help="leave the peer out (at 50 M it needs more memory than this allows)"
    )
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        shop = Path(folder)
        in_child(run_make, shop, options.events, options.seed, options.memory_gb, options.data)
        events = count_rows(options.data or shop / "events.parquet")
        metrics: Metrics = {}
        for stage in options.stages.split(","):
            run = in_child(run_stage, shop, stage)
            note(metrics, f"{stage}_events_per_s", [events / run.seconds])
            note(metrics, f"{stage}_peak_gb", [run.peak_gb])
            pace = f"{run.seconds:8.1f} s  {events / run.seconds:12,.0f} events/s"
            print(f"{stage:<9} {pace}  peak {run.peak_gb:5.2f} GB", flush=True)
        _run_features(metrics, shop, events, options.repeat, with_pandas=not options.no_pandas)
    data = str(options.data or f"generated, {events:,} events, seed {options.seed}")
    write_report(options.out, __doc__.splitlines()[0], data, metrics)


def _run_features(metrics: Metrics, shop: Path, events: int, repeat: int, *, with_pandas: bool) -> None:
    """The feature build alone, beside pandas."""
    ours, theirs = [], []
    for _ in range(repeat):
        ours.append(in_child(run_huaxiang, shop))
        line = f"features  {ours[-1].seconds:8.1f} s"
        if with_pandas:
            theirs.append(in_child(run_pandas, shop))
            line += f"   pandas {theirs[-1].seconds:8.1f} s ({theirs[-1].peak_gb:.2f} GB)   {theirs[-1].seconds / ours[-1].seconds:.2f} ×"
        print(line, flush=True)
    note(metrics, "features_events_per_s", [events / run.seconds for run in ours])
    note(metrics, "features_peak_gb", [run.peak_gb for run in ours])
    note(metrics, "peak_gb", [max(figure["mean"] for name, figure in metrics.items() if name.endswith("_peak_gb"))])
    if theirs:
        compared = theirs[-1].result
        note(
            metrics,
            "features_vs_pandas",
            [their.seconds / our.seconds for our, their in zip(ours, theirs, strict=True)],
        )
        note(metrics, "columns_compared", [compared["columns"]])
        print(
            f"{compared['columns']} columns equal, differing: {compared['differing']}, only ours: {compared['only_ours']}"
        )


if __name__ == "__main__":
    main()
