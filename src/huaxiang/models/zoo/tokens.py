"""Events as small whole numbers, which a sequence network turns into vectors; what they stand for is learned from training rows.

A row's events are followed by one more token, its date: how long after the last event it comes says what recency says, and a row
without events still has something to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from huaxiang.models.next_item.sequences import Ints
from huaxiang.models.zoo.history import Histories

FIELDS = ("kind", "category", "price", "gap", "hour", "weekday", "age")
CATEGORIES = 60  # the most common ones stand alone
BANDS = 8  # price bands of equally many events
GAPS = 32  # powers of two of seconds: the last is 68 years
AGES = 24  # half powers of two of days: the last is 11 years
DAY_S = 86_400


@dataclass(frozen=True)
class Tokens:
    """kinds: types of event met in training; categories: the common ones; edges: between price bands. 0 in any field: not known."""

    kinds: tuple[int, ...]
    categories: tuple[str, ...]
    edges: tuple[float, ...]

    @classmethod
    def fit(cls, history: Histories, length: int) -> Tokens:
        at, _ = history.places(length)
        events = history.events
        assert events.kind is not None
        kinds = np.unique(events.kind[at])
        category = history.category[at]
        counts = np.bincount(category[category >= 0], minlength=len(history.names))
        common = np.argsort(-counts, kind="stable")[:CATEGORIES]
        names = tuple(history.names[place] for place in common if counts[place])
        price = np.zeros(0) if events.price is None else events.price[at]
        price = price[np.isfinite(price)]
        edges = np.unique(np.quantile(price, np.arange(1, BANDS) / BANDS)) if len(price) else np.zeros(0)
        return cls(tuple(int(kind) for kind in kinds), names, tuple(float(edge) for edge in edges))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each of FIELDS has, without the 0."""
        return (len(self.kinds) + 1, len(self.categories), len(self.edges) + 1, GAPS, 24, 7, AGES)

    def apply(self, history: Histories, length: int) -> tuple[Ints, Ints]:
        """(S, FIELDS) numbers of the tokens, (N,) tokens of each row: its last `length` events, then its date.

        Each field counts on from those before it, from 0; what is not known is sum(sizes).
        """
        at, count = history.places(length)
        events, rows = history.events, np.repeat(np.arange(len(count)), count)
        assert events.kind is not None
        assert events.ts is not None
        place, now = np.arange(len(at)) + rows, np.cumsum(count + 1) - 1
        until = history.until[history.row]
        ts = np.empty(len(at) + len(count), dtype=np.int64)
        ts[place], ts[now] = events.ts[at], until
        codes = np.zeros((len(ts), len(FIELDS)), dtype=np.int64)
        codes[place, 0] = _coded(np.array(self.kinds, dtype=np.int64), events.kind[at])
        codes[now, 0] = len(self.kinds) + 1
        codes[place, 1] = self._category_codes(history)[history.category[at]]
        if events.price is not None:
            price = events.price[at]
            known = np.isfinite(price)
            codes[place[known], 2] = np.searchsorted(np.array(self.edges), price[known], side="right") + 1
        gap = np.maximum(np.diff(ts, prepend=ts[:1]), 0)
        codes[:, 3] = np.minimum(np.log2(gap + 1).astype(np.int64) + 1, GAPS)
        codes[now - count, 3] = 0  # the first token of a row comes after none
        clock = history.clock[at]
        codes[place, 4] = np.where(clock < 0, 0, clock % 24 + 1)
        codes[place, 5] = np.where(clock < 0, 0, clock // 24 + 1)
        days = np.maximum(until[rows] - events.ts[at], 0) / DAY_S
        codes[place, 6] = np.minimum((2 * np.log2(days + 1)).astype(np.int64) + 1, AGES)
        before = np.cumsum((0, *self.sizes[:-1]))
        return np.where(codes > 0, codes + before - 1, sum(self.sizes)), count + 1

    def _category_codes(self, history: Histories) -> Ints:
        """The number of each of the history's categories; of −1 at the end: 0."""
        known = {name: code for code, name in enumerate(self.categories, 1)}
        return np.array([*(known.get(name, 0) for name in history.names), 0], dtype=np.int64)

    def state(self) -> dict[str, Any]:
        return {"kinds": list(self.kinds), "categories": list(self.categories), "edges": list(self.edges)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Tokens:
        return cls(tuple(state["kinds"]), tuple(state["categories"]), tuple(state["edges"]))


def _coded(known: Ints, values: Ints) -> Ints:
    """The place (from 1) of each value among the sorted `known`; 0 where it is not there."""
    if not len(known):
        return np.zeros(len(values), dtype=np.int64)
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[at] == values, at + 1, 0)
