"""Batches of customers of like length, so that little is computed on padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from huaxiang.models.behaviour.context import context_of
from huaxiang.models.next_item.sequences import Ints, Sequences

NEAR = 64  # batches among which customers are sorted by length


def deal(lengths: Ints, events: int, chance: np.random.Generator | None) -> list[Ints]:
    """Users in batches of at most `events` events with the padding (one user at least); in random order where there is chance."""
    order = np.arange(len(lengths)) if chance is None else chance.permutation(len(lengths))
    size = max(1, events * NEAR // max(int(lengths.mean()), 1)) if chance is not None else len(order)
    found: list[Ints] = []
    for low in range(0, len(order), max(size, 1)):
        part = order[low : low + size]
        part = part[np.argsort(lengths[part], kind="stable")]
        first = 0
        while first < len(part):
            last = first + 1
            while last < len(part) and lengths[part[last]] * (last + 1 - first) <= events:
                last += 1
            found.append(part[first:last])
            first = last
    if chance is not None:
        found = [found[place] for place in chance.permutation(len(found))]
    return found


def padded(some: Sequences, values: Ints, padding: int) -> Tensor:
    """(B, T) the `values` (a number an event) of each user, oldest first, `padding` behind."""
    lengths = some.lengths
    found = np.full((len(some), max(int(lengths.max(initial=0)), 1)), padding, dtype=np.int64)
    found[some.user, np.arange(len(some.item)) - np.repeat(some.starts[:-1], lengths)] = values
    return torch.from_numpy(found)


def padded_context(some: Sequences, sizes: dict[str, int]) -> dict[str, Tensor]:
    """Name -> (B, T) what else is known of each event."""
    return {name: padded(some, values, 0) for name, values in context_of(some, sizes).items()}


def training_batches(
    train: Sequences, padding: int, sizes: dict[str, int], events: int, chance: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """(items, targets, context) of one epoch: (B, T) each; targets −1 behind the last."""
    for users in deal(train.lengths, events, chance):
        some = train.take(users)
        every = padded(some, some.item, padding)
        target = every[:, 1:]
        context = {name: values[:, :-1] for name, values in padded_context(some, sizes).items()}
        yield every[:, :-1], torch.where(target == padding, -1, target), context
