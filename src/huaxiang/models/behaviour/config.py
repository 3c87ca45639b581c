"""Settings of the behaviour model and of the small sequence networks beside it: one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from huaxiang.models.next_item.base import NextConfig

Encoder = Literal["transformer", "gru", "cnn", "hstu"]


@dataclass(frozen=True)
class BehaviourConfig(NextConfig):
    """encoder: what reads the sequence; width: D; length: events of a customer that are read, the last ones.

    tags: whether items are also known by their tags; kinds, times: whether the type of an event, and the gap before it, its hour and
    weekday are read; id_dropout: how often an item's own vector is left out of its sum in training,
    so that the tags alone have to do, as for a new item. temperature: of the softmax over cosines (0: plain products).
    warmup: steps over which the rate rises; negatives: items a step draws as rivals, half by how
    often they were taken and half evenly (0: all items are rivals). batch: padded events a step; epochs: the most; minutes: no epoch begins after so many (0: however long; the
    result then hangs on the machine's speed); patience: epochs without a better validation NDCG@10 before it stops.
    """

    encoder: Encoder = "transformer"
    width: int = 64
    layers: int = 2
    heads: int = 2
    length: int = 50
    dropout: float = 0.4
    input_dropout: float = 0.4
    tags: bool = False
    kinds: bool = False
    times: bool = False
    id_dropout: float = 0.0
    temperature: float = 0.07
    smoothing: float = 0.0
    negatives: int = 0
    rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    batch: int = 1024
    epochs: int = 60
    patience: int = 6
    minutes: float = 0.0
    threads: int = 2


FULL = 50_000  # items up to which all of them are rivals
READ = 4_000_000  # events read in all epochs, about
STEPS = 150  # an epoch takes about so many steps where there are many events


def fitting(config: BehaviourConfig, events: int, items: int) -> BehaviourConfig:
    """`config` for so many training events and items: greater steps and fewer epochs where there are many events, a sample of
    rivals where there are many items."""
    batch = min(max(config.batch, events // STEPS), 8 * config.batch)
    epochs = min(max(READ // max(events, 1), 3), config.epochs)
    return replace(config, batch=batch, epochs=epochs, negatives=config.negatives or (0 if items <= FULL else 2048))
