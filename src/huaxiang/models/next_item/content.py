"""What is like the items a customer took last: shared categories, brands and attributes, rare ones counting more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix, diags

from huaxiang.errors import ModelError
from huaxiang.models.next_item.base import NextConfig, State, dense, fading, pack, unpack
from huaxiang.models.next_item.sequences import Floats, Items, Sequences
from huaxiang.models.next_item.splits import Questions


@dataclass(frozen=True)
class ContentConfig(NextConfig):
    """decay: weight of an item against the one taken after it; events: how many of the last count."""

    decay: float = 0.7
    events: int = 20


class Content:
    """Cosine of tf-idf vectors of tags: a customer's is the faded sum of those of their last items."""

    needs: ClassVar[tuple[str, ...]] = ("tags",)

    def __init__(self, config: ContentConfig) -> None:
        self.config = config
        self.vectors = csr_matrix((0, 0))

    def fit(self, train: Sequences, items: Items, *, seed: int, watch: Questions | None = None) -> Self:
        if items.tags is None:
            raise ModelError("models.next.no_tags")
        self.vectors = tag_vectors(items.tags)
        return self

    def score(self, history: Sequences) -> Floats:
        recent = history.last(self.config.events)
        taste = recent.matrix(self.vectors.shape[0], fading(recent, self.config.decay)) @ self.vectors
        return dense(taste @ self.vectors.T)

    def state(self) -> State:
        return pack(self.vectors, "vectors")

    @classmethod
    def from_state(cls, config: ContentConfig, state: State) -> Self:
        made = cls(config)
        made.vectors = unpack(state, "vectors")
        return made


def tag_vectors(tags: csr_matrix) -> csr_matrix:
    """(V, tags) of length 1 (0 where an item has none): a tag weighs log(V / items that have it)."""
    rarity = np.log(tags.shape[0] / np.maximum(np.asarray(tags.sum(axis=0)).ravel(), 1))
    weighed = csr_matrix(tags @ diags(rarity))
    length = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    return csr_matrix(diags(1 / np.maximum(length, 1e-12)) @ weighed)
