"""How fast is the journey, and how does the feature build compare with the same features in pandas?

    python bench/build.py --events 10000000 --out build.json        # about 8 minutes and 12 GB of disk on 2 cores

Makes a seeded shop with power-law customers and items (168,000 users at 10 million events, nine months), then takes it through
collect → clean → build → profile, each step in a process of its own so that its peak memory is its own. The feature build alone
(from the prepared events) then runs against the same columns written in pandas (bench/features_pandas.py), in turn, `--repeat`
times; the columns of both are compared to 1e-6 relative.
`--data FILE` takes a Parquet file with the generator's columns instead.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

SETTINGS = """
[shop]
name = "Bench"
memory_gb = {memory_gb}
threads = {threads}

[[collect]]
name = "events"
from = "{events}"
format = "parquet"
[[collect.to]]
table = "events"
[collect.to.map]
{columns}

[[collect]]
name = "items"
from = "items.parquet"
format = "parquet"
[[collect.to]]
table = "items"
map = {{ item_id = "item_id", title = "title", category = "category", brand = "brand", price = "price" }}
"""
COLUMNS = (
    "event_id",
    "user_id",
    "event",
    "item_id",
    "order_id",
    "quantity",
    "price",
    "discount",
    "rating",
    "channel",
    "device",
    "ts",
)


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
        make_shop(shop, options)
        metrics: dict[str, dict[str, float]] = {}
        events = count_rows(options.data or shop / "events.parquet")
        for stage in options.stages.split(","):
            seconds, peak, _ = in_child(run_stage, shop, stage)
            note(metrics, f"{stage}_events_per_s", [events / seconds])
            note(metrics, f"{stage}_peak_gb", [peak])
            print(f"{stage:<9} {seconds:8.1f} s  {events / seconds:12,.0f} events/s  peak {peak:5.2f} GB", flush=True)
        ours, theirs, peaks, compared = [], [], [], {}
        for _ in range(options.repeat):
            seconds, peak, _ = in_child(run_features, shop)
            ours.append(seconds)
            peaks.append(peak)
            if not options.no_pandas:
                seconds, peak, compared = in_child(run_pandas, shop)
                theirs.append(seconds)
                print(
                    f"features  {ours[-1]:8.1f} s   pandas {theirs[-1]:8.1f} s ({peak:.2f} GB)   {theirs[-1] / ours[-1]:.2f} ×",
                    flush=True,
                )
            else:
                print(f"features  {ours[-1]:8.1f} s", flush=True)
        note(metrics, "features_events_per_s", [events / seconds for seconds in ours])
        note(metrics, "features_peak_gb", peaks)
        note(metrics, "peak_gb", [max(figure["mean"] for name, figure in metrics.items() if name.endswith("_peak_gb"))])
        if theirs:
            ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
            note(metrics, "features_vs_pandas", ratios)
            metrics["features_vs_pandas"]["median"] = statistics.median(ratios)
            note(metrics, "columns_compared", [compared["columns"]])
            print(
                f"median {statistics.median(ratios):.2f} × pandas; {compared['columns']} columns equal, differing: {compared['differing']}, only ours: {compared['only_ours']}"
            )
    report = {
        "question": __doc__.splitlines()[0],
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: version(name) for name in ("huaxiang", "duckdb", "pandas", "pyarrow")},
        "data": str(options.data or f"generated, {events:,} events, seed {options.seed}"),
        "metrics": metrics,
    }
    if options.out:
        options.out.write_text(json.dumps(report, indent=1), encoding="utf-8")
        print(options.out)


def note(metrics: dict[str, dict[str, float]], name: str, values: list[float]) -> None:
    metrics[name] = {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
        "n": len(values),
    }


def make_shop(shop: Path, options: argparse.Namespace) -> None:
    """Write events.parquet, items.parquet and huaxiang.toml."""
    from huaxiang.engine import Engine

    count, users = int(options.events), max(100, int(options.events * 0.0168))
    items = max(200, users // 4)
    with Engine(memory_gb=options.memory_gb) as engine:
        if options.data is None:
            chance = [f"(hash(r, {options.seed * 31 + place}) % 1000003) / 1000003.0 AS h{place}" for place in range(8)]
            base = f"SELECT range AS r, {', '.join(chance).replace('hash(r', 'hash(range')} FROM range({count})"
            buying = "h2 >= 0.85 AND h2 < 0.95"
            engine.run(f"""COPY (SELECT 'e' || r AS event_id, 'user-' || floor({users} * pow(h0, 2.2))::BIGINT AS user_id,
                CASE WHEN h2 < .70 THEN 'view' WHEN h2 < .82 THEN 'add_to_cart' WHEN h2 < .85 THEN 'wish' WHEN h2 < .95 THEN 'purchase'
                     WHEN h2 < .975 THEN 'search' WHEN h2 < .985 THEN 'review' WHEN h2 < .995 THEN 'coupon_redeem' ELSE 'refund' END AS event,
                CASE WHEN h2 < .95 OR (h2 >= .975 AND h2 < .985) OR h2 >= .995 THEN 'i' || floor({items} * pow(h1, 3))::BIGINT END AS item_id,
                CASE WHEN {buying} THEN 'o' || (r // 3) END AS order_id,
                CASE WHEN {buying} OR h2 >= .995 THEN 1 + floor(h3 * 3) END AS quantity,
                CASE WHEN {buying} OR h2 >= .995 THEN round(3 + 90 * h4 * h4, 2) END AS price,
                CASE WHEN {buying} THEN round(h5 * 4, 2) END AS discount,
                CASE WHEN h2 >= .975 AND h2 < .985 THEN 1 + floor(h3 * 5) END AS rating,
                ['web', 'app', 'store'][1 + floor(h6 * 3)::INT] AS channel, ['ios', 'android', 'pc', 'pad'][1 + floor(h4 * 4)::INT] AS device,
                TIMESTAMP '2024-01-01' + to_seconds(floor(h7 * 270 * 86400)::BIGINT) AS ts
                FROM ({base})) TO '{shop}/events.parquet' (FORMAT parquet)""")
        engine.run(f"""COPY (SELECT 'i' || range AS item_id, 'Item ' || range AS title, 'C' || range % 20 || ' > S' || range % 200 AS category,
            'Brand ' || range % 60 AS brand, 5 + range % 80 AS price FROM range({items})) TO '{shop}/items.parquet' (FORMAT parquet)""")
    text = SETTINGS.format(
        memory_gb=options.memory_gb,
        threads=os.cpu_count() or 2,
        events=options.data.resolve() if options.data else "events.parquet",
        columns="\n".join(f'{name} = "{name}"' for name in COLUMNS),
    )
    (shop / "huaxiang.toml").write_text(text, encoding="utf-8")


def count_rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.ParquetFile(path).metadata.num_rows)


def in_child(work: Any, *given: Any) -> tuple[float, float, Any]:
    """Seconds, peak memory in GB and result of `work(*given)` in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(there, work, given))
    child.start()
    there.close()
    try:
        found = here.recv()
    except EOFError:
        child.join()
        sys.exit(f"{work.__name__}{given[1:]} ended with exit code {child.exitcode}")
    child.join()
    return found


