"""Where training reads customers' sequences: all at once from memory, or piece by piece from a Parquet file.

A piece is what is in memory at one time. Customers stand in the file in random order (by a hash),
so that a piece is a fair sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from huaxiang.models.next_item.sequences import Ints, Sequences


class Source(Protocol):
    """U users in pieces."""

    pieces: int
    users: int
    events: int

    def piece(self, number: int) -> Sequences: ...

    def taken(self, items: int) -> Ints:
        """(V,) how often each item was taken."""
        ...


class InMemory:
    """Sequences as they are: one piece."""

    pieces = 1

    def __init__(self, every: Sequences) -> None:
        self.every = every
        self.users, self.events = len(every), len(every.item)

    def piece(self, number: int) -> Sequences:
        return self.every

    def taken(self, items: int) -> Ints:
        return np.bincount(self.every.item, minlength=items)


class Stored:
    """A Parquet file: one row a customer with lists `item`, and `ts`, `kind`, `price` where they are known; a row group is a piece."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with pq.ParquetFile(path) as file:
            self.pieces, self.users = file.num_row_groups, file.metadata.num_rows
        self._counts: Ints | None = None
        self.events = int(self._count().sum())

    def piece(self, number: int) -> Sequences:
        with pq.ParquetFile(self.path) as file:
            return from_lists_of(file.read_row_group(number))

    def taken(self, items: int) -> Ints:
        found = self._count()
        return np.pad(found, (0, max(items - len(found), 0)))

    def _count(self) -> Ints:
        if self._counts is None:
            counts = np.zeros(0, np.int64)
            with pq.ParquetFile(self.path) as file:
                for number in range(file.num_row_groups):
                    column = file.read_row_group(number, columns=["item"]).column("item").combine_chunks()
                    more = np.bincount(column.flatten().to_numpy())
                    size = max(len(counts), len(more))
                    counts = np.pad(counts, (0, size - len(counts))) + np.pad(more, (0, size - len(more)))
            self._counts = counts
        return self._counts


def from_lists_of(table: pa.Table) -> Sequences:
    """The sequences of a table with one row a customer."""
    lists = {name: table.column(name).combine_chunks() for name in table.column_names if name != "user"}
    item = lists["item"]
    starts = np.concatenate([[0], np.cumsum(item.value_lengths().to_numpy())]).astype(np.int64)

    def flat(name: str) -> np.ndarray | None:
        return lists[name].flatten().to_numpy(zero_copy_only=False) if name in lists else None

    found = flat("item")
    assert found is not None, "every file of sequences has the items"
    return Sequences(starts, found.astype(np.int64), flat("ts"), flat("kind"), flat("price"))


def write_sequences(every: Sequences, path: Path, users: int = 50_000) -> None:
    """Writes `every` in pieces of so many customers."""
    pq.write_table(sequence_table(every), path, row_group_size=max(users, 1), compression="zstd")


def sequence_table(every: Sequences) -> pa.Table:
    """A row a customer."""

    def lists(values: np.ndarray | None, kind: pa.DataType) -> pa.Array | None:
        if values is None:
            return None
        return pa.ListArray.from_arrays(pa.array(every.starts.astype(np.int32)), pa.array(values, kind))

    columns = {
        "item": lists(every.item, pa.int32()),
        "ts": lists(every.ts, pa.int64()),
        "kind": lists(every.kind, pa.int64()),
        "price": lists(every.price, pa.float64()),
    }
    return pa.table({name: column for name, column in columns.items() if column is not None})
