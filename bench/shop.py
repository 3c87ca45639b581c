"""The generated shop of the benchmarks: seeded, customers and items with power laws, nine months of ten kinds of events.

168,000 customers and 42,000 items at 10 million events. `make_shop` writes the files and the settings, `add_day` one more day.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

DAYS = 270
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


def make_shop(shop: Path, events: float, *, seed: int = 1, memory_gb: float = 2.0, data: Path | None = None) -> None:
    """Write events.parquet, items.parquet and huaxiang.toml into the folder `shop`.

    data: a Parquet file with the generator's columns, read instead of made-up events
    """
    from huaxiang.engine import Engine

    with Engine(memory_gb=memory_gb) as engine:
        if data is None:
            made = _events_sql(events, 0, int(events), seed=seed, day=0, days=DAYS)
            engine.run(f"COPY ({made}) TO '{shop}/events.parquet' (FORMAT parquet)")
        engine.run(f"""COPY (SELECT 'i' || range AS item_id, 'Item ' || range AS title, 'C' || range % 20 || ' > S' || range % 200 AS category,
            'Brand ' || range % 60 AS brand, 5 + range % 80 AS price FROM range({_items(events)})) TO '{shop}/items.parquet' (FORMAT parquet)""")
    text = SETTINGS.format(
        memory_gb=memory_gb,
        threads=os.cpu_count() or 2,
        events=data.resolve() if data else "events*.parquet",
        columns="\n".join(f'{name} = "{name}"' for name in COLUMNS),
    )
    (shop / "huaxiang.toml").write_text(text, encoding="utf-8")


def add_day(shop: Path, events: float, *, seed: int = 1, share: float = 0.01) -> int:
    """Write one more day of events into a file of its own: `share` as many as the shop has; gives their number."""
    from huaxiang.engine import Engine

    more = max(1, int(events * share))
    with Engine(memory_gb=1) as engine:
        made = _events_sql(events, int(events), more, seed=seed, day=DAYS, days=1)
        engine.run(f"COPY ({made}) TO '{shop}/events-next.parquet' (FORMAT parquet)")
    return more


def copy_shop(shop: Path, to: Path, *, section: str = "", rest: str = "") -> None:
    """A copy of the shop that shares its Parquet files. section: lines added to [shop]; rest: sections added."""

    def share(source: str, target: str) -> None:
        os.link(source, target) if source.endswith(".parquet") else shutil.copy2(source, target)

    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(shop, to, copy_function=share)
    settings = (to / "huaxiang.toml").read_text(encoding="utf-8")
    settings = settings.replace("[shop]\n", f"[shop]\n{section}", 1) + rest
    (to / "huaxiang.toml").write_text(settings, encoding="utf-8")


def count_rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.ParquetFile(path).metadata.num_rows)


def _users(events: float) -> int:
    return max(100, int(events * 0.0168))


def _items(events: float) -> int:
    return max(200, _users(events) // 4)


def _events_sql(events: float, first: int, count: int, *, seed: int, day: int, days: int) -> str:
    """Events number `first` and on, `count` of them, over the `days` from day number `day`, of a shop of `events` events."""
    chance = ", ".join(f"(hash(range, {seed * 31 + place}) % 1000003) / 1000003.0 AS h{place}" for place in range(8))
    base = f"SELECT range AS r, {chance} FROM range({first}, {first + count})"
    buying = "h2 >= 0.85 AND h2 < 0.95"
    return f"""SELECT 'e' || r AS event_id, 'user-' || floor({_users(events)} * pow(h0, 2.2))::BIGINT AS user_id,
        CASE WHEN h2 < .70 THEN 'view' WHEN h2 < .82 THEN 'add_to_cart' WHEN h2 < .85 THEN 'wish' WHEN h2 < .95 THEN 'purchase'
             WHEN h2 < .975 THEN 'search' WHEN h2 < .985 THEN 'review' WHEN h2 < .995 THEN 'coupon_redeem' ELSE 'refund' END AS event,
        CASE WHEN h2 < .95 OR (h2 >= .975 AND h2 < .985) OR h2 >= .995 THEN 'i' || floor({_items(events)} * pow(h1, 3))::BIGINT END AS item_id,
        CASE WHEN {buying} THEN 'o' || (r // 3) END AS order_id,
        CASE WHEN {buying} OR h2 >= .995 THEN 1 + floor(h3 * 3) END AS quantity,
        CASE WHEN {buying} OR h2 >= .995 THEN round(3 + 90 * h4 * h4, 2) END AS price,
        CASE WHEN {buying} THEN round(h5 * 4, 2) END AS discount,
        CASE WHEN h2 >= .975 AND h2 < .985 THEN 1 + floor(h3 * 5) END AS rating,
        ['web', 'app', 'store'][1 + floor(h6 * 3)::INT] AS channel, ['ios', 'android', 'pc', 'pad'][1 + floor(h4 * 4)::INT] AS device,
        TIMESTAMP '2024-01-01' + INTERVAL {day} DAY + to_seconds(floor(h7 * {days} * 86400)::BIGINT) AS ts
        FROM ({base})"""
