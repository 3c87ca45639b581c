"""The exam of the next item: every item is ranked, ties count against the model, and what a customer had already is masked.

For each question the model scores all V items. `masked`: items of the history get −∞ first. The rank of the target is the number
of items that score at least as much as it does (itself included), so that a model that scores all alike ranks it last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from huaxiang.errors import ModelError
from huaxiang.models.next_item.sequences import Floats, Ints, Sequences
from huaxiang.models.next_item.splits import Questions

CUTS = (5, 10, 20)
LISTED = 10  # of coverage, novelty and popularity
AT_ONCE = 8_000_000  # scores held at once: a quarter of the memory of 32 million, and as fast
HEAD = 0.01  # the share of items that count as popular

Score = Callable[[Sequences], Floats]  # histories of B users -> (B, V), float32 or float64


@dataclass(frozen=True)
class Ranks:
    """rank, unmasked: (Q,) of the target, with the history masked and without; top, unmasked_top: (Q, 10) the items listed;
    ms_per_user: milliseconds to score one user, in batches."""

    rank: Ints
    unmasked: Ints
    top: Ints
    unmasked_top: Ints
    ms_per_user: float


def rank_targets(score: Score, asked: Questions, items: int) -> Ranks:
    """Asks all questions in batches; raises ModelError for a score that is no number."""
    size = max(1, AT_ONCE // max(items, 1))
    rank, unmasked = np.zeros(len(asked), np.int64), np.zeros(len(asked), np.int64)
    listed = min(LISTED, items)
    top, unmasked_top = np.zeros((2, len(asked), listed), np.int64)
    spent = 0.0
    for low in range(0, len(asked), size):
        part = asked.take(np.arange(low, min(low + size, len(asked))))
        start = time.perf_counter()
        scores = np.array(score(part.history))
        spent += time.perf_counter() - start
        if np.isnan(scores).any():
            raise ModelError("models.next.nan")
        place = slice(low, low + len(part))
        unmasked[place], unmasked_top[place] = _rank(scores, part.target), best(scores, listed)
        scores[part.history.user, part.history.item] = -np.inf
        rank[place] = _rank(scores, part.target)
        top[place] = best(scores, listed)
    return Ranks(rank, unmasked, top, unmasked_top, spent * 1000 / max(len(asked), 1))


def best(scores: Floats, count: int) -> Ints:
    """(B, count) the items of the highest scores, highest first; of equal ones the lower code first."""
    found = np.zeros((len(scores), count), np.int64)
    for place, (row, least) in enumerate(zip(scores, _nth_greatest(scores, count), strict=True)):
        above = np.flatnonzero(row > least)
        equal = np.flatnonzero(row == least)[: count - len(above)]
        found[place] = np.sort(np.concatenate([above, equal]))
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(found, order, axis=1))


def _nth_greatest(scores: Floats, count: int) -> Floats:
    """(B,) the `count`th greatest of each row. Where many are equal, as of scores that are mostly nothing, numpy's selection takes ten
    times as long as PyTorch's."""
    if find_spec("torch") is None:
        return np.asarray(np.partition(scores, scores.shape[1] - count, axis=1)[:, scores.shape[1] - count])
    import torch

    return np.asarray(torch.topk(torch.from_numpy(np.ascontiguousarray(scores)), count, dim=1).values[:, -1].numpy())


def _rank(scores: Floats, target: Ints) -> Ints:
    own = scores[np.arange(len(target)), target]
    return np.asarray((scores >= own[:, None]).sum(axis=1), dtype=np.int64)


def measure(ranks: Ranks, popularity: Floats) -> dict[str, float]:
    """recall@k (one target: the same as the hit rate), ndcg@k, mrr@k; coverage, novelty and popular share of the lists; the same unmasked.

    popularity: (V,) training events of each item. novelty: mean −log₂ of an item's share of the training events (one event
    more given to each); popular share: of the items listed, those among the most popular hundredth.
    """
    found = {}
    share = (popularity + 1) / (popularity + 1).sum()
    head = np.zeros(len(popularity), dtype=bool)
    head[np.argsort(-popularity, kind="stable")[: max(1, round(HEAD * len(popularity)))]] = True
    for prefix, rank, top in (("", ranks.rank, ranks.top), ("unmasked_", ranks.unmasked, ranks.unmasked_top)):
        for k in CUTS:
            hit = rank <= k
            found[f"{prefix}recall@{k}"] = float(hit.mean())
            found[f"{prefix}ndcg@{k}"] = float((hit / np.log2(rank + 1)).mean())
            found[f"{prefix}mrr@{k}"] = float((hit / rank).mean())
        found[f"{prefix}coverage@{LISTED}"] = len(np.unique(top)) / len(popularity)
        found[f"{prefix}novelty@{LISTED}"] = float(-np.log2(share[top]).mean())
        found[f"{prefix}popular_share@{LISTED}"] = float(head[top].mean())
    return found
