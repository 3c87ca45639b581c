"""What is known of an event beside its item: its type, how long after the one before it came, hour and weekday.

Each is a small whole number from 1 on; 0 stands for padding and for what is not known.
"""

from __future__ import annotations

import numpy as np

from huaxiang.models.next_item.sequences import Ints, Sequences

GAPS = 32  # powers of two of seconds: the last is 68 years
DAY_S = 86_400


def context_sizes(train: Sequences, *, kinds: bool, times: bool) -> dict[str, int]:
    """Name -> how many numbers there are, 0 included, of what the sequences carry and the model is to read."""
    found: dict[str, int] = {}
    if kinds and train.kind is not None:
        found["kind"] = int(train.kind.max(initial=0)) + 2
    if times and train.ts is not None:
        found |= {"gap": GAPS + 1, "hour": 25, "weekday": 8}
    return found


def context_of(some: Sequences, sizes: dict[str, int]) -> dict[str, Ints]:
    """Name -> (T,) numbers of the events; 0 throughout where the sequences do not carry it, or a type is new."""
    found: dict[str, Ints] = {}
    for name, size in sizes.items():
        values = _values(name, some)
        found[name] = np.zeros(len(some.item), np.int64) if values is None else np.where(values < size, values, 0)
    return found


def _values(name: str, some: Sequences) -> Ints | None:
    if name == "kind":
        return None if some.kind is None else some.kind + 1
    if some.ts is None:
        return None
    if name == "hour":
        return np.asarray(some.ts % DAY_S // 3600 + 1)
    if name == "weekday":
        return np.asarray((some.ts // DAY_S + 3) % 7 + 1)  # 1970-01-01 was a Thursday
    gap = np.maximum(np.diff(some.ts, prepend=some.ts[:1]), 0)
    found = np.minimum(np.log2(gap + 1).astype(np.int64) + 1, GAPS)
    found[some.starts[:-1][some.lengths > 0]] = 0  # the first event of a user comes after none
    return np.asarray(found)
