"""Sequential co-occurrence: what others took soon after the items a customer took last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix, diags

from huaxiang.models.next_item.base import NextConfig, State, dense, fading, pack, strongest, unpack
from huaxiang.models.next_item.sequences import Floats, Items, Sequences
from huaxiang.models.next_item.splits import Questions


@dataclass(frozen=True)
class NeighboursConfig(NextConfig):
    """A pair of items of one customer, `g` events apart, counts fade ** (g − 1) from the earlier to the later item and `back` of that
    the other way, up to `window` apart. from_power, to_power: how much a count is divided by how often the item taken, and
    the item proposed, was met. decay: weight of a history's item against the one taken after it; keep: neighbours kept an item.
    """

    window: int = 50
    fade: float = 0.85
    back: float = 0.2
    from_power: float = 0.3
    to_power: float = 0.2
    decay: float = 0.65
    events: int = 30
    keep: int = 500


class Neighbours:
    """score(v) = Σ over the history's items i of decay^place · pairs(i, v) / (met(i)^from_power · met(v)^to_power)."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: NeighboursConfig) -> None:
        self.config = config
        self.near = csr_matrix((0, 0))

    def fit(self, train: Sequences, items: Items, *, seed: int, watch: Questions | None = None) -> Self:
        config, size = self.config, len(items)
        met = np.maximum(np.bincount(train.item, minlength=size), 1).astype(np.float64)
        pairs = count_pairs(train, size, window=config.window, fade=config.fade)
        pairs = pairs + config.back * pairs.T
        near = csr_matrix(diags(met**-config.from_power) @ pairs @ diags(met**-config.to_power))
        near.setdiag(0)
        near.eliminate_zeros()
        self.near = strongest(near, config.keep).astype(np.float32)
        return self

    def score(self, history: Sequences) -> Floats:
        recent = history.last(self.config.events)
        return dense(
            recent.matrix(self.near.shape[0], fading(recent, self.config.decay)).astype(np.float32) @ self.near
        )

    def state(self) -> State:
        return pack(self.near, "near")

    @classmethod
    def from_state(cls, config: NeighboursConfig, state: State) -> Self:
        made = cls(config)
        made.near = unpack(state, "near")
        return made


def count_pairs(train: Sequences, items: int, *, window: int, fade: float) -> csr_matrix:
    """(V, V) faded counts of the pairs (earlier item, later item) of one user."""
    found = csr_matrix((items, items))
    user = train.user
    for gap in range(1, window + 1):
        same = user[gap:] == user[:-gap]
        if not same.any():
            break
        weight = np.full(int(same.sum()), fade ** (gap - 1))
        found = found + csr_matrix((weight, (train.item[:-gap][same], train.item[gap:][same])), shape=(items, items))
    return csr_matrix(found)
