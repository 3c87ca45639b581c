"""Customers' items in the order of time, flat: one array of events and where each customer's begin.

Letters of this room: U users, T events, V items, Q questions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from huaxiang.errors import ModelError

Ints = NDArray[np.int64]
Floats = NDArray[Any]  # float32 or float64


@dataclass(frozen=True)
class Items:
    """What is known of V items.

    ids: their names; tags: (V, tags) 0/1, what an item is (category, brand, price band, attributes), or None;
    groups: name -> (V,) a code from 1 on, 0: not known (category, price_band), what can be foreseen beside the item;
    content: (V, C) vectors of how items read or look, or None
    """

    ids: tuple[str, ...]
    tags: csr_matrix | None = None
    groups: Mapping[str, Ints] = field(default_factory=dict)
    content: Floats | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Sequences:
    """Events of U users, one user after another, each in the order of time.

    starts: (U + 1,) where each user begins; item: (T,) code below V; ts: (T,) seconds since 1970 or None;
    kind: (T,) code of the event's type or None; price: (T,) of one piece, NaN where it is not known, or None
    """

    starts: Ints
    item: Ints
    ts: Ints | None = None
    kind: Ints | None = None
    price: Floats | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Ints:
        """(U,) events of each user."""
        return np.diff(self.starts)

    @property
    def user(self) -> Ints:
        """(T,) whose event it is, counted from 0."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def place(self) -> Ints:
        """(T,) how many events of the user come after it: 0 is the newest."""
        return np.repeat(self.starts[1:], self.lengths) - np.arange(len(self.item)) - 1

    def pick(self, first: Ints, count: Ints) -> Sequences:
        """The `count` events from place `first` of the flat arrays on, a user each."""
        starts = np.concatenate([[0], np.cumsum(count)])
        at = np.arange(starts[-1]) - np.repeat(starts[:-1] - first, count)

        def picked(values: Any) -> Any:
            return None if values is None else values[at]

        return Sequences(starts, self.item[at], picked(self.ts), picked(self.kind), picked(self.price))

    def take(self, users: Ints) -> Sequences:
        return self.pick(self.starts[users], self.lengths[users])

    def first(self, count: Ints) -> Sequences:
        """The first `count` (U,) events of each user."""
        return self.pick(self.starts[:-1], count)

    def last(self, count: int) -> Sequences:
        """At most the last `count` events of each user."""
        kept = np.minimum(self.lengths, count)
        return self.pick(self.starts[1:] - kept, kept)

    def matrix(self, items: int, weight: Floats | None = None) -> csr_matrix:
        """(U, V) the sum of `weight` (T,), or the number, of each user's events of each item."""
        data = np.ones(len(self.item)) if weight is None else weight
        found = csr_matrix((data, (self.user, self.item)), shape=(len(self), items))
        found.sum_duplicates()
        return found


def joined(parts: Sequence[Sequences]) -> Sequences:
    """One after another."""
    if not parts:
        return Sequences(np.zeros(1, np.int64), np.zeros(0, np.int64))
    offsets = np.concatenate([[0], np.cumsum([len(part.item) for part in parts])])
    starts = np.concatenate(
        [part.starts[:-1] + offset for part, offset in zip(parts, offsets, strict=False)] + [offsets[-1:]]
    )

    def every(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    return Sequences(starts, every("item"), every("ts"), every("kind"), every("price"))


def from_lists(histories: list[list[int]]) -> Sequences:
    """Sequences of item codes written out, a list a user."""
    starts = np.concatenate([[0], np.cumsum([len(one) for one in histories])]).astype(np.int64)
    return Sequences(starts, np.array([item for one in histories for item in one], dtype=np.int64))


def read_s3rec(path: Path, attributes: Path | None = None) -> tuple[Sequences, Items]:
    """Sequences and items of a file of the s3rec format: a line a user, `user item item …` in the order of time.

    attributes: JSON, item -> list of attribute numbers
    raises: ModelError for a line that holds anything but whole numbers
    """
    histories: list[list[str]] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not all(word.isdecimal() for word in words):
                raise ModelError("models.next.line", path=path.name, line=number)
            if len(words) > 1:
                histories.append(words[1:])
    names = sorted({word for one in histories for word in one}, key=int)
    if not names:
        raise ModelError("models.next.empty", path=path.name)
    code = {name: place for place, name in enumerate(names)}
    found = from_lists([[code[word] for word in one] for one in histories])
    tags = _read_tags(attributes, code) if attributes else None
    return found, Items(tuple(names), tags)


def _read_tags(path: Path, code: dict[str, int]) -> csr_matrix:
    listed: dict[str, list[Any]] = json.loads(path.read_text(encoding="utf-8"))
    known = {name: tags for name, tags in listed.items() if name in code}
    number = {tag: place for place, tag in enumerate(sorted({tag for tags in known.values() for tag in tags}))}
    rows = [code[name] for name, tags in known.items() for _ in tags]
    columns = [number[tag] for tags in known.values() for tag in tags]
    found = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(code), len(number)))
    found.data[:] = 1.0
    return found
