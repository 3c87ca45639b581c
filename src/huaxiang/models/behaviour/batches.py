"""Batches of customers of like length, flat: nothing is computed on padding but attention, and there is little of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from huaxiang.models.behaviour.blocks import Layout
from huaxiang.models.behaviour.context import Context, gap_codes
from huaxiang.models.next_item.sequences import Ints, Sequences

NEAR = 64  # batches among which customers are sorted by length


@dataclass(frozen=True)
class Batch:
    """N events of B users. item: (N,) codes; context: name -> (N,); layout: where they lie; target: (N,) codes, −1 where nothing
    follows; also: name -> (N,) what else is foreseen of the next event, 0 where it is not known."""

    item: Tensor
    context: Mapping[str, Tensor]
    layout: Layout
    target: Tensor
    also: Mapping[str, Tensor]


def deal(lengths: Ints, events: int, chance: np.random.Generator | None) -> list[Ints]:
    """Users in batches of at most `events` events with the padding (one user at least); in random order where there is chance."""
    order = np.arange(len(lengths)) if chance is None else chance.permutation(len(lengths))
    size = max(1, events * NEAR // max(int(lengths.mean()), 1)) if chance is not None else len(order)
    found: list[Ints] = []
    for low in range(0, len(order), max(size, 1)):
        part = order[low : low + size]
        part = part[np.argsort(lengths[part], kind="stable")]
        longest = lengths[part]
        first = 0
        while first < len(part):
            # the most users whose padded size still fits: lengths rise, so the size rises with each
            reach = longest[first : first + max(events, 1)]
            fits = int(np.searchsorted(reach * np.arange(1, len(reach) + 1), events, side="right"))
            last = first + max(fits, 1)
            found.append(part[first:last])
            first = last
    if chance is not None:
        found = [found[place] for place in chance.permutation(len(found))]
    return found


def training_batch(
    some: Sequences,
    context: Context,
    also: Mapping[str, Ints | None],
    *,
    window: int,
    chance: np.random.Generator,
    device: torch.device,
) -> Batch:
    """What is read of `some`, and for each event what comes next (within `window` events, by chance).

    also: name -> (V,) code of each item, or None for what the events themselves carry
    """
    count = len(some.item)
    left = some.place  # (T,) events of the user that come after
    ahead = np.ones(count, np.int64)
    if window > 1:
        ahead = chance.integers(1, np.minimum(np.maximum(left, 1), window) + 1)
    has = left > 0
    target = np.where(has, some.item[np.minimum(np.arange(count) + ahead, count - 1)], -1)
    following = np.minimum(np.arange(count) + 1, count - 1)
    beside: dict[str, Ints] = {}
    for name, codes in also.items():
        values = codes[some.item] if codes is not None else _carried(name, some)
        beside[name] = np.where(has, values[following], 0)
    read = np.flatnonzero(has)

    def moved(values: Ints) -> Tensor:
        return torch.from_numpy(values[read]).to(device)

    return Batch(
        moved(some.item),
        {name: moved(values) for name, values in context.of(some).items()},
        Layout(torch.from_numpy(some.lengths - 1).to(device)),
        moved(target),
        {name: moved(values) for name, values in beside.items()},
    )


def _carried(name: str, some: Sequences) -> Ints:
    if name == "gap":
        return gap_codes(some)
    return np.zeros(len(some.item), np.int64) if some.kind is None else some.kind + 1


def reading_batch(some: Sequences, context: Context, device: torch.device) -> Batch:
    """All events of `some`, to be read. Every user has one event at least."""
    return Batch(
        torch.from_numpy(some.item).to(device),
        {name: torch.from_numpy(values).to(device) for name, values in context.of(some).items()},
        Layout(torch.from_numpy(some.lengths).to(device)),
        torch.empty(0, dtype=torch.long),
        {},
    )
