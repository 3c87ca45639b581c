"""The baselines: what most customers took, ever or lately. The same list for everyone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from huaxiang.errors import ModelError
from huaxiang.models.next_item.base import NextConfig, State
from huaxiang.models.next_item.sequences import Floats, Items, Sequences
from huaxiang.models.next_item.splits import Questions

DAY_S = 86_400


@dataclass(frozen=True)
class PopularConfig(NextConfig):
    """days: only the last so many days of the training events (0: all)."""

    days: int = 0


class Popular:
    """The share of training events that were the item's."""

    def __init__(self, config: PopularConfig) -> None:
        self.config = config
        self.needs: tuple[str, ...] = ("ts",) if config.days else ()
        self.share: Floats = np.zeros(0)

    def fit(self, train: Sequences, items: Items, *, seed: int, watch: Questions | None = None) -> Self:
        item = train.item
        if self.config.days:
            if train.ts is None:
                raise ModelError("models.next.no_times")
            item = item[train.ts > train.ts.max() - self.config.days * DAY_S]
        self.share = np.bincount(item, minlength=len(items)) / max(len(item), 1)
        return self

    def score(self, history: Sequences) -> Floats:
        return np.tile(self.share, (len(history), 1))

    def state(self) -> State:
        return {"share": self.share}

    @classmethod
    def from_state(cls, config: PopularConfig, state: State) -> Self:
        made = cls(config)
        made.share = state["share"]
        return made
