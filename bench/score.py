"""How long does the behaviour model take for one customer now: 200 events, the exact best 100 of 100,000 items, one processor core?

    python bench/score.py --out score.json            # under a minute

Random weights (speed does not hang on them), sizes tiny, small and base. Metrics: SIZE/ms (forward, scores of all items, exact best
100; median of the runs) and SIZE/forward_ms, with what PyTorch alone takes for the products and the best 100 as the floor. Target: 5 ms.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from huaxiang.models.behaviour import Behaviour, BehaviourConfig, sized
from huaxiang.models.next_item.sequences import Items, Sequences
from measure import Metrics, note, write_report

ITEMS, EVENTS, BEST = 100_000, 200, 100


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--runs", type=int, default=200)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    torch.set_num_threads(1)
    chance = np.random.default_rng(options.seed)
    history = Sequences(
        np.array([0, EVENTS]),
        chance.integers(0, ITEMS, EVENTS),
        np.sort(chance.integers(10**9, 10**9 + 10**7, EVENTS)),
        chance.integers(0, 5, EVENTS),
        chance.uniform(1, 100, EVENTS),
    )
    items = Items(tuple(map(str, range(ITEMS))))
    metrics: Metrics = {}
    for size in ("tiny", "small", "base"):
        base = BehaviourConfig(kinds=True, times=True, prices=True, epochs=1, negatives=64, start="random", threads=1)
        config = replace(sized(base, size), length=EVENTS)  # type: ignore[arg-type]
        model = Behaviour(config).fit(history, items, seed=options.seed)
        every = torch.from_numpy(model.item_vectors())
        user = torch.randn(1, config.width)
        found = {
            "ms": timed(lambda model=model: model.top(history, BEST), options.runs),  # type: ignore[misc]
            "forward_ms": timed(lambda model=model: model.user_vectors(history), options.runs),  # type: ignore[misc]
            "floor_ms": timed(lambda user=user, every=every: (user @ every.T).topk(BEST), options.runs),  # type: ignore[misc]
        }
        for name, values in found.items():
            note(metrics, f"{size}/{name}", values)
        print(
            f"{size:<6}" + "".join(f"{name} {np.median(values):7.2f}   " for name, values in found.items()), flush=True
        )
    write_report(options.out, __doc__.splitlines()[0], "random", metrics, items=ITEMS, events=EVENTS, best=BEST)


def timed(work: Callable[[], object], runs: int) -> list[float]:
    for _ in range(10):
        work()
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        found.append((time.perf_counter() - start) * 1000)
    return found


if __name__ == "__main__":
    main()
