"""What is like the items a customer took last: shared categories, brands and attributes, rare ones counting more; and content vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.sparse import csr_matrix, diags

from huaxiang.errors import ModelError
from huaxiang.models.next_item.base import NextConfig, State, dense, fading, pack, unpack
from huaxiang.models.next_item.sequences import Floats, Items, Sequences
from huaxiang.models.next_item.splits import Questions


@dataclass(frozen=True)
class ContentConfig(NextConfig):
    """decay: weight of an item against the one taken after it; events: how many of the last count; look: weight of the content vectors'
    cosine against the tags'."""

    decay: float = 0.7
    events: int = 20
    look: float = 1.0


class Content:
    """Cosine of tf-idf vectors of tags, and `look` times that of content vectors: a customer's is the faded sum of those of their last
    items."""

    def __init__(self, config: ContentConfig) -> None:
        self.config = config
        self.needs: tuple[str, ...] = ("tags",)
        self.vectors: csr_matrix | None = None
        self.looks: Floats | None = None

    def fit(self, train: Sequences, items: Items, *, seed: int, watch: Questions | None = None) -> Self:
        self.looks = items.content if self.config.look else None
        if items.tags is None and self.looks is None:
            raise ModelError("models.next.no_tags")
        self.vectors = None if items.tags is None else tag_vectors(items.tags)
        return self._named()

    def _named(self) -> Self:
        found = {"tags": self.vectors, "content": self.looks}
        self.needs = tuple(name for name, has in found.items() if has is not None)
        return self

    def score(self, history: Sequences) -> Floats:
        recent = history.last(self.config.events)
        weight, found = fading(recent, self.config.decay), None
        if self.vectors is not None:
            found = dense(recent.matrix(self.vectors.shape[0], weight) @ self.vectors @ self.vectors.T)
        if self.looks is not None:
            taste = recent.matrix(len(self.looks), weight).astype(np.float32) @ self.looks
            look = np.float32(self.config.look) * (taste @ self.looks.T)
            found = look if found is None else found + look
        assert found is not None, "it was fitted on tags or on content vectors"
        return found

    def state(self) -> State:
        tags = {} if self.vectors is None else pack(self.vectors, "vectors")
        return tags | ({} if self.looks is None else {"looks": self.looks})

    @classmethod
    def from_state(cls, config: ContentConfig, state: State) -> Self:
        made = cls(config)
        made.vectors = unpack(state, "vectors") if "vectors.data" in state else None
        made.looks = state.get("looks")
        return made._named()


def tag_vectors(tags: csr_matrix) -> csr_matrix:
    """(V, tags) of length 1 (0 where an item has none): a tag weighs log(V / items that have it)."""
    rarity = np.log(tags.shape[0] / np.maximum(np.asarray(tags.sum(axis=0)).ravel(), 1))
    weighed = csr_matrix(tags @ diags(rarity))
    length = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    return csr_matrix(diags(1 / np.maximum(length, 1e-12)) @ weighed)