def _child(pipe: Any, work: Any, given: tuple[Any, ...]) -> None:
    seconds, result = work(*given)
    pipe.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, result))


def run_stage(shop: Path, stage: str) -> tuple[float, None]:
    from huaxiang.shop import Shop

    with Shop.open(shop) as opened:
        start = time.perf_counter()
        getattr(opened, {"profile": "profiles"}.get(stage, stage))()
        return time.perf_counter() - start, None


def run_features(shop: Path) -> tuple[float, None]:
    """The feature build alone, from the prepared events to the stored feature table."""
    from huaxiang.features.build import build_from_ready
    from huaxiang.features.ready import Span
    from huaxiang.shop import Shop

    with Shop.open(shop) as opened:
        events = opened.engine.sql(opened.lake.table("ready.events"))
        row = opened.engine.rows(
            f"SELECT count(*) AS events, count(DISTINCT user_no) AS users, min(day) AS first, max(day) AS last, min(ts) AS first_ts, max(ts) AS last_ts FROM ({events})"
        )[0]
        start = time.perf_counter()
        with opened.lake.step("build") as step:
            step.note |= opened.lake.note("build")
            build_from_ready(step, opened.settings, Span(**row), as_of=row["last"] + timedelta(days=1))
        return time.perf_counter() - start, None


def run_pandas(shop: Path) -> tuple[float, dict[str, Any]]:
    """The peer: reads the same files, computes, writes Parquet. Then (not timed) the columns of both are compared."""
    import features_pandas
    from huaxiang.shop import Shop

    with Shop.open(shop) as opened:
        files = opened.lake.files("ready.events")
        as_of = date.fromisoformat(opened.lake.note("build")["as_of"])
        start = time.perf_counter()
        events = features_pandas.read_events(files)
        found, lists = features_pandas.build_features(events, (as_of - date(1970, 1, 1)).days)
        found.to_parquet(shop / "pandas.parquet")
        for name, table in lists.items():
            table.rename(columns=str).to_parquet(shop / f"pandas-{name}.parquet")
        seconds = time.perf_counter() - start
        return seconds, compare(opened, found, lists)


def compare(opened: Any, found: Any, lists: dict[str, Any]) -> dict[str, Any]:
    """How many columns of both are equal (1e-6 relative, absent = absent), which are not, and which only huaxiang has.

    lists: the columns that hold several numbers a user: top_… one row a user and key, …_hist one column a place.
    """
    import numpy as np

    users = opened.engine.sql(opened.lake.table("ready.users"))
    ours = (
        opened.engine.arrow(
            f"SELECT u.user_no, f.* EXCLUDE (user_id, as_of) FROM ({opened.engine.sql(opened.lake.table('features'))}) f JOIN ({users}) u USING (user_id) ORDER BY user_no"
        )
        .to_pandas()
        .set_index("user_no")
    )
    both = found.index.intersection(ours.index)
    share = {}
    for name in ours.columns.intersection(found.columns):
        mine, theirs = ours.loc[both, name], found.loc[both, name]
        if mine.dtype.kind in "if":
            one, other = mine.to_numpy(float), theirs.to_numpy(float)
            same = np.isclose(one, other, rtol=1e-6, atol=1e-9) | (np.isnan(one) & np.isnan(other))
        else:
            same = ((mine == theirs) | (mine.isna() & theirs.isna())).to_numpy()
        share[name] = float((~same).mean())
    for name, table in lists.items():
        mine = ours.loc[both, name].dropna()
        if name.endswith("_hist"):
            same = np.isclose(np.stack(mine.to_numpy()), table.loc[mine.index].to_numpy(), atol=1e-6)
        else:
            theirs = table.groupby("user_no")["share"].agg(list).reindex(mine.index)
            same = [
                np.allclose([top["share"] for top in one], other, atol=1e-6)
                for one, other in zip(mine, theirs, strict=True)
            ]
        share[name] = float(1 - np.mean(same))
    return {
        "columns": sum(not differing for differing in share.values()),
        "differing": {name: differing for name, differing in share.items() if differing},
        "only_ours": sorted(set(ours.columns) - set(share)),
    }


if __name__ == "__main__":
    main()
