"""Two pieces of one customer's history are alike, those of two customers are not: a loss that asks it of the user vectors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from huaxiang.models.next_item.sequences import Sequences

LEAST = 0.25  # of a history that a piece holds
TEMPERATURE = 0.1


def two_pieces(some: Sequences, chance: np.random.Generator) -> Sequences:
    """2 B users: a random stretch of each history, then another of each."""
    lengths = np.tile(some.lengths, 2)
    count = np.maximum((lengths * chance.uniform(LEAST, 1.0, len(lengths))).astype(np.int64), 1)
    first = np.tile(some.starts[:-1], 2) + chance.integers(0, lengths - count + 1)
    return some.pick(first, count)


def contrast_loss(vectors: Tensor) -> Tensor:
    """Cross-entropy of a piece's other half among all other pieces; vectors: (2 B, D), first all first pieces, then all second.

    source: Babaev et al. 2022 (CoLES): pieces of one user as positives; loss: van den Oord et al. 2018 (InfoNCE), eq. 4
    """
    users = len(vectors) // 2
    scaled = F.normalize(vectors, dim=-1)
    alike = scaled @ scaled.T / TEMPERATURE
    alike.fill_diagonal_(-1e9)
    other = torch.arange(2 * users, device=vectors.device).roll(users)
    return F.cross_entropy(alike, other)
