"""What a customer took before, the more often and the later the likelier: the baseline of shops where people buy the same again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from huaxiang.models.next_item.base import NextConfig, State, dense, fading
from huaxiang.models.next_item.sequences import Floats, Items, Sequences
from huaxiang.models.next_item.splits import Questions


@dataclass(frozen=True)
class AgainConfig(NextConfig):
    """decay: weight of an event against the one after it."""

    decay: float = 0.98


class Again:
    """score(v) = Σ over the history's events of v of decay^place. It learns nothing, and an item not had scores 0."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: AgainConfig) -> None:
        self.config = config
        self.items = 0

    def fit(self, train: Sequences, items: Items, *, seed: int, watch: Questions | None = None) -> Self:
        self.items = len(items)
        return self

    def score(self, history: Sequences) -> Floats:
        return dense(history.matrix(self.items, fading(history, self.config.decay)).astype(np.float32))

    def state(self) -> State:
        return {"items": np.array([self.items])}

    @classmethod
    def from_state(cls, config: AgainConfig, state: State) -> Self:
        made = cls(config)
        made.items = int(state["items"][0])
        return made
