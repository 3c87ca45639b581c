"""Do content vectors of items help to foresee the next one? Vectors of titles, in a shop that has titles; with and without.

    python bench/content.py --data SHOP --out content.json        # 2 cores, 4,000 customers, 3,700 items: 15 minutes and the fusions'

SHOP: a folder in which `huaxiang collect`, `clean` and `build` were run. Leave-one-out; every item is ranked, what was had counts. Asked
of the behaviour model as `huaxiang train` configures it, with and without content vectors, of the content model (tags and vectors), and of
the popular; and of the fusion as `huaxiang train` makes it (behaviour, co-occurrence, the same again, popular), and of `fusion+content`, whose behaviour model
reads the vectors and which has the content model as a part; its figures on valid are of questions its weights were not found on. `plain/…`: as the shop is. `hidden/…`: a share of the items, drawn by the seed, is taken out of what is learned from, and asked
are those customers whose next item is one of them: how an item that nobody has taken yet is placed. `…/rare`: of `plain`, items taken five times at
most. valid stops the training and chooses; test is asked once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from huaxiang import Shop
from huaxiang.models.behaviour import Behaviour
from huaxiang.models.next_item.again import Again, AgainConfig
from huaxiang.models.next_item.base import Scorer
from huaxiang.models.next_item.content import Content, ContentConfig
from huaxiang.models.next_item.fusion import candidates, cross_ranks, fit_fusion
from huaxiang.models.next_item.lake import read_items, read_pieces
from huaxiang.models.next_item.neighbours import Neighbours, NeighboursConfig
from huaxiang.models.next_item.popular import Popular, PopularConfig
from huaxiang.models.next_item.ranking import Ranks, rank_targets
from huaxiang.models.next_item.sequences import Floats, Ints, Items, Sequences
from huaxiang.models.next_item.splits import Questions, Split, leave_one_out
from huaxiang.models.pretrain import configure
from huaxiang.settings import BehaviourSettings
from measure import Metrics, note, write_report

RARE = 5


def main() -> None:
    options = _options()
    with Shop.open(options.data) as shop:
        met = read_items(shop.lake, options.content)
        every, _ = next(iter(read_pieces(shop.lake, met, last=options.last)))
    items, split = met.items, leave_one_out(every)
    print(f"{len(every):,} customers, {len(items):,} items, {met.content.items:,} with a content vector", flush=True)
    values: dict[str, list[float]] = {}
    for seed in range(options.seed, options.seed + options.seeds):
        for name, asked in (("plain", split), ("hidden", hide(split, len(items), options.share, seed))):
            popularity = np.bincount(asked.train.item, minlength=len(items))
            for model, scorer, crossed in fitted(asked, items, seed):
                for part, questions in (("valid", asked.valid), ("test", asked.test)):
                    known = crossed if part == "valid" else None
                    rank = (known or rank_targets(scorer.score, questions, len(items))).unmasked
                    found = figures(rank, questions, popularity, rare=name == "plain")
                    for metric, value in found.items():
                        values.setdefault(f"{name}/{model}/{part}/{metric}", []).append(value)
                    print(
                        seed, name, model, part, len(questions), {k: round(v, 4) for k, v in found.items()}, flush=True
                    )
    metrics: Metrics = {}
    for name, several in values.items():
        note(metrics, name, several)
    write_report(options.out, question=__doc__.splitlines()[0], data=str(options.data), metrics=metrics)


def fitted(split: Split, items: Items, seed: int) -> Iterator[tuple[str, Scorer, Ranks | None]]:
    """Each model by name; of a fusion also the ranks on validation by weights found on the other half of it."""
    bare = replace(items, content=None)
    simple = {
        "neighbours": Neighbours(NeighboursConfig(window=10, keep=200)).fit(split.train, items, seed=seed),
        "again": Again(AgainConfig()).fit(split.train, items, seed=seed),
        "popular": Popular(PopularConfig()).fit(split.train, items, seed=seed),
    }
    content = Content(ContentConfig()).fit(split.train, items, seed=seed)
    for name, model in simple.items():
        yield name, model, None
    yield "content", content, None
    for suffix, known, more in (("", bare, []), ("+content", items, [content])):
        config, _ = configure(BehaviourSettings(), known, len(split.train.item))
        behaviour = Behaviour(config).fit(split.train, known, seed=seed, watch=split.valid)
        yield f"behaviour{suffix}", behaviour, None
        parts = [behaviour, *simple.values(), *more]
        seen = candidates(parts, split.valid, len(items), masked=False)
        fusion, _ = fit_fusion(parts, split.valid, len(items), masked=False, seen=seen)
        yield f"fusion{suffix}", fusion, cross_ranks(parts, split.valid, len(items), masked=False, seen=seen)


def hide(split: Split, items: int, share: float, seed: int) -> Split:
    """Without some items in what is learned from; asked only of these."""
    hidden = np.random.default_rng(seed).random(items) < share

    def without(some: Sequences) -> Sequences:
        kept = ~hidden[some.item]
        starts = np.concatenate([[0], np.cumsum(np.bincount(some.user[kept], minlength=len(some)))])
        ts, kind, price = (None if part is None else part[kept] for part in (some.ts, some.kind, some.price))
        return Sequences(starts.astype(np.int64), some.item[kept], ts, kind, price)

    def asked(some: Questions) -> Questions:
        some = some.take(np.flatnonzero(hidden[some.target]))
        return Questions(without(some.history), some.target, some.user)

    return Split("hidden", without(split.train), asked(split.valid), asked(split.test))


def figures(rank: Ints, asked: Questions, popularity: Floats, *, rare: bool) -> dict[str, float]:
    gain = np.where(rank <= 10, 1 / np.log2(rank + 1), 0.0)
    found = {
        "ndcg@10": float(gain.mean()),
        "recall@10": float((rank <= 10).mean()),
        "recall@100": float((rank <= 100).mean()),
    }
    few = popularity[asked.target] <= RARE
    return found | ({"rare/recall@100": float((rank[few] <= 100).mean())} if rare and few.any() else {})


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, required=True, help="a built shop")
    asked.add_argument("--content", choices=("title", "auto"), default="title", help="auto: the shop's own vectors")
    asked.add_argument("--last", type=int, default=60, help="events read of each customer")
    asked.add_argument("--share", type=float, default=0.1, help="of the items hidden")
    asked.add_argument("--seeds", type=int, default=2)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--out", type=Path)
    return asked.parse_args()


if __name__ == "__main__":
    main()
