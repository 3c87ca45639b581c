"""How long decisions take, each by the function of its own benchmark: audiences, coupons, lists; each with its process's peak memory."""

from __future__ import annotations

from allocate import measure_allocation
from audience import measure_audiences
from measure import Metrics, Timer, in_child, note
from recommend import measure_lists

OFFERS, EXACT = 3, 3000
SEEDS = 3  # of the allocation: effects drawn anew


def measure_speeds(customers: int, listed: int, seed: int) -> Metrics:
    """audience/…, allocation/… and lists/…: seconds and peak_gb. customers: of audiences and allocation; listed: of the lists, and items"""
    metrics: Metrics = {}
    found = measure_audiences(customers, customers * 10, 3, seed)
    metrics |= {f"audience/{name}": figure for name, figure in found.items()}
    runs = [in_child(allocate_once, customers, seed + number) for number in range(SEEDS)]
    for name in ("seconds", "core_s", "gap"):
        note(metrics, f"allocation/{name}", [run.result[name] for run in runs])
    note(metrics, "allocation/peak_gb", [run.peak_gb for run in runs])
    print(f"allocation of {customers:,}: " + ", ".join(f"{run.result['seconds']:.1f} s" for run in runs), flush=True)
    lists = in_child(list_once, listed, seed)
    metrics |= {f"lists/{name}": figure for name, figure in lists.result.items()}
    for name, figure in metrics.items():
        print(f"{name:<40}{figure.get('median', figure['mean']):12.3f}")
    return metrics


def allocate_once(customers: int, seed: int) -> tuple[Timer, dict[str, float]]:
    with Timer() as timer:
        found = measure_allocation(customers, OFFERS, min(EXACT, customers), seed)
    return timer, found


def list_once(listed: int, seed: int) -> tuple[Timer, Metrics]:
    with Timer() as timer:
        found = measure_lists(listed, listed, seed)
    return timer, found
