"""Does a coupon plan earn what the shop expects of it, and how often does the 95 % interval hold the truth?

    python bench/expected.py --users 2000 --seeds 41 42 43 44 45 46 --out expected.json     # 2 minutes a seed on 2 cores
    python bench/expected.py --data shop1 shop2                                             # simulated shops that have been built

Simulated shops, whose true effects are known: coupons, costs, margin and budget of bench/decisions.py. The same is asked of the same
budget spent at random, on the likeliest buyers, and of sending to all. Nothing but the build is needed: no model of outcomes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decisions_market import BUDGET, weigh_coupons
from huaxiang.apply.market.allocate import allocate
from huaxiang.apply.market.policies import plain_policies
from huaxiang.demo import open_demo
from huaxiang.demo.simulated.truth import read_truth
from huaxiang.shop import Shop
from measure import Metrics, note, write_report

Figures = dict[str, list[float]]


@contextmanager
def made_shop(users: int, seed: int) -> Iterator[Shop]:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_demo(Path(folder), shop="simulated", users=users, seed=seed) as shop,
    ):
        shop.collect()
        shop.clean()
        shop.build()
        yield shop


def measure(shop: Shop, name: str, figures: Figures) -> None:
    """A line a policy: expected, its interval, and true by the customers who buy because of it (what tests count) and by orders."""
    found, real = weigh_coupons(shop, read_truth(shop.folder))
    budget = BUDGET * float(found.cost.max(axis=1).sum())
    plans = {"optimal": allocate(found.profit, found.cost, budget=budget).given}
    plans |= plain_policies(found.profit, found.cost, found.likely, budget=budget, seed=1)
    null = ", ".join(filter(None, shop.lake.note("uplift").get("null", []))) or "-"
    slopes = ", ".join(f"{one:.2f} {two:.2f}" for one, two in zip(found.worth.below, found.worth.above, strict=True))
    print(f"{name}: {len(real.cost)} customers; null rankings: {null}; below and above: {slopes}")
    for policy, given in plans.items():
        expected, orders, earned, cost, paid = (
            float(of[given].sum())
            for of in (found.profit, real.profit(real.orders), real.profit(real.buyers), found.cost, real.cost)
        )
        low, high = found.interval(given)
        print(
            f"  {policy:<11} {expected:9.0f} [{low:7.0f}, {high:7.0f}] true {earned:9.0f}, by orders {orders:9.0f}; costs {cost:6.0f}, true {paid:6.0f} {'' if low <= earned <= high else 'outside'}"
        )
        said = {
            "expected": expected,
            "low": low,
            "high": high,
            "true": earned,
            "true_by_orders": orders,
            "cost": cost,
            "true_cost": paid,
            "covered": float(low <= earned <= high),
        }
        for what, value in said.items():
            figures[f"{policy}_{what}"].append(value)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, nargs="+", default=[], help="simulated shops that have been built")
    words.add_argument("--users", type=int, default=2000, help="of each shop that is made")
    words.add_argument("--seeds", type=int, nargs="+", default=[41, 42, 43, 44, 45, 46])
    words.add_argument("--out", type=Path)
    given = words.parse_args()
    figures: Figures = defaultdict(list)
    for folder in given.data:
        with Shop.open(folder) as shop:
            measure(shop, folder.name, figures)
    for seed in given.seeds if not given.data else []:
        with made_shop(given.users, seed) as shop:
            measure(shop, f"seed {seed}", figures)
    metrics: Metrics = {}
    for name, values in figures.items():
        note(metrics, name, values)
        print(f"{name:<22} {metrics[name]['mean']:9.2f}")
    write_report(given.out, "does a coupon plan earn what is expected of it", str(given.data or given.seeds), metrics)


if __name__ == "__main__":
    main()
