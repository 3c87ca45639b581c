"""What every next-item model promises, and what most of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from scipy.sparse import csr_matrix

from huaxiang.models.next_item.sequences import Floats, Items, Sequences
from huaxiang.models.next_item.splits import Questions

State = dict[str, Any]  # name -> numpy array


@dataclass(frozen=True)
class NextConfig:
    """Settings of a next-item model."""


class Scorer(Protocol):
    """What scores every item as the next of a history. Letters: B histories, V items."""

    def score(self, history: Sequences) -> Floats:
        """(B, V) greater for what is more likely next; a history may be empty."""
        ...


class NextItem(Scorer, Protocol):
    """A model that learns to score."""

    config: Any

    @property
    def needs(self) -> tuple[str, ...]:
        """What it takes beside the order of items: ts, tags, kind, price of the data; torch, implicit of the packages."""
        ...

    def fit(self, train: Sequences, items: Items, *, seed: int, watch: Questions | None = None) -> Self:
        """Fit; `watch` are validation questions for a model that stops early."""
        ...

    def state(self) -> State:
        """Arrays that `from_state` makes an equal model of."""
        ...

    @classmethod
    def from_state(cls, config: Any, state: State) -> Self: ...


def fading(history: Sequences, decay: float) -> Floats:
    """(T,) decay to the power of how many events of the user came after: 1 for the newest."""
    return np.asarray(decay ** history.place.astype(np.float64))


def pack(matrix: csr_matrix, name: str) -> State:
    """A sparse matrix as arrays."""
    return {
        f"{name}.data": matrix.data.astype(np.float32),
        f"{name}.indices": matrix.indices.astype(np.int32),
        f"{name}.indptr": matrix.indptr.astype(np.int64),
        f"{name}.shape": np.array(matrix.shape, dtype=np.int64),
    }


def unpack(state: State, name: str) -> csr_matrix:
    parts = tuple(state[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
    return csr_matrix(parts, shape=tuple(state[f"{name}.shape"]))


def dense(found: Any) -> Floats:
    """A product of sparse matrices as (B, V) float32."""
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found, dtype=np.float32)


def strongest(matrix: csr_matrix, keep: int) -> csr_matrix:
    """The `keep` greatest values of each row; of equal ones those further left."""
    found = csr_matrix(matrix)
    found.sort_indices()
    counts = np.diff(found.indptr)
    if not len(counts) or counts.max() <= keep:
        return found
    kept = np.ones(len(found.data), dtype=bool)
    for row in np.flatnonzero(counts > keep):  # a sort of all values together takes several times as long
        place = slice(found.indptr[row], found.indptr[row + 1])
        values = found.data[place]
        least = np.partition(values, len(values) - keep)[len(values) - keep]
        mine = values > least
        mine[np.flatnonzero(values == least)[: keep - int(mine.sum())]] = True
        kept[place] = mine
    starts = np.concatenate([[0], np.cumsum(np.minimum(counts, keep))])
    return csr_matrix((found.data[kept], found.indices[kept], starts), shape=found.shape)
