"""Which model foresees a customer's next item best, and what does it cost?

    python bench/next_item.py --data Beauty.txt --attributes Beauty_item2attributes.json --seeds 5 --budget-min 30 --out beauty.json

Any file of the s3rec format: a line a user, `user item item …` in the order of time. Leave-one-out: the last item of each user is asked,
all items are ranked, what the user had is masked, ties count against the model; models learn from all but the last two
items, settings and the fusion's weights are chosen on the last but one. Metrics: MODEL/recall@10, MODEL/ndcg@10 (and the other cuts) for each model,
and chosen/… for the model or fusion that validation picks. `--budget-min`: after a third of it no model without a
network tries further settings, and the networks share what is then left and stop between epochs. Each model learns at least once (a network an epoch) and is asked, and the
fusion is made, however long that takes: a small budget on many customers is overrun, and the last line says by how much. With --kept, networks that an earlier run left in the folder are taken
(trained on another machine, say), and those fitted are left there. With --attributes, `fusion` may read them and `fusion_ids` may not.
`twin` is the Transformer once more, from seeds of its own: two that differ by chance alone foresee more together than one.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from huaxiang.models.behaviour import BehaviourConfig
from huaxiang.models.next_item.base import NextConfig, NextItem
from huaxiang.models.next_item.board import Row, choose, enter, fuse
from huaxiang.models.next_item.sequences import Items, read_s3rec
from huaxiang.models.next_item.splits import Split, leave_one_out
from huaxiang.models.next_item.zoo import load_next, make_next, save_next, simple_grids
from measure import Metrics, note, write_report

TWIN = 1000  # how far the twin's seeds lie from the others
TAGGED = ("content", "behaviour")  # models that read attributes


def main() -> None:
    options = _options()
    every, items = read_s3rec(options.data, options.attributes)
    split = leave_one_out(every)
    print(
        f"{len(every):,} users, {len(items):,} items, {len(every.item):,} events; {len(split.test):,} questions",
        flush=True,
    )
    seeds = [options.seed + place for place in range(options.seeds)]
    start = time.perf_counter()
    rows: dict[str, Row] = {}

    def say(text: str) -> None:
        print(f"{spent():5.1f} min  {text}", flush=True)

    def spent() -> float:
        return (time.perf_counter() - start) / 60

    for name, grid in simple_grids(split.train, items).items():
        if not options.models or name in options.models:
            own = seeds if name == "als" else seeds[:1]
            rows[name] = enter(
                name, grid, split, items, seeds=own, more=lambda: spent() < options.budget_min / 3, done=say
            )
    nets = {
        name: replace(one, threads=options.threads, device=options.device)
        for name, one in networks(options.attributes is not None).items()
    }
    asked = [name for name in nets if not options.models or name in options.models]
    for place, name in enumerate(asked):
        left = options.budget_min - spent()
        minutes = max(0.9 * left / (len(seeds) * (len(asked) - place)), 0.1)  # a tenth for the exam and the fusion
        own = [seed + TWIN for seed in seeds] if name == "twin" else seeds
        config = replace(nets[name], minutes=minutes)
        fit = partial(kept_or_fitted, options.kept / name, split, items) if options.kept else None
        rows[name] = enter(name, (config,), split, items, seeds=own, fit=fit, done=say)
    parts = {name: row for name, row in rows.items() if name in options.fuse}
    by_ids = {name: row for name, row in parts.items() if name not in TAGGED}
    fused = {"fusion": parts} | ({"fusion_ids": by_ids} if len(by_ids) < len(parts) else {})
    with ThreadPoolExecutor() as pool:  # most of it is numpy's and torch's work, side by side
        made = {
            name: pool.submit(fuse, some, split, items, rivals=list(rows.values()), name=name, done=say)
            for name, some in fused.items()
            if len(some) > 1
        }
        rows |= {name: one.result() for name, one in made.items()}
    report(rows, options)
    over = spent() - options.budget_min
    print(
        f"{spent():.1f} min of {options.budget_min:g}" + (f": {over:.1f} min more than the budget" if over > 0 else "")
    )


def kept_or_fitted(home: Path, split: Split, items: Items, config: NextConfig, seed: int) -> tuple[NextItem, float]:
    """The network of a seed under `home`, if it is there with these settings, else fitted and left there."""
    folder = home / str(seed)
    taken = ("threads", "device", "minutes")  # of a run, not of the model
    if (folder / "seconds").exists():
        model = load_next(folder)
        said, wanted = (
            {name: value for name, value in asdict(one).items() if name not in taken} for one in (model.config, config)
        )
        if said != wanted:
            raise SystemExit(f"{folder} holds a network of other settings: {said}, wanted {wanted}")
        return model, float((folder / "seconds").read_text())
    start = time.perf_counter()
    model = make_next(config).fit(split.train, items, seed=seed, watch=split.valid)
    took = time.perf_counter() - start
    save_next(model, folder)
    (folder / "seconds").write_text(str(took))
    return model, took


def networks(tags: bool) -> dict[str, BehaviourConfig]:
    """The networks of the zoo, with the settings found on validation (bench/log.md)."""
    base = BehaviourConfig(width=128, negatives=1024, rate=2e-3, decay=True, epochs=20)
    direct = replace(base, direct=3, epochs=6, input_dropout=0.5)
    found = {"gru": replace(base, encoder="gru", layers=1), "cnn": replace(base, encoder="cnn"), "transformer": base}
    return (
        found | {"twin": base, "direct": direct} | ({"behaviour": replace(direct, tags=True, epochs=8)} if tags else {})
    )


def report(rows: dict[str, Row], options: argparse.Namespace) -> None:
    metrics: Metrics = {}
    print(
        f"\n{'':<14}{'valid N@10':>11}{'R@10':>8}{'N@10':>8}{'± sd':>8}{'unm. N@10':>11}{'cover':>7}{'pop.':>6}{'s':>8}{'MB':>7}{'ms':>7}"
    )
    for name, row in sorted(rows.items(), key=lambda one: -one[1].mean("ndcg@10", "valid")):
        for metric, values in row.test.items():
            note(metrics, f"{name}/{metric}", values)
        note(metrics, f"{name}/valid_ndcg@10", row.valid["ndcg@10"])
        note(metrics, f"{name}/fit_s", row.seconds)
        note(metrics, f"{name}/bytes", [row.bytes])
        note(metrics, f"{name}/ms_per_user", [row.ms_per_user])
        sd = float(np.std(row.test["ndcg@10"], ddof=1)) if len(row.test["ndcg@10"]) > 1 else 0.0
        print(
            f"{name:<14}{row.mean('ndcg@10', 'valid'):>11.4f}{row.mean('recall@10'):>8.4f}{row.mean('ndcg@10'):>8.4f}{sd:>8.4f}"
            f"{row.mean('unmasked_ndcg@10'):>11.4f}{row.mean('coverage@10'):>7.2f}{row.mean('popular_share@10'):>6.2f}"
            f"{float(np.mean(row.seconds)):>8.1f}{row.bytes / 1e6:>7.1f}{row.ms_per_user:>7.2f}"
        )
    best = choose(list(rows.values()))
    for metric, values in best.test.items():
        note(metrics, f"chosen/{metric}", values)
    print(f"validation picks {best.name}")
    settings: dict[str, Any] = {
        name: asdict(row.config)
        if row.config is not None
        else [{"weights": one.weights, "floors": one.floors} for one in row.models]
        for name, row in rows.items()
    }
    write_report(options.out, __doc__.splitlines()[0], options.data.name, metrics, chosen=best.name, settings=settings)


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--attributes", type=Path)
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--seed", type=int, default=1, help="the first seed")
    asked.add_argument("--budget-min", type=float, default=30)
    asked.add_argument("--threads", type=int, default=2, help="of each network")
    asked.add_argument(
        "--kept", type=Path, help="folder of networks: those there are taken, those fitted are left there"
    )
    asked.add_argument("--device", default="cpu", help="where the networks learn: cpu, cuda")
    asked.add_argument("--models", type=lambda text: text.split(","), default=[])
    asked.add_argument(
        "--fuse",
        type=lambda text: text.split(","),
        default=["content", "neighbours", "ease", "transformer", "twin", "direct", "behaviour"],
    )
    asked.add_argument("--out", type=Path)
    return asked.parse_args()


if __name__ == "__main__":
    main()
