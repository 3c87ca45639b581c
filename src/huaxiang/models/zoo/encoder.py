"""The network of a sequence model. B rows, T tokens (oldest first, padding behind), D width, Z prepared columns. Needs PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from huaxiang.models.behaviour.blocks import BLOCKS, Layout
from huaxiang.models.behaviour.config import BehaviourConfig
from huaxiang.models.metrics import Floats
from huaxiang.models.next_item.sequences import Ints
from huaxiang.models.zoo.layers import dense_network, network_loss
from huaxiang.models.zoo.tokens import FIELDS

if TYPE_CHECKING:
    from huaxiang.models.zoo.sequence import SequenceConfig

NEAR = 8  # batches among which rows are sorted by length, so that little is computed on padding
AT_ONCE = 16_384  # tokens of a batch where nothing is learned


class Network(nn.Module):
    """Tokens → a vector each (the sum of what their fields say) → the encoder → [last, mean] → joined with the columns → dense.

    vocabulary: how many numbers the fields have; one more stands for what is not known, and says nothing
    """

    def __init__(self, settings: SequenceConfig, vocabulary: int, columns: int, start: Floats) -> None:
        super().__init__()
        width = settings.width
        made = BehaviourConfig(encoder=settings.encoder, width=width, heads=settings.heads, dropout=settings.dropout)
        self.unknown = vocabulary
        # a token's sum has variance 1
        self.table = nn.Parameter(torch.randn(vocabulary + 1, width) * len(FIELDS) ** -0.5)
        self.blocks = nn.ModuleList(BLOCKS[settings.encoder](made) for _ in range(settings.layers))
        self.norm = nn.RMSNorm(width)
        self.head = dense_network(columns + 2 * width, (settings.hidden,), settings.dropout, start)
        with torch.no_grad():
            first = next(self.head.parameters())
            first[:, columns:] = 0.0  # what is learned of the columns first stands, whatever the events say

    def embed(self, codes: Tensor) -> Tensor:
        """(B, T, FIELDS) → (B, T, D)"""
        flat = functional.embedding_bag(codes.flatten(0, 1), self.table, mode="sum", padding_idx=self.unknown)
        return flat.view(*codes.shape[:2], -1)

    def pool(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) embedded tokens → (B, 2 D): the state at the last token, and the mean over all."""
        shape, at = x.shape, Layout(torch.full((len(x),), x.shape[1]))  # padding is behind, where nobody sees it
        x = x.flatten(0, 1)
        for block in self.blocks:
            x = block(x, at)
        x = self.norm(x).view(shape)
        real = torch.arange(x.shape[1])[None, :] < lengths[:, None]
        mean = (x * real[:, :, None]).sum(dim=1) / lengths[:, None]
        return torch.cat([x[torch.arange(len(x)), lengths - 1], mean], dim=1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """So small a network is faster so, and gives the same every time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Padded:
    """The tokens of many rows, a batch at a time."""

    def __init__(self, codes: Ints, lengths: Ints, unknown: int) -> None:
        self.codes, self.lengths, self.unknown = codes, lengths, unknown
        self.starts = np.cumsum(lengths) - lengths

    def batch(self, rows: Ints) -> tuple[Tensor, Tensor]:
        """(B, T, FIELDS) numbers, (B,) lengths of `rows`."""
        lengths = self.lengths[rows]
        slot = np.arange(lengths.max())[None, :]
        real = slot < lengths[:, None]
        found = np.full((*real.shape, self.codes.shape[1]), self.unknown, dtype=np.int64)
        found[real] = self.codes[(self.starts[rows][:, None] + slot)[real]]
        return torch.from_numpy(found), torch.from_numpy(lengths)

    def deal(self, size: int, chance: np.random.Generator) -> list[Ints]:
        """All rows in batches of `size`, in random order, those of like length together."""
        order, found = chance.permutation(len(self.lengths)), []
        for low in range(0, len(order), size * NEAR):
            part = order[low : low + size * NEAR]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            found += [part[at : at + size] for at in range(0, len(part), size)]
        return [found[place] for place in chance.permutation(len(found))]

    def every(self) -> Iterator[Ints]:
        """All rows, the short first, at most AT_ONCE tokens a batch."""
        order = np.argsort(self.lengths, kind="stable")
        first = 0
        while first < len(order):
            last = first + 1
            while last < len(order) and self.lengths[order[last]] * (last + 1 - first) <= AT_ONCE:
                last += 1
            yield order[first:last]
            first = last


def pooled(network: Network, tokens: Padded) -> Tensor:
    """(N, 2 D) what the encoder says of each row."""
    network.eval()
    found = torch.zeros(len(tokens.lengths), 2 * network.table.shape[1])
    with torch.no_grad(), one_thread():
        for rows in tokens.every():
            codes, lengths = tokens.batch(rows)
            found[torch.from_numpy(rows)] = network.pool(network.embed(codes), lengths)
    return found


@dataclass(frozen=True)
class Rows:
    """Training or validation rows: (N, Z) columns, (N,) what the score is fitted to, and the tokens (None: not to be read)."""

    z: Tensor
    aim: Tensor
    tokens: Padded | None = None

    def deal(self, size: int, chance: np.random.Generator) -> list[Ints]:
        if self.tokens is not None:
            return self.tokens.deal(size, chance)
        order = chance.permutation(len(self.z))
        return [order[low : low + size] for low in range(0, len(order), size)]


def fit_network(
    network: Network,
    settings: SequenceConfig,
    stages: Sequence[tuple[Rows, int]],
    watched: Rows | None,
    *,
    steps: int,
    seed: int,
) -> list[int]:
    """Fits in place, stage after stage on (rows, epochs); gives the epochs run of each: with `watched` (which has tokens) those of the
    weights that did best there. steps: an epoch takes at most about so many.
    """
    chance, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    best, ran = np.inf, [0] * len(stages)
    kept: dict[str, Tensor] = {}
    for stage, (train, epochs) in enumerate(stages):
        optimiser = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=settings.weight_decay)
        waited = 0
        for epoch in range(epochs):
            network.train()
            for rows in train.deal(max(settings.batch, len(train.z) // steps), chance):
                loss = _loss(network, settings, train, rows, noise)
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
                optimiser.step()
            if watched is None:
                ran[stage] = epoch + 1
                continue
            reached = _watch(network, settings, watched, read=train.tokens is not None)
            if reached < best:
                best, waited, ran[stage] = reached, 0, epoch + 1
                kept = {name: value.clone() for name, value in network.state_dict().items()}
            elif (waited := waited + 1) >= settings.patience:
                break
        if kept:
            network.load_state_dict(kept)
    return ran


def _loss(network: Network, settings: SequenceConfig, train: Rows, rows: Ints, noise: torch.Generator) -> Tensor:
    """Of one batch; without tokens as if events said nothing."""
    at = torch.from_numpy(rows)
    columns, h = train.z[at], torch.zeros(len(rows), 2 * settings.width)
    if settings.noise:
        columns = columns + settings.noise * torch.randn(columns.shape, generator=noise)
    if train.tokens is not None:
        codes, lengths = train.tokens.batch(rows)
        x = network.embed(codes)
        if settings.noise:
            x = x + settings.noise * torch.randn(x.shape, generator=noise)
        h = network.pool(x, lengths)
    return network_loss(settings.task, network.head(torch.cat([columns, h], dim=1)), train.aim[at], settings.smoothing)


def _watch(network: Network, settings: SequenceConfig, watched: Rows, *, read: bool) -> float:
    """The loss on validation rows."""
    assert watched.tokens is not None
    network.eval()
    h = pooled(network, watched.tokens) if read else torch.zeros(len(watched.z), 2 * settings.width)
    with torch.no_grad():
        return float(network_loss(settings.task, network.head(torch.cat([watched.z, h], dim=1)), watched.aim, 0.0))


def token_effects(network: Network, tokens: Padded, slope: Tensor, steps: int) -> Floats:
    """(S,) how far each token moved slope · [last, mean] (slope: (N, 2 D)), all events growing together from vectors of zeros while
    the date stays as it is.

    source: Sundararajan, Taly, Yan 2017 (integrated gradients), eq. 1; differs: by the midpoints of `steps` pieces
    """
    network.eval()
    found = np.zeros(len(tokens.codes))
    with one_thread():
        for rows in tokens.every():
            codes, lengths = tokens.batch(rows)
            with torch.no_grad():
                x = network.embed(codes)
            date = (torch.arange(x.shape[1])[None, :] == lengths[:, None] - 1)[:, :, None]
            total = torch.zeros_like(x)
            for step in range(steps):
                some = torch.where(date, x, x * ((step + 0.5) / steps)).requires_grad_()
                (network.pool(some, lengths) * slope[torch.from_numpy(rows)]).sum().backward(inputs=[some])
                assert some.grad is not None
                total += some.grad
            effect = torch.where(date, 0.0, x * total / steps).sum(dim=2).numpy()
            slot = np.arange(effect.shape[1])[None, :]
            real = slot < tokens.lengths[rows][:, None]
            found[(tokens.starts[rows][:, None] + slot)[real]] = effect[real]
    return found
