"""The training loop, one for all: a processor or a GPU, one process or several, from memory or from a file, whole or gone on with.

Chance is drawn anew for each step from (seed, epoch, piece, step, process), so that a run that was killed goes on from its last
checkpoint, within an epoch too, to the same result. With P processes, each takes every P-th batch; a step is made of P × `accumulate` batches, whose
gradients are averaged: P processes do what one does with P times the accumulation.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from huaxiang.models.behaviour.batches import Batch, deal, reading_batch, training_batch
from huaxiang.models.behaviour.checkpoint import Curve, Standing, load_checkpoint, save_checkpoint
from huaxiang.models.behaviour.config import BehaviourConfig
from huaxiang.models.behaviour.context import Context
from huaxiang.models.behaviour.contrast import contrast_loss, two_pieces
from huaxiang.models.behaviour.network import Network
from huaxiang.models.behaviour.source import Source
from huaxiang.models.next_item.sequences import Ints, Sequences

log = logging.getLogger(__name__)
EVERY_S = 60.0  # between checkpoints within an epoch
TELL_S = 1.0  # between words of where it stands
POINTS = 60  # of the curve of the loss, in all epochs together, about


@dataclass(frozen=True)
class Run:
    """How a training is carried out, which changes nothing of its result.

    checkpoint: the file to go on from and to write (None: none), if `mark`, which stands for the data, is the same; told: called every TELL_S, and after every piece, with the share
    that is done, the loss, training events a second and the seconds left, about
    """

    checkpoint: Path | None = None
    told: Callable[[dict[str, float]], None] = field(default=lambda said: None)
    mark: str = ""


@dataclass(frozen=True)
class Lesson:
    """What a network is to learn from. also: name -> (V,) codes of the items, or None for what the events carry."""

    source: Source
    context: Context
    also: Mapping[str, Ints | None]


Watch = Callable[[], dict[str, float]]  # what validation says of the network as it is; "ndcg@10" stops it


def world() -> tuple[int, int]:
    """(this process's number, how many there are)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def train_network(network: Network, lesson: Lesson, *, seed: int, watch: Watch | None, run: Run) -> Curve:
    """Trains `network` in place and leaves it at its best epoch; gives for each epoch loss, seconds and what `watch` found, and `steps`:
    [epochs done, loss since the point before] within it."""
    config, source = network.config, lesson.source
    optimiser = _optimiser(network)
    mark = zlib.crc32(np.ascontiguousarray(source.taken(network.items)).tobytes())  # of the data, about
    about = {"config": _plain(config), "seed": seed, "users": source.users, "mark": [mark, run.mark], "of": world()[1]}
    standing = None
    if run.checkpoint is not None:
        standing = load_checkpoint(run.checkpoint, network, optimiser, about)
    standing = standing or Standing(curve=[])
    curve = standing.curve = standing.curve or []
    began = time.perf_counter()
    spent_before = sum(one["seconds"] for one in curve) + standing.seconds

    def spent() -> float:
        return _longest(spent_before + time.perf_counter() - began, network.device)

    last_saved, last_told = began, began
    while standing.epoch < config.epochs and not standing.over:
        if config.minutes and not (standing.piece or standing.batches) and spent() > 60 * config.minutes:
            break
        order = np.random.default_rng([seed, standing.epoch]).permutation(source.pieces)
        for place in range(standing.piece, source.pieces):
            clock = time.perf_counter()
            for within in _learn_piece(network, optimiser, lesson, int(order[place]), standing, seed, spent):
                now = time.perf_counter()
                standing.seconds += now - clock
                clock = now
                if within == 1 or now - last_told > TELL_S:
                    run.told(_progress(standing, within, source, config))
                    last_told = now
                if run.checkpoint is not None and now - last_saved > EVERY_S and world()[0] == 0:
                    save_checkpoint(run.checkpoint, network, optimiser, standing, about)
                    last_saved = time.perf_counter()
            standing.piece, standing.batches = place + 1, 0
        _close_epoch(network, standing, watch, config)
        if run.checkpoint is not None and world()[0] == 0:
            save_checkpoint(run.checkpoint, network, optimiser, standing, about)
            last_saved = time.perf_counter()
    if standing.kept is not None:
        network.load_state_dict(standing.kept)
    network.eval()
    return curve


def _longest(seconds: float, device: torch.device) -> float:
    """The most that any process has spent: all must see one clock, or they would part over what is left of the minutes."""
    if world()[1] == 1:
        return seconds
    most = torch.tensor(seconds, dtype=torch.float64, device="cpu" if device.type == "cpu" else device)
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return float(most)


def _plain(config: BehaviourConfig) -> dict[str, Any]:
    """The settings that the result hangs on."""
    return {name: value for name, value in asdict(config).items() if name not in ("epochs", "minutes", "threads")} | (
        {"epochs": config.epochs} if config.decay else {}
    )


def _optimiser(network: Network) -> torch.optim.Optimizer:
    """AdamW; items' own vectors, norms and biases do not decay. source: Loshchilov & Hutter 2019"""
    config = network.config
    free = ("ids.weight", "after.weight")
    own = [p for name, p in network.named_parameters() if p.ndim < 2 or name in free]
    decayed = [p for name, p in network.named_parameters() if not (p.ndim < 2 or name in free)]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": own, "weight_decay": 0.0}],
        lr=config.rate, betas=(0.9, 0.98), fused=True,
    )  # fmt: skip


