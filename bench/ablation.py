"""What each part of the behaviour model is worth: one change at a time, the next item, all items ranked.

    python bench/ablation.py --data Beauty.txt --attributes Beauty_item2attributes.json --seeds 3 --out ablation.json
    python bench/ablation.py --shop demo-shop --last 60 --seeds 3 --out ablation-shop.json

A file of the s3rec format, the folder of ML-100k (ratings as types of events, with times and genres), or a built shop (its events have types, times and prices, its items categories and brands). Leave-one-out;
what was had is masked in a file, and counts in a shop, where people buy again. Every variant is the base with one change, trained from
the same seeds, `--jobs` trainings side by side; `difference` is of NDCG@10 on validation, seed by seed, with its standard deviation. The test is printed beside it and
chooses nothing. `shuffled` is the base on histories in random order: what it loses is what the order tells.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from huaxiang.models.behaviour import Behaviour, BehaviourConfig
from huaxiang.models.next_item.ranking import rank_targets
from huaxiang.models.next_item.sequences import Items, Sequences, read_s3rec
from huaxiang.models.next_item.splits import Questions, Split, leave_one_out
from measure import Metrics, note, write_report
from user_vector import read as read_ml100k

BASE = "base"
_DATA: tuple[Split, Items]  # of a process that trains


def main() -> None:
    options = _options()
    every, items = _read(options)
    split = leave_one_out(every)
    print(
        f"{len(every):,} users, {len(items):,} items, {len(every.item):,} events; {len(split.test):,} questions",
        flush=True,
    )
    base = BehaviourConfig(
        width=options.width, negatives=1024, rate=2e-3, decay=True, epochs=options.epochs, repeats=options.shop is not None,
        threads=options.threads, device=options.device,
    )  # fmt: skip
    metrics: Metrics = {}
    reached: dict[str, list[float]] = {}
    print(f"{'':<22}{'valid N@10':>11}{'difference':>12}{'± sd':>8}{'test N@10':>11}{'R@10':>8}{'s':>7}")
    asked = {
        name: config
        for name, config in variants(base, every, items).items()
        if not options.only or name in (BASE, *options.only)
    }
    seeds = range(1, options.seeds + 1)
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), _ready, (split, items)) as pool:
        told = {(name, seed): pool.submit(_one, name, config, seed) for name, config in asked.items() for seed in seeds}
        for name in asked:
            found = [told[name, seed].result() for seed in seeds]
            reached[name] = [one["valid_ndcg@10"] for one in found]
            apart = np.subtract(reached[name], reached[BASE])
            sd = float(np.std(apart, ddof=1)) if len(apart) > 1 else 0.0
            mean = {metric: float(np.mean([one[metric] for one in found])) for metric in found[0]}
            print(
                f"{name:<22}{mean['valid_ndcg@10']:>11.4f}{np.mean(apart):>+12.4f}{sd:>8.4f}"
                f"{mean['ndcg@10']:>11.4f}{mean['recall@10']:>8.4f}{mean['fit_s']:>7.0f}",
                flush=True,
            )
            for metric in found[0]:
                note(metrics, f"{name}/{metric}", [one[metric] for one in found])
    source = options.shop or options.data
    write_report(options.out, __doc__.splitlines()[0], source.name, metrics, width=options.width, epochs=options.epochs)


def _ready(split: Split, items: Items) -> None:
    """What a process that trains knows of the data."""
    global _DATA
    _DATA = split, items


def _one(name: str, config: BehaviourConfig, seed: int) -> dict[str, float]:
    """One training and what it reaches."""
    split, items = _DATA
    asked = shuffled(split, seed) if name == "shuffled" else split
    start = time.perf_counter()
    model = Behaviour(config).fit(asked.train, items, seed=seed, watch=asked.valid)
    found = {"fit_s": time.perf_counter() - start}
    for of, questions in (("valid_", asked.valid), ("", asked.test)):
        ranks = rank_targets(model.score, questions, len(items))
        rank = ranks.unmasked if config.repeats else ranks.rank
        found[f"{of}ndcg@10"] = float(((rank <= 10) / np.log2(rank + 1)).mean())
        found[f"{of}recall@10"] = float((rank <= 10).mean())
    return found


def variants(base: BehaviourConfig, every: Sequences, items: Items) -> dict[str, BehaviourConfig]:
    """The base, and each change to it that the data can feed."""
    found = {
        BASE: base,
        "shuffled": base,
        "full softmax": replace(base, negatives=0),
        "random start": replace(base, start="random"),
        "plain products": replace(base, temperature=0.0),
        "label smoothing .1": replace(base, smoothing=0.1),
        "hstu": replace(base, encoder="hstu"),
        "gru": replace(base, encoder="gru", layers=1),
        "cnn": replace(base, encoder="cnn"),
        "direct 3": replace(base, direct=3),
        "window 3": replace(base, window=3),
        "contrast .1": replace(base, contrast=0.1),
    }
    if items.tags is not None:
        found["tags"] = replace(base, tags=True)
        found["tags with id dropout .1"] = replace(base, tags=True, id_dropout=0.1)
    carried = {"kinds": every.kind is not None, "times": every.ts is not None, "prices": every.price is not None}
    known = {name: True for name, has in carried.items() if has}
    found |= {name: replace(base, **{name: True}) for name in known}
    told = {"kind": every.kind is not None, "gap": every.ts is not None} | dict.fromkeys(items.groups, True)
    found |= {f"foresees {name}": replace(base, also=(name,)) for name, has in told.items() if has}
    if known and items.tags is not None:
        found["all that is known"] = replace(base, tags=True, id_dropout=0.1, **known)
    return found


def shuffled(split: Split, seed: int) -> Split:
    """The same with every history, learned from or asked about, in random order."""
    chance = np.random.default_rng(seed)

    def mixed(some: Sequences) -> Sequences:
        order = np.lexsort((chance.random(len(some.item)), some.user))

        def part(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[order]

        return Sequences(some.starts, some.item[order], some.ts, part(some.kind), part(some.price))

    def asked(some: Questions) -> Questions:
        return Questions(mixed(some.history), some.target, some.user)

    return Split(split.name, mixed(split.train), asked(split.valid), asked(split.test))


def _read(options: argparse.Namespace) -> tuple[Sequences, Items]:
    if options.shop is None and options.data.is_dir():
        every, items, *_ = read_ml100k(options.data)
        return every, items
    if options.shop is None:
        return read_s3rec(options.data, options.attributes)
    from huaxiang import Shop
    from huaxiang.models.next_item.lake import read_items, read_pieces

    with Shop.open(options.shop) as shop:
        met = read_items(shop.lake)
        return next(iter(read_pieces(shop.lake, met, last=options.last)))[0], met.items


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = asked.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path)
    source.add_argument("--shop", type=Path, help="a built shop")
    asked.add_argument("--attributes", type=Path)
    asked.add_argument("--last", type=int, default=60, help="events read of each of the shop's customers")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--width", type=int, default=64)
    asked.add_argument("--epochs", type=int, default=10)
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    asked.add_argument("--device", default="cpu", help="where they learn: cpu, cuda")
    asked.add_argument("--only", type=lambda text: text.split(","), default=[])
    asked.add_argument("--out", type=Path)
    return asked.parse_args()


if __name__ == "__main__":
    main()
