"""What every next-item model promises, and what most of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from scipy.sparse import csr_matrix

from huaxiang.models.next_item.sequences import Floats, Ints, Items, Sequences
from huaxiang.models.next_item.splits import Questions

CELLS = 500_000  # values of a matrix that are cut at once
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
    found = matrix if isinstance(matrix, csr_matrix) else csr_matrix(matrix)
    found.sort_indices()
    counts = np.diff(found.indptr)
    if not len(counts) or counts.max() <= keep:
        return found
    kept = np.ones(len(found.data), dtype=bool)
    long = np.flatnonzero(counts > keep)
    long = long[np.argsort(counts[long], kind="stable")]  # rows of about one length are cut together
    low = 0
    while low < len(long):
        rows = long[low : low + max(1, CELLS // int(counts[long[low]]))]
        rows = rows[counts[rows] <= max(2 * counts[rows[0]], CELLS // len(rows))]
        _cut(found, rows, counts[rows], keep, kept)
        low += len(rows)
    starts = np.concatenate([[0], np.cumsum(np.minimum(counts, keep))])
    return csr_matrix((found.data[kept], found.indices[kept], starts), shape=found.shape)


def _cut(found: csr_matrix, rows: Ints, counts: Ints, keep: int, kept: np.ndarray) -> None:
    """Marks in `kept` which values of `rows` stay."""
    width = int(counts.max())
    inside = np.arange(width) < counts[:, None]
    values = np.full(inside.shape, -np.inf)
    at = (found.indptr[rows][:, None] + np.arange(width))[inside]
    values[inside] = found.data[at]
    least = np.partition(values, width - keep, axis=1)[:, width - keep, None]
    above, equal = values > least, values == least
    missing = keep - above.sum(axis=1, keepdims=True)
    kept[at] = (above | (equal & (equal.cumsum(axis=1) <= missing)))[inside]