def _learn_piece(
    network: Network,
    optimiser: torch.optim.Optimizer,
    lesson: Lesson,
    number: int,
    standing: Standing,
    seed: int,
    spent: Callable[[], float],
) -> Iterator[float]:
    """Step after step from where `standing` is; gives after each what share of the piece is done."""
    config, (rank, processes) = network.config, world()
    chance = np.random.default_rng([seed, standing.epoch, number])
    read = stretches(lesson.source.piece(number), config.length + 1, chance)
    if not len(read):
        return
    dealt = deal(read.lengths, config.batch, chance)
    together = processes * config.accumulate
    network.train()
    for low in range(standing.batches, len(dealt), together):
        group = dealt[low : low + together]
        torch.manual_seed(int(np.random.default_rng([seed, standing.epoch, number, low, rank]).integers(2**62)))
        optimiser.param_groups[0]["lr"] = optimiser.param_groups[1]["lr"] = _rate(
            config, standing, lesson.source, low / len(dealt), spent() if config.minutes else 0.0
        )
        optimiser.zero_grad(set_to_none=True)
        for place, users in enumerate(group):
            own = np.random.default_rng([seed, standing.epoch, number, low + place])
            if place % processes != rank:
                continue
            loss, events = _loss(network, lesson, read.take(users), own)
            (loss / len(group)).backward()
            standing.losses, standing.seen = standing.losses + float(loss.detach()) * events, standing.seen + events
        if processes > 1:
            _add_up(network)
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimiser.step()
        standing.step += 1
        standing.batches = low + len(group)
        within = standing.batches / len(dealt)
        _mark_loss(standing, (standing.piece + within) / lesson.source.pieces, config)
        yield within


def _mark_loss(standing: Standing, within: float, config: BehaviourConfig) -> None:
    """A point of the curve, where `within` the epoch (0 to 1) one is due."""
    losses, seen, last = standing.marked
    if (within - last < config.epochs / POINTS and within < 1) or standing.seen == seen:
        return
    standing.steps.append([standing.epoch + within, (standing.losses - losses) / (standing.seen - seen)])
    standing.marked = [standing.losses, standing.seen, within]


def _loss(network: Network, lesson: Lesson, some: Sequences, chance: np.random.Generator) -> tuple[torch.Tensor, int]:
    config, device = network.config, network.device
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        batch = training_batch(some, lesson.context, lesson.also, window=config.window, chance=chance, device=device)
        loss: torch.Tensor = network(batch)
        if config.contrast and len(some) > 1:
            loss = loss + config.contrast * contrast_loss(
                _read(network, reading_batch(two_pieces(some, chance), lesson.context, device))
            )
    return loss, len(batch.item)


