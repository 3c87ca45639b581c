"""Live features: how many events a second one core folds into the customers' states, and how large a state is."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from measure import Metrics, NotAvailableError, Timer, in_child, note, wait_until_quiet

MODULE = "huaxiang.features.live"
EVENTS = 200_000


def run_fold(shop: Path) -> tuple[Timer, dict[str, Any]]:
    """Folds prepared events, in the order of time, into states; gives `events` and `state_bytes` (one a customer met).

    raises: NotAvailableError where there are no live features
    """
    if find_spec(MODULE) is None:
        raise NotAvailableError(f"there is no {MODULE}")
    live = import_module(MODULE)
    from huaxiang.shop import Shop

    with Shop.open(shop) as opened:
        events = opened.engine.sql(opened.lake.table("ready.events"))
        rows = opened.engine.rows(f"SELECT * FROM ({events}) WHERE bucket < 64 ORDER BY ts, event_id LIMIT {EVENTS}")
    with Timer() as timer:
        states = fold_events(live, rows)
    return timer, {"events": len(rows), "state_bytes": states}


def fold_events(live: Any, rows: list[dict[str, Any]]) -> list[int]:
    """The bytes of each customer's state after `rows`. To be written against the module once it is there."""
    raise NotAvailableError(f"{live.__name__} is there, but bench/fold.py does not call it yet")


def measure_fold(metrics: Metrics, shop: Path, *, repeat: int, wait_s: float) -> None:
    """Adds fold_events_per_s and state_bytes_p50 to `metrics`."""
    from statistics import median

    runs = []
    try:
        for _ in range(repeat):
            wait_until_quiet(wait_s)
            runs.append(in_child(run_fold, shop))
            print(f"fold      {runs[-1]}", flush=True)
    except NotAvailableError as error:
        print(f"live fold: not available: {error}", flush=True)
        return
    note(metrics, "fold_events_per_s", [run.result["events"] / run.seconds for run in runs])
    note(metrics, "state_bytes_p50", [median(run.result["state_bytes"]) for run in runs])
