"""Settings of the behaviour model and of the small sequence networks beside it: one frozen dataclass; and how large it should be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from huaxiang.errors import ModelError
from huaxiang.models.next_item.base import NextConfig

Encoder = Literal["transformer", "gru", "cnn", "hstu"]
Size = Literal["tiny", "small", "base", "large"]


@dataclass(frozen=True)
class BehaviourConfig(NextConfig):
    """encoder: what reads the sequence; width: D; length: events of a customer that are read, the last ones.

    tags, content: whether items are also known by their tags, and by their content vectors, where they have some; kinds, times, prices:
    whether the type of an event, the gap before it with its hour and weekday, and its price are read; id_dropout: how often an
    item's own vector is left out of its sum in training, so that tags and content alone have to do, as for a new item. start: where items' own vectors
    begin: at "random", or by "pairs", near those of the items taken with them. direct: of how many of the last events the items also
    speak for themselves, past the encoder, by a second vector each: what comes after them.

    The next item: temperature: of the softmax over cosines (0: plain products); smoothing: of the labels; negatives: items a step
    draws as rivals, half by how often they were taken and half evenly (0: all items are rivals); window: the target is one of so
    many events that follow, by chance (1: the next).
    also: what else is foreseen, of "kind", "gap", "category", "price_band"; also_weight: of each of those losses;
    contrast: weight of the loss that draws two pieces of one customer's history together (CoLES).

    batch: events a step on one process; accumulate: batches whose gradients make one step; epochs: the most; minutes: no epoch
    begins after so many (0: however long; the result then hangs on the machine's speed); patience: epochs without a better
    validation NDCG@10 before it stops (repeats: items that were had already count there); warmup: steps over which the rate rises; decay: whether it then falls evenly to nothing over
    the epochs. bf16: half precision where the processor has it; device: cpu, cuda, or auto (cuda where
    each process has one to itself).
    """

    encoder: Encoder = "transformer"
    width: int = 64
    layers: int = 2
    heads: int = 2
    length: int = 50
    dropout: float = 0.4
    input_dropout: float = 0.4
    tags: bool = False
    content: bool = False
    kinds: bool = False
    times: bool = False
    prices: bool = False
    id_dropout: float = 0.0
    start: Literal["random", "pairs"] = "pairs"
    direct: int = 0
    temperature: float = 0.07
    smoothing: float = 0.0
    negatives: int = 0
    window: int = 1
    also: tuple[str, ...] = ()
    also_weight: float = 0.1
    contrast: float = 0.0
    rate: float = 1e-3
    warmup: int = 100
    decay: bool = False
    weight_decay: float = 0.01
    clip: float = 1.0
    batch: int = 1024
    accumulate: int = 1
    epochs: int = 60
    patience: int = 6
    minutes: float = 0.0
    repeats: bool = False
    bf16: bool = False
    device: str = "cpu"
    threads: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "also", tuple(self.also))
        if unknown := set(self.also) - {"kind", "gap", "category", "price_band"}:
            raise ModelError("models.behaviour.also", name=", ".join(sorted(unknown)))
        if self.encoder in ("transformer", "hstu") and self.width % (2 * self.heads):
            raise ModelError("models.behaviour.width", width=self.width, heads=self.heads)


FULL = 20_000  # items up to which all of them are rivals: better than a sample (bench/log.md), a third dearer at 12,000 items
NEGATIVES = 1024  # rivals drawn where there are more
STEPS = 150  # an epoch takes about so many steps where there are many events

SIZES: dict[Size, dict[str, Any]] = {
    "tiny": {"width": 32, "layers": 1, "heads": 1, "length": 50},
    "small": {"width": 64, "layers": 2, "heads": 2, "length": 50},
    "base": {"width": 128, "layers": 3, "heads": 4, "length": 100, "dropout": 0.2, "input_dropout": 0.2},
    "large": {"width": 256, "layers": 6, "heads": 8, "length": 200, "dropout": 0.1, "input_dropout": 0.1, "bf16": True},
}
FROM_EVENTS: dict[Size, int] = {"tiny": 0, "small": 50_000, "base": 10_000_000}  # large: only where it is asked for


def size_for(events: int) -> Size:
    """The size that so many events to learn from carry: tiny below 50,000, base from 10 million on, small between. Events that are
    there and not learned from carry nothing."""
    return max((size for size, least in FROM_EVENTS.items() if events >= least), key=lambda size: FROM_EVENTS[size])


def sized(config: BehaviourConfig, size: Size) -> BehaviourConfig:
    """`config` at a size; raises ModelError for "large" without a GPU."""
    if size not in SIZES:
        raise ModelError("models.behaviour.size", size=size, known=", ".join(SIZES))
    if size == "large":
        import torch

        if not torch.cuda.is_available():
            raise ModelError("models.behaviour.large")
        config = replace(config, device="cuda")
    return replace(config, **SIZES[size])


def fitting(config: BehaviourConfig, events: int, items: int, *, reads: int = 2_000_000) -> BehaviourConfig:
    """`config` for so many training events and items: greater steps where there are many events, with a warmup no longer than an
    epoch; as many epochs as `reads` events make, one at least and its own at most; a sample of rivals where there are many items."""
    batch = min(max(config.batch, events // STEPS), 8 * config.batch)
    epochs = max(min(reads // max(events, 1), config.epochs), 1)
    warmup = min(config.warmup, max(events // batch, 1))
    negatives = config.negatives or (NEGATIVES if items > FULL else 0)
    return replace(config, batch=batch, epochs=epochs, warmup=warmup, negatives=negatives)