def _read(network: Network, batch: Batch) -> torch.Tensor:
    vectors = network.every_item()
    read = network.read(batch.item, vectors, batch.context, batch.layout)
    return network.user_vectors(read, vectors[batch.item], batch.layout)


def _add_up(network: Network) -> None:
    """The sum of all processes' gradients, in all of them."""
    for parameter in network.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)


def _rate(config: BehaviourConfig, standing: Standing, source: Source, within: float, spent: float) -> float:
    """The rate of a step: it rises over `warmup` steps, and falls evenly to nothing where it decays: over the epochs, or over the
    minutes where these (`spent`: seconds of them) are over sooner."""
    rate = config.rate * min(1.0, (standing.step + 1) / max(config.warmup, 1))
    if config.decay:
        done = (standing.epoch + (standing.piece + within) / source.pieces) / config.epochs
        if config.minutes:
            done = max(done, spent / (60 * config.minutes))
        rate *= max(1 - done, 0.0)
    return rate


def _close_epoch(network: Network, standing: Standing, watch: Watch | None, config: BehaviourConfig) -> None:
    found: dict[str, Any] = {"loss": standing.losses / max(standing.seen, 1), "seconds": standing.seconds}
    if watch is not None:
        network.eval()
        found |= watch()
        if found["ndcg@10"] > standing.best:
            standing.best, standing.waited = found["ndcg@10"], 0
            standing.kept = {name: value.detach().clone() for name, value in network.state_dict().items()}
        else:
            standing.waited += 1
            standing.over = standing.waited >= config.patience
    assert standing.curve is not None
    standing.curve.append(found | {"steps": standing.steps})
    standing.epoch, standing.piece = standing.epoch + 1, 0
    standing.losses, standing.seen, standing.seconds = 0.0, 0, 0.0
    standing.steps, standing.marked = [], [0.0, 0, 0.0]
    log.info(
        "epoch %d of %d: %s",
        standing.epoch,
        config.epochs,
        ", ".join(f"{name} {value:.4f}" for name, value in found.items()),
    )


def _progress(standing: Standing, within: float, source: Source, config: BehaviourConfig) -> dict[str, float]:
    """within: the share of the piece that is done."""
    speed = world()[1] * standing.seen / max(standing.seconds, 1e-9)
    of_epoch = (standing.piece + within) / source.pieces
    done = (standing.epoch + of_epoch) / config.epochs
    left = standing.seconds / of_epoch * (config.epochs - standing.epoch - of_epoch)
    return {
        "done": done,
        "epoch": standing.epoch + 1,
        "loss": standing.losses / max(standing.seen, 1),
        "events_per_s": speed,
        "left_s": left,
    }


def stretches(every: Sequences, most: int, chance: np.random.Generator) -> Sequences:
    """Histories cut into stretches of at most `most` events that share their ends, so that every event but a history's first is
    a target once; where the first cut of a long one falls is chance. Histories of one event teach nothing and are left out."""
    every = every.take(np.flatnonzero(every.lengths >= 2))
    step = most - 1
    steps = every.lengths - 1  # targets of each history
    first = np.where(steps > step, chance.integers(1, step + 1, len(every)), steps)  # targets of its first stretch
    count = 1 + -(-(steps - first) // step)
    owner = np.repeat(np.arange(len(every)), count)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)  # of the stretch in its history
    begin = np.where(place > 0, first[owner] + (place - 1) * step, 0)
    end = np.minimum(first[owner] + place * step, steps[owner])
    return every.pick(every.starts[:-1][owner] + begin, end - begin + 1)


def batches_of(lengths: Ints, events: int) -> Iterator[Ints]:
    """Users in the order given, so many at once that the padded events stay within `events`, about."""
    size = max(1, events // max(int(lengths.max(initial=1)), 1))
    for low in range(0, len(lengths), size):
        yield np.arange(low, min(low + size, len(lengths)))
