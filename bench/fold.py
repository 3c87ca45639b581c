"""Live features: how many events a second one core folds into the customers' states in SQLite, and how large a state is.

The whole way is timed: raw events as Arrow, the item's category and the local time looked up, each event folded, states read from
and written to SQLite, batch by batch in the order of time. A thirty-second of the customers, with all their events.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from measure import Metrics, Timer, in_child, note, wait_until_quiet

BUCKETS = 32
BATCH = 20_000
BATCHES = 5  # written together
COLUMNS = "event_id, user_id, session_id, event, item_id, order_id, quantity, price, amount, discount, coupon_id, rating, channel, device, ts, known_at AS received_at"


def run_fold(shop: Path) -> tuple[Timer, dict[str, Any]]:
    """Gives `events`, `features`, and `state_bytes` (one a customer)."""
    from huaxiang.features.live import Fold, live_features
    from huaxiang.features.live.store import LiveStore
    from huaxiang.features.mine import declared_features
    from huaxiang.shop import Shop

    path = shop / "bench-live.db"
    with Shop.open(shop) as opened:
        engine, note_of = opened.engine, opened.lake.note("build")
        engine.run("SET threads = 1")
        ready = engine.sql(opened.lake.table("ready.events"))
        events = engine.arrow(f"SELECT {COLUMNS} FROM ({ready}) WHERE bucket < {BUCKETS} ORDER BY ts, event_id")
        features = live_features(declared_features(opened.settings.features, note_of["categories"], sells=True))
        items = engine.sql(opened.lake.table("ready.items"))
        try:
            with LiveStore(path, Fold(features), engine, items=items) as store:
                with Timer() as timer:
                    for number, start in enumerate(range(0, events.num_rows, BATCH), start=1):
                        store.apply(events.slice(start, BATCH), offset=start, flush=number % BATCHES == 0)
                    store.flush()
                sizes = store.sizes()
        finally:
            for left in shop.glob("bench-live.db*"):
                left.unlink()
    return timer, {"events": events.num_rows, "features": len(features), "state_bytes": sizes}


def measure_fold(metrics: Metrics, shop: Path, *, repeat: int, wait_s: float) -> None:
    """Adds fold_events_per_s (by the clock), fold_events_per_core_s and state_bytes_p50 to `metrics`."""
    runs = []
    for _ in range(repeat):
        wait_until_quiet(wait_s)
        runs.append(in_child(run_fold, shop))
        print(f"fold      {runs[-1]}", flush=True)
    note(metrics, "fold_events_per_s", [run.result["events"] / run.seconds for run in runs])
    note(metrics, "fold_events_per_core_s", [run.result["events"] / run.cpu_s for run in runs])
    note(metrics, "state_bytes_p50", [median(run.result["state_bytes"]) for run in runs])
    note(metrics, "fold_features", [run.result["features"] for run in runs])
