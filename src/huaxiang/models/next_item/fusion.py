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

CANDIDATES = 100  # of each part and question; fewer where many parts are asked many questions
HELD = 100_000_000  # shares of candidates held at once, about: 0.4 GB
LEAST = 10  # questions that weights are found on, and candidates of each part, at least
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
class Seen:
    """What the parts say of the items that any of them lists. shares: (models, Q, C), the first is the target; left: (Q, C) whether it is no
    repeat, nor had."""

    shares: Floats
    left: np.ndarray

    def take(self, questions: Ints) -> Seen:
        return Seen(self.shares[:, questions], self.left[questions])

    def said(self, place: int, floor: float) -> Floats:
        """(Q, C) the logarithm of a part's shares."""
        return np.asarray(np.log(self.shares[place] + np.float32(floor)))

    def ndcg(self, total: Floats) -> float:
        """NDCG@10 of the targets when the candidates score `total` (Q, C)."""
        rank = ((total >= total[:, :1]) & self.left).sum(axis=1)
        return float(np.where((rank <= 10) & self.left[:, 0], 1 / np.log2(np.maximum(rank, 1) + 1), 0.0).mean())


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


def fit_fusion(
    parts: Sequence[Scorer], valid: Questions, items: int, *, masked: bool = True, seen: Seen | None = None
) -> tuple[Fusion, float]:
    """The fusion of `parts` that does best on `valid`, and its NDCG@10 there among the candidates.

    masked: whether what a customer had already is out of the question; seen: what `candidates` gave of the same, where it is at hand
    """
    seen = candidates(parts, valid, items, masked=masked) if seen is None else seen
    weights, floors = [1.0] + [0.3] * (len(parts) - 1), [1e-4] * len(parts)
    total: Floats = np.zeros(seen.left.shape, np.float32)
    for place, weight in enumerate(weights):
        total += seen.said(place, floors[place]) * np.float32(weight)
    reached = seen.ndcg(total)
    for _ in range(3):
        before = reached
        for place in range(len(parts)):
            others = total - seen.said(place, floors[place]) * np.float32(weights[place])
            alone = not any(weights[:place] + weights[place + 1 :])
            for floor in FLOORS:
                said = seen.said(place, floor)
                for weight in STEPS:
                    if alone and not weight:
                        continue
                    tried = others + said * np.float32(weight)
                    if (found := seen.ndcg(tried)) > reached:
                        reached, total, weights[place], floors[place] = found, tried, weight, floor
        if reached == before:
            break
    return Fusion(tuple(parts), tuple(weights), tuple(floors)), reached


def cross_ranks(
    parts: Sequence[Scorer], valid: Questions, items: int, *, masked: bool = True, seen: Seen | None = None
) -> Ranks | None:
    """How a fusion ranks whose weights were found on the other half of the questions: what was weighed on a question says nothing of how
    well it does there. None where there are too few."""
    if len(valid) < 2 * LEAST:
        return None
    seen = candidates(parts, valid, items, masked=masked) if seen is None else seen
    half = np.arange(len(valid)) % 2
    sides = []
    for side in (0, 1):
        own, rest = np.flatnonzero(half == side), np.flatnonzero(half != side)
        fitted, _ = fit_fusion(parts, valid.take(rest), items, masked=masked, seen=seen.take(rest))
        sides.append(rank_targets(fitted.score, valid.take(own), items))
    order = np.argsort(np.concatenate([np.flatnonzero(half == side) for side in (0, 1)]))
    rank, unmasked, top, unmasked_top = (
        np.concatenate([getattr(one, name) for one in sides])[order]
        for name in ("rank", "unmasked", "top", "unmasked_top")
    )
    return Ranks(rank, unmasked, top, unmasked_top, sides[0].ms_per_user)


def gains(fused: Ints, single: Ints) -> bool:
    """Whether the ranks of a fusion are better than those of one model by more than the standard error of their NDCG@10's difference."""

    def ndcg(rank: Ints) -> Floats:
        return np.where(rank <= 10, 1 / np.log2(rank + 1), 0.0)

    more = ndcg(fused) - ndcg(single)
    return bool(len(more) > 1 and more.mean() > more.std(ddof=1) / np.sqrt(len(more)))


def candidates(parts: Sequence[Scorer], valid: Questions, items: int, *, masked: bool = True) -> Seen:
    """The items that any of the parts lists for each question, and its target."""
    size = max(1, AT_ONCE // max(items * len(parts), 1))
    count = min(max(HELD // max(len(valid) * len(parts) ** 2, 1), LEAST), CANDIDATES, items)
    wide = 1 + count * len(parts)
    found, left = np.empty((len(parts), len(valid), wide), np.float32), np.empty((len(valid), wide), dtype=bool)
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
        at = slice(low, low + len(part))
        found[:, at] = np.take_along_axis(every, np.broadcast_to(places, (len(parts), *places.shape)), axis=2)
        left[at] = kept
    return Seen(found, left)
