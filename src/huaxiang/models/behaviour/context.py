"""What is known of an event beside its item: its type, how long after the one before it came, hour and weekday, its price.

Each is a small whole number from 1 on; 0 stands for what is not known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from huaxiang.models.next_item.sequences import Floats, Ints, Sequences

GAPS = 32  # powers of two of seconds: the last is 68 years
DAY_S = 86_400
PRICES = 16  # bands of equally many events


@dataclass(frozen=True)
class Context:
    """What a model reads of events. sizes: name -> how many numbers there are, 0 included; edges: between price bands."""

    sizes: dict[str, int] = field(default_factory=dict)
    edges: tuple[float, ...] = ()

    def of(self, some: Sequences) -> dict[str, Ints]:
        """Name -> (T,) numbers of the events; 0 throughout where the sequences do not carry it, or a type is new."""
        found: dict[str, Ints] = {}
        for name, size in self.sizes.items():
            values = _values(name, some, self.edges)
            found[name] = np.zeros(len(some.item), np.int64) if values is None else np.where(values < size, values, 0)
        return found


def learn_context(train: Sequences, *, kinds: bool, times: bool, prices: bool = False) -> Context:
    """What the sequences carry and the model is to read; price bands of equally many events of `train`."""
    sizes: dict[str, int] = {}
    edges: tuple[float, ...] = ()
    if kinds and train.kind is not None:
        sizes["kind"] = int(train.kind.max(initial=0)) + 2
    if times and train.ts is not None:
        sizes |= {"gap": GAPS + 1, "hour": 25, "weekday": 8}
    if prices and train.price is not None and (known := _known(train.price)).any():
        edges = tuple(np.unique(np.quantile(train.price[known], np.arange(1, PRICES) / PRICES)).tolist())
        sizes["price"] = len(edges) + 2
    return Context(sizes, edges)


def _known(price: Floats) -> np.ndarray:
    return np.isfinite(price) & (price > 0)


def _values(name: str, some: Sequences, edges: tuple[float, ...]) -> Ints | None:
    if name == "kind":
        return None if some.kind is None else some.kind + 1
    if name == "price":
        if some.price is None:
            return None
        return np.where(_known(some.price), np.searchsorted(edges, some.price, side="right") + 1, 0)
    if some.ts is None:
        return None
    if name == "hour":
        return np.asarray(some.ts % DAY_S // 3600 + 1)
    if name == "weekday":
        return np.asarray((some.ts // DAY_S + 3) % 7 + 1)  # 1970-01-01 was a Thursday
    return gap_codes(some)


def gap_codes(some: Sequences) -> Ints:
    """(T,) the power of two of the seconds since the user's event before, and one; 0: there is none before, or no times."""
    if some.ts is None:
        return np.zeros(len(some.item), np.int64)
    gap = np.maximum(np.diff(some.ts, prepend=some.ts[:1]), 0)
    found = np.minimum(np.log2(gap + 1).astype(np.int64) + 1, GAPS)
    found[some.starts[:-1][some.lengths > 0]] = 0  # the first event of a user comes after none
    return np.asarray(found)
