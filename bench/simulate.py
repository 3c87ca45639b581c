"""How long does the simulated shop take to make, and what does it look like?

    python bench/simulate.py --users 90000 --out simulate.json      # 10 M events; 1 to 2 minutes on 2 cores

Prints the marginal distributions once (how often items are bought, who buys again, days, hours, stars), so that one sees whether
it looks like a shop; runs twice where --twice is given and compares the files' bytes. The peer is the plain generator of bench/shop.py:
independent draws in DuckDB, no structure, for as many events.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path
from typing import Any

from huaxiang.engine import Engine
from measure import Metrics, Timer, in_child, note, write_report

SEEN = {
    "share of order lines by popularity: 1 %, 10 %, 50 % of items": """
        WITH s AS (SELECT sku, count(*) AS n FROM orders GROUP BY sku), r AS (SELECT n, percent_rank() OVER (ORDER BY n DESC) AS place FROM s)
        SELECT round(sum(n) FILTER (place <= .01) / sum(n), 3), round(sum(n) FILTER (place <= .1) / sum(n), 3), round(sum(n) FILTER (place <= .5) / sum(n), 3) FROM r""",
    "orders a buyer: 10th, 50th, 90th, 99th percentile": """
        SELECT quantile_cont(n, .1), quantile_cont(n, .5), quantile_cont(n, .9), quantile_cont(n, .99)
        FROM (SELECT uid, count(DISTINCT order_no) AS n FROM orders WHERE uid IS NOT NULL GROUP BY uid)""",
    "pairs of buyer and item bought more than once": """
        SELECT round(avg((n > 1)::INT), 3) FROM (SELECT count(DISTINCT order_no) AS n FROM orders WHERE uid IS NOT NULL GROUP BY uid, sku)""",
    "orders of sessions; known acts; guests' order lines": """
        SELECT round((SELECT count(DISTINCT order_no) FROM orders) / count(DISTINCT sid), 3), round(avg((uid IS NOT NULL)::INT), 3),
        (SELECT round(avg((uid IS NULL)::INT), 3) FROM orders) FROM clicks""",
    "share of acts, Monday to Sunday": """
        SELECT list(share ORDER BY d) FROM (SELECT isodow(ts + INTERVAL 8 HOUR) AS d, round(count(*) / sum(count(*)) OVER (), 3) AS share FROM clicks GROUP BY d)""",
    "share of acts, hours 0, 4, 8, 12, 16, 20": """
        SELECT list(share ORDER BY h) FILTER (h % 4 = 0) FROM (SELECT hour(ts + INTERVAL 8 HOUR) AS h, round(count(*) / sum(count(*)) OVER (), 3) AS share FROM clicks GROUP BY h)""",
    "reviews of one to five stars; refunds of order lines": """
        SELECT list(share ORDER BY stars), (SELECT round((SELECT count(*) FROM refunds) / count(*), 3) FROM orders)
        FROM (SELECT stars, round(count(*) / sum(count(*)) OVER (), 3) AS share FROM reviews GROUP BY stars)""",
}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--users", type=int, default=90_000)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--data", type=Path, help="keep the shop here (default: a temporary folder)")
    words.add_argument("--twice", action="store_true", help="make it twice and compare the bytes")
    words.add_argument("--out", type=Path)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as temp:
        folder, metrics = given.data or Path(temp) / "shop", Metrics()
        made = in_child(make, folder, given.users, given.seed)
        events = sum(made.result[f"data/{name}"] for name in ("clicks", "orders", "refunds", "reviews", "exposures"))
        print(f"huaxiang  {made}  {events:,} events, {events / made.seconds:,.0f} a second")
        note(metrics, "seconds", [made.seconds])
        note(metrics, "peak_gb", [made.peak_gb])
        note(metrics, "events", [float(events)])
        plain = in_child(make_plain, Path(temp), events)
        print(f"plain     {plain}  {events:,} events without structure")
        note(metrics, "seconds_plain", [plain.seconds])
        if given.twice:
            again = Path(temp) / "again"
            in_child(make, again, given.users, given.seed)
            same = hash_files(folder) == hash_files(again)
            print("the same bytes twice" if same else "TWO RUNS DIFFER")
            note(metrics, "same_bytes", [float(same)])
        show(folder)
    write_report(
        given.out, "how long does the simulated shop take", f"{given.users} customers, seed {given.seed}", metrics
    )


def make(folder: Path, users: int, seed: int) -> tuple[Timer, dict[str, int]]:
    from huaxiang.demo.simulated.make import make_shop
    from huaxiang.demo.simulated.world import World

    with Timer() as timer:
        rows = make_shop(folder, World(users=users, seed=seed))
    return timer, rows


def make_plain(folder: Path, events: int) -> tuple[Timer, Any]:
    from shop import make_shop

    (folder / "plain").mkdir()
    with Timer() as timer:
        make_shop(folder / "plain", events)
    return timer, None


def hash_files(folder: Path) -> dict[str, str]:
    paths = sorted(folder.glob("*/*.parquet"))
    return {f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def show(folder: Path) -> None:
    with Engine(memory_gb=1.5) as engine:
        for name in ("orders", "clicks", "reviews", "refunds"):
            engine.run(f"CREATE VIEW {name} AS FROM '{folder}/data/{name}.parquet'")
        for what, query in SEEN.items():
            print(f"{what}: {', '.join(str(value) for value in engine.rows(query)[0].values())}")


if __name__ == "__main__":
    main()
