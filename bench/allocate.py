"""How fast are coupons allocated, and how near the optimum? Made-up effects of `--users` customers and `--offers` offers, a budget, caps.

    python bench/allocate.py --users 1000000 --offers 3                 # half a minute on one core

The relaxation against HiGHS on `--exact` of the same customers, and against random, propensity-first and send-to-all. The customers are
simulated: effects normal around a small mean, costs and propensities uneven.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from huaxiang.apply.market.allocate import allocate
from huaxiang.apply.market.policies import compare_policies
from measure import Metrics, Timer, note, write_report


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--users", type=int, default=1_000_000)
    asked.add_argument("--offers", type=int, default=3)
    asked.add_argument("--exact", type=int, default=3000, help="customers that HiGHS solves as well")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    found: dict[str, list[float]] = {}
    for seed in range(given.seeds):
        for name, value in measure_allocation(given.users, given.offers, given.exact, seed).items():
            found.setdefault(name, []).append(value)
    metrics: Metrics = {}
    for name, values in found.items():
        note(metrics, name, values)
        print(f"{name:28} {metrics[name]['mean']:14.5f} ± {metrics[name]['sd']:.5f}")
    write_report(
        given.out, "how fast and how well are coupons allocated?", f"simulated, {given.users} customers", metrics
    )


def measure_allocation(users: int, offers: int, exact: int, seed: int) -> dict[str, float]:
    generator = np.random.default_rng(seed)
    propensity = generator.beta(1, 8, (users, offers))
    cost = propensity * np.linspace(2, 6, offers) + 0.05  # paid when redeemed, and for sending
    value = generator.normal(0.02, 0.05, (users, offers)) * 40 - cost
    budget, limits = 0.1 * users, [users // 10] * offers
    with Timer() as timer:
        best = allocate(value, cost, budget=budget, per_user=1, limits=limits)
    _, policies = compare_policies(value, cost, propensity, budget=budget, seed=seed, limits=limits)
    few = slice(0, exact)
    small = {"budget": 0.1 * exact, "limits": [exact // 10] * offers}
    proven = allocate(value[few], cost[few], exact=exact * offers, **small)  # type: ignore[arg-type]
    relaxed = allocate(value[few], cost[few], exact=0, **small)  # type: ignore[arg-type]
    return {
        "seconds": timer.seconds,
        "core_s": timer.cpu_s,
        "peak_gb": timer.peak_gb,
        "gap": best.gap,
        "of_exact": relaxed.profit / proven.profit,
        **{f"profit_{policy.name}": policy.profit for policy in policies},
    }


if __name__ == "__main__":
    main()
