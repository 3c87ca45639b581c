"""Several next-item models as one: a weighed sum of what each says in logarithms, the weights chosen on validation questions.

Each model's scores become shares of the customer's attention: softmax where they are logits, else score / sum. A share of zero
counts as `floor`. The weights are found by going up one coordinate after the other on NDCG@10 over the candidates that any of the
models lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from huaxiang.models.next_item.base import Scorer
from huaxiang.models.next_item.ranking import AT_ONCE, Ranks, best, rank_targets
from huaxiang.models.next_item.sequences import Floats, Ints, Sequences
from huaxiang.models.next_item.splits import Questions

CANDIDATES = 100
LEAST = 10  # questions that weights are found on, at least
STEPS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5)
FLOORS = (1e-5, 1e-4, 1e-3)


def shares(model: Scorer, history: Sequences) -> Floats:
    """(B, V) float32 the share each item has of the model's scores."""
    scores = np.asarray(model.score(history), dtype=np.float32)
    if getattr(model, "logits", False):
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    else:
        scores = np.maximum(scores, 0.0)
    return np.asarray(scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-12))


def weighed(share: Floats, weight: float, floor: float) -> Floats:
    """weight · log(share + floor), the logarithm taken only where there is a share."""
    has = share > 0
    if has.mean() > 0.5:
        return np.asarray(np.float32(weight) * np.log(share + np.float32(floor)))
    found = np.full(share.shape, weight * np.log(floor), dtype=np.float32)
    found[has] = np.float32(weight) * np.log(share[has] + np.float32(floor))
    return found


@dataclass(frozen=True)
class Fusion:
    """parts: fitted models; weights and floors: one each."""

    parts: tuple[Scorer, ...]
    weights: tuple[float, ...]
    floors: tuple[float, ...]

    def score(self, history: Sequences) -> Floats:
        found: Floats | None = None
        for part, weight, floor in zip(self.parts, self.weights, self.floors, strict=True):
            if not weight:
                continue
            said = weighed(shares(part, history), weight, floor)
            found = said if found is None else np.add(found, said, out=found)
        assert found is not None
        return found


def fit_fusion(parts: Sequence[Scorer], valid: Questions, items: int, *, masked: bool = True) -> tuple[Fusion, float]:
    """The fusion of `parts` that does best on `valid`, and its NDCG@10 there among the candidates.

    masked: whether what a customer had already is out of the question
    """
    seen = _candidates(parts, valid, items, masked)
    weights, floors = [1.0] + [0.3] * (len(parts) - 1), [1e-4] * len(parts)
    reached = _ndcg(seen, weights, floors)
    for _ in range(3):
        before = reached
        for place in range(len(parts)):
            for weight in STEPS:
                for floor in FLOORS:
                    tried = (
                        [*weights[:place], weight, *weights[place + 1 :]],
                        [*floors[:place], floor, *floors[place + 1 :]],
                    )
                    if any(tried[0]) and (found := _ndcg(seen, *tried)) > reached:
                        reached, (weights, floors) = found, tried
        if reached == before:
            break
    return Fusion(tuple(parts), tuple(weights), tuple(floors)), reached


def cross_ranks(parts: Sequence[Scorer], valid: Questions, items: int, *, masked: bool = True) -> Ranks | None:
    """How a fusion ranks whose weights were found on the other half of the questions: what was weighed on a question says nothing of how
    well it does there. None where there are too few."""
    if len(valid) < 2 * LEAST:
        return None
    half = np.arange(len(valid)) % 2
    sides = []
    for side in (0, 1):
        fitted, _ = fit_fusion(parts, valid.take(np.flatnonzero(half != side)), items, masked=masked)
        sides.append(rank_targets(fitted.score, valid.take(np.flatnonzero(half == side)), items))
    order = np.argsort(np.concatenate([np.flatnonzero(half == side) for side in (0, 1)]))
    rank, unmasked, top = (
        np.concatenate([getattr(one, name) for one in sides])[order] for name in ("rank", "unmasked", "top")
    )
    return Ranks(rank, unmasked, top, sides[0].ms_per_user)


def gains(fused: Ints, single: Ints) -> bool:
    """Whether the ranks of a fusion are better than those of one model by more than the standard error of their NDCG@10's difference."""

    def ndcg(rank: Ints) -> Floats:
        return np.where(rank <= 10, 1 / np.log2(rank + 1), 0.0)

    more = ndcg(fused) - ndcg(single)
    return bool(len(more) > 1 and more.mean() > more.std(ddof=1) / np.sqrt(len(more)))


@dataclass(frozen=True)
class _Seen:
    """shares: (models, Q, C) of the candidates; the first is the target. left: (Q, C) whether it is no repeat, nor had."""

    shares: Floats
    left: np.ndarray


def _candidates(parts: Sequence[Scorer], valid: Questions, items: int, masked: bool) -> _Seen:
    size = max(1, AT_ONCE // max(items * len(parts), 1))
    count = min(CANDIDATES, items)
    found, left = [], []
    for low in range(0, len(valid), size):
        part = valid.take(np.arange(low, min(low + size, len(valid))))
        rows = np.arange(len(part))
        every = np.stack([shares(model, part.history) for model in parts])  # (models, B, V)
        had = np.zeros(every.shape[1:], dtype=bool)
        had[part.history.user, part.history.item] = masked
        listed = [part.target[:, None]] + [best(np.where(had, -np.inf, one), count) for one in every]
        places = np.concatenate(listed, axis=1)
        kept = ~np.take_along_axis(had, places, axis=1)
        order = np.argsort(places, axis=1, kind="stable")
        ordered = np.take_along_axis(places, order, axis=1)
        repeat = np.zeros_like(kept)
        np.put_along_axis(repeat, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        kept &= ~repeat
        kept[:, 0] = ~had[rows, part.target]
        found.append(np.take_along_axis(every, np.broadcast_to(places, (len(parts), *places.shape)), axis=2))
        left.append(kept)
    return _Seen(np.concatenate(found, axis=1), np.concatenate(left))


def _ndcg(seen: _Seen, weights: Sequence[float], floors: Sequence[float]) -> float:
    total = np.zeros(seen.shares.shape[1:], dtype=np.float32)
    for share, weight, floor in zip(seen.shares, weights, floors, strict=True):
        if weight:
            total += np.float32(weight) * np.log(share + np.float32(floor))
    rank = ((total >= total[:, :1]) & seen.left).sum(axis=1)
    return float(np.where((rank <= 10) & seen.left[:, 0], 1 / np.log2(np.maximum(rank, 1) + 1), 0.0).mean())
