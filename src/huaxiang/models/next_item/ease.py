"""EASE: a linear item-to-item model in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

from huaxiang.models.next_item.base import NextConfig, State, fading
from huaxiang.models.next_item.sequences import Floats, Ints, Items, Sequences
from huaxiang.models.next_item.splits import Questions


@dataclass(frozen=True)
class EaseConfig(NextConfig):
    """l2: the ridge; decay: weight of a history's item against the one taken after it (1: order plays no part);
    most: items that get weights, the most popular ones: memory grows with its square, time with its cube."""

    l2: float = 200.0
    decay: float = 0.9
    most: int = 15_000


class Ease:
    """score = x B with B = I − P / diag(P), P = (XᵀX + l2·I)⁻¹.

    source: Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data, eq. 8; differs: histories may fade
    """

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: EaseConfig) -> None:
        self.config = config
        self.items = 0
        self.kept: Ints = np.zeros(0, dtype=np.int64)
        self.weights: Floats = np.zeros((0, 0), dtype=np.float32)

    def fit(self, train: Sequences, items: Items, *, seed: int, watch: Questions | None = None) -> Self:
        self.items = len(items)
        met = np.bincount(train.item, minlength=self.items)
        self.kept = np.sort(np.argsort(-met, kind="stable")[: self.config.most])
        taken = train.matrix(self.items)
        taken.data[:] = 1.0
        taken = csr_matrix(taken[:, self.kept])
        gram = (taken.T @ taken).toarray().astype(np.float32)
        gram[np.diag_indices_from(gram)] += self.config.l2
        factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
        assert not failed, failed  # positive definite: a Gram matrix and a ridge
        inverse, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
        assert not failed, failed
        inverse = np.tril(inverse)
        inverse += np.tril(inverse, -1).T
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        self.weights = np.ascontiguousarray(weights, dtype=np.float32)
        return self

    def score(self, history: Sequences) -> Floats:
        asked = history.matrix(self.items, fading(history, self.config.decay))[:, self.kept]
        found = np.full((len(history), self.items), -1.0, dtype=np.float32)
        found[:, self.kept] = asked.astype(np.float32) @ self.weights
        return found

    def state(self) -> State:
        return {"items": np.array([self.items]), "kept": self.kept, "weights": self.weights}

    @classmethod
    def from_state(cls, config: EaseConfig, state: State) -> Self:
        made = cls(config)
        made.items, made.kept, made.weights = int(state["items"][0]), state["kept"], state["weights"]
        return made
