"""The parts of the networks. N events of a batch, flat; B users, T most events of one (oldest first, padding behind), D width, H heads.

What treats every event alike (norms, projections, feed-forward) is computed on the N events that are there; only attention,
convolution and recurrence lay them out as (B, T), with padding behind, where nobody sees it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from huaxiang.models.behaviour.config import BehaviourConfig


class Layout:
    """Where the N events of a batch lie in (B, T). lengths: (B,) events of each user, one at least."""

    def __init__(self, lengths: Tensor) -> None:
        self.users, self.most = len(lengths), int(lengths.max()) if len(lengths) else 0
        starts = lengths.cumsum(0) - lengths
        self.ends = starts + lengths - 1  # (B,) places of the users' last events in the flat arrays
        self.user = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)  # (N,)
        self.place = torch.arange(len(self.user), device=lengths.device) + (self.user * self.most - starts[self.user])
        self.full = len(self.user) == self.users * self.most  # no padding at all

    def spread(self, x: Tensor) -> Tensor:
        """(N, D) → (B, T, D), zeros behind."""
        if self.full:
            return x.view(self.users, self.most, x.shape[-1])
        found = x.new_zeros(self.users * self.most, x.shape[-1]).index_copy(0, self.place, x)
        return found.view(self.users, self.most, x.shape[-1])

    def gather(self, x: Tensor) -> Tensor:
        """(B, T, D) → (N, D)."""
        flat = x.reshape(-1, x.shape[-1])
        return flat if self.full else flat.index_select(0, self.place)


def rotate(x: Tensor, base: float = 10_000.0) -> Tensor:
    """(B, H, T, C) with each pair of channels turned by its place times a frequency.

    source: Su et al. 2021 (RoFormer), eq. 34
    """
    time, channels = x.shape[-2], x.shape[-1]
    frequency = base ** (-torch.arange(0, channels, 2, dtype=torch.float32, device=x.device) / channels)
    angle = torch.arange(time, dtype=torch.float32, device=x.device)[:, None] * frequency  # (T, C / 2)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


class Attention(nn.Module):
    """Causal self-attention; each event sees itself and those before it. Padding stands behind, so nobody sees it."""

    def __init__(self, config: BehaviourConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.mixed = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, at: Layout) -> Tensor:
        mixed = at.spread(self.mixed(x))  # (B, T, 3 D)
        shape = (at.users, at.most, self.heads, x.shape[1] // self.heads)
        q, k, v = (part.reshape(shape).transpose(1, 2) for part in mixed.chunk(3, dim=-1))  # (B, H, T, C)
        seen = F.scaled_dot_product_attention(
            rotate(q), rotate(k), v, is_causal=True, dropout_p=self.dropout if self.training else 0.0
        )
        out: Tensor = self.out(at.gather(seen.transpose(1, 2).reshape(at.users, at.most, x.shape[1])))
        return out


class Gated(nn.Module):
    """Feed-forward with a gate. source: Shazeer 2020 (GLU variants), eq. 6 (SwiGLU)."""

    def __init__(self, config: BehaviourConfig) -> None:
        super().__init__()
        inner = config.width * 2
        self.up = nn.Linear(config.width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)
        out: Tensor = self.down(F.silu(gate) * value)
        return out


class TransformerBlock(nn.Module):
    """Pre-norm. source: Kang & McAuley 2018 (SASRec), eq. 5; differs: pre-norm, RMSNorm, rotary places, gated feed-forward."""

    def __init__(self, config: BehaviourConfig) -> None:
        super().__init__()
        self.before, self.attention = nn.RMSNorm(config.width), Attention(config)
        self.between, self.forth = nn.RMSNorm(config.width), Gated(config)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, at: Layout) -> Tensor:
        x = x + self.drop(self.attention(self.before(x), at))
        out: Tensor = x + self.drop(self.forth(self.between(x)))
        return out


class HstuBlock(nn.Module):
    """Attention without softmax: silu of the products, gated. source: Zhai et al. 2024 (HSTU), eq. 1–3; differs: rotary places,
    divided by the number of events seen."""

    def __init__(self, config: BehaviourConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm, self.inner = nn.RMSNorm(config.width), nn.RMSNorm(config.width)
        self.mixed = nn.Linear(config.width, 4 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, at: Layout) -> Tensor:
        gate, rest = F.silu(self.mixed(self.norm(x))).split([x.shape[1], 3 * x.shape[1]], dim=-1)
        shape = (at.users, at.most, self.heads, x.shape[1] // self.heads)
        v, q, k = (part.reshape(shape).transpose(1, 2) for part in at.spread(rest).chunk(3, dim=-1))
        seen_by = torch.arange(1, at.most + 1, dtype=x.dtype, device=x.device)[:, None]  # events each one sees
        weight = F.silu(rotate(q) @ rotate(k).transpose(-1, -2)).tril() / seen_by  # (B, H, T, T)
        seen = at.gather((weight @ v).transpose(1, 2).reshape(at.users, at.most, x.shape[1]))
        out: Tensor = x + self.drop(self.out(self.inner(seen) * gate))
        return out


class GruBlock(nn.Module):
    """source: Hidasi et al. 2016 (GRU4Rec); differs: trained with a full softmax at every event."""

    def __init__(self, config: BehaviourConfig) -> None:
        super().__init__()
        self.gru = nn.GRU(config.width, config.width, batch_first=True)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, at: Layout) -> Tensor:
        out: Tensor = self.drop(at.gather(self.gru(at.spread(x))[0]))
        return out


class CnnBlock(nn.Module):
    """A causal convolution over the last five events, gated, with a way around it.

    source: Tang & Wang 2018 (Caser) takes convolutions over the last events; differs: causal at every event, as in
    Yuan et al. 2019 (NextItNet)
    """

    def __init__(self, config: BehaviourConfig, reach: int = 5) -> None:
        super().__init__()
        self.reach = reach
        self.norm = nn.RMSNorm(config.width)
        self.over = nn.Conv1d(config.width, 2 * config.width, reach)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, at: Layout) -> Tensor:
        padded = F.pad(at.spread(self.norm(x)).transpose(1, 2), (self.reach - 1, 0))
        gate, value = self.over(padded).chunk(2, dim=1)
        out: Tensor = x + self.drop(at.gather((torch.sigmoid(gate) * value).transpose(1, 2)))
        return out


BLOCKS = {"transformer": TransformerBlock, "hstu": HstuBlock, "gru": GruBlock, "cnn": CnnBlock}
