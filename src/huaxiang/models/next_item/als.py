"""Matrix factorisation of who took what (implicit feedback), by the library `implicit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix

from huaxiang.errors import ModelError
from huaxiang.models.next_item.base import NextConfig, State, fading
from huaxiang.models.next_item.sequences import Floats, Items, Sequences
from huaxiang.models.next_item.splits import Questions


@dataclass(frozen=True)
class AlsConfig(NextConfig):
    """alpha: how much surer a taken item is than one not taken; decay: weight of an event against the one after it, in training as in
    scoring."""

    factors: int = 64
    l2: float = 0.05
    alpha: float = 10.0
    rounds: int = 15
    decay: float = 0.9


class Als:
    """Alternating least squares; a customer's factors are solved for from the history alone, so new customers are no exception.

    source: Hu, Koren, Volinsky 2008, Collaborative Filtering for Implicit Feedback Datasets, eq. 3 to 5, with c = 1 + alpha·r; differs:
    r counts an event less the more events came after it (decay)
    """

    needs: ClassVar[tuple[str, ...]] = ("implicit",)

    def __init__(self, config: AlsConfig) -> None:
        self.config = config
        self.factors: Floats = np.zeros((0, 0), dtype=np.float32)

    def fit(self, train: Sequences, items: Items, *, seed: int, watch: Questions | None = None) -> Self:
        try:
            from implicit.cpu.als import AlternatingLeastSquares
            from threadpoolctl import threadpool_limits
        except ImportError as error:
            raise ModelError("models.next.no_implicit") from error
        config = self.config
        with threadpool_limits(1, "blas"):  # the library's own threads and BLAS's would get in each other's way
            made = AlternatingLeastSquares(
                factors=config.factors, regularization=config.l2, alpha=1.0, iterations=config.rounds, random_state=seed % 2**32, num_threads=2,
            )  # fmt: skip
            sure = self._surer(train, len(items))
            sure.data += 1  # the library takes c itself
            made.fit(sure.astype(np.float32), show_progress=False)
        self.factors = np.asarray(made.item_factors, dtype=np.float32)
        return self

    def score(self, history: Sequences) -> Floats:
        """(YᵀY + l2·I + Yᵀ(C − I)Y)⁻¹ Yᵀ C p of each history, times Y."""
        config, y = self.config, self.factors.astype(np.float64)
        gram = y.T @ y + config.l2 * np.eye(y.shape[1])
        sure = self._surer(history, len(y))
        found = np.zeros((len(history), y.shape[1]))
        for user in range(len(history)):
            part = slice(sure.indptr[user], sure.indptr[user + 1])
            mine, weight = y[sure.indices[part]], sure.data[part]
            found[user] = np.linalg.solve(gram + (mine.T * weight) @ mine, mine.T @ (1 + weight))
        return np.asarray(found @ y.T, dtype=np.float32)

    def _surer(self, some: Sequences, items: int) -> csr_matrix:
        """(U, V) alpha·r, by which c is above 1; of an item taken several times, all of them together."""
        weight = self.config.alpha * fading(some, self.config.decay)
        found = csr_matrix((weight, some.item, some.starts), (len(some), items))
        found.sum_duplicates()
        return found

    def state(self) -> State:
        return {"factors": self.factors}

    @classmethod
    def from_state(cls, config: AlsConfig, state: State) -> Self:
        made = cls(config)
        made.factors = state["factors"]
        return made
