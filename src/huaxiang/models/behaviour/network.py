"""The network: events → what each customer will want next, as a vector beside those of the items."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from huaxiang.models.behaviour.blocks import BLOCKS
from huaxiang.models.behaviour.config import BehaviourConfig
from huaxiang.models.behaviour.loss import full_softmax, sampled_softmax


class Network(nn.Module):
    """B users, T events, D width, V items; item codes count from 0, V is padding.

    tags: (V, tags) 0/1, what items are beside themselves, or None. An item that nobody took in training has no vector of its
    own and is no rival in the softmax: what is known of it is its tags.
    """

    met: Tensor
    share: Tensor  # (V,) of the draws of rivals
    tag_of: Tensor
    tags_from: Tensor

    def __init__(self, config: BehaviourConfig, items: int, tags: csr_matrix | None = None) -> None:
        super().__init__()
        self.config, self.items = config, items
        self.ids = nn.Embedding(items + 1, config.width, padding_idx=items)
        nn.init.normal_(self.ids.weight, std=config.width**-0.5)
        self.register_buffer("met", torch.ones(items, dtype=torch.bool))
        self.register_buffer("share", torch.full((items,), 1 / max(items, 1)), persistent=False)
        self.tagged = tags is not None
        if tags is not None:
            self.tag = nn.EmbeddingBag(tags.shape[1], config.width, mode="mean")
            nn.init.normal_(self.tag.weight, std=config.width**-0.5)
            self.register_buffer("tag_of", torch.from_numpy(tags.indices.astype(np.int64)), persistent=False)
            self.register_buffer("tags_from", torch.from_numpy(tags.indptr[:-1].astype(np.int64)), persistent=False)
        self.drop = nn.Dropout(config.input_dropout)
        self.blocks = nn.ModuleList(BLOCKS[config.encoder](config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)

    def meet(self, taken: Tensor) -> None:
        """taken: (V,) how often each item was taken in training."""
        self.met[:] = taken > 0
        self.share[:] = (taken / taken.sum() + self.met / self.met.sum()) / 2

    def item_vectors(self) -> Tensor:
        """(V + 1, D): an item's own vector and the mean of its tags'; padding is 0."""
        own = self.ids.weight * F.pad(self.met, (0, 1))[:, None]
        if not self.tagged:
            return own
        if self.training and self.config.id_dropout:
            own = own * (torch.rand(self.items + 1, 1) >= self.config.id_dropout)
        return own + F.pad(self.tag(self.tag_of, self.tags_from), (0, 0, 0, 1))

    def read(self, item: Tensor, vectors: Tensor) -> Tensor:
        """(B, T) codes → (B, T, D): what each event and those before it say."""
        x = F.embedding(item, vectors) * self.config.width**0.5
        x = self.drop(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out

    def logits(self, read: Tensor, vectors: Tensor) -> Tensor:
        """(N, D), (V, D) → (N, V)."""
        read, vectors = self._scaled(read, vectors)
        return read @ vectors.T

    def _scaled(self, read: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        if not self.config.temperature:
            return read, vectors
        return F.normalize(read, dim=-1) / self.config.temperature, F.normalize(vectors, dim=-1)

    def forward(self, item: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy of the next item over the events that have one (target −1: none); rivals: all items met in training."""
        vectors = self.item_vectors()
        known = target >= 0
        read, rivals = self._scaled(self.read(item, vectors)[known], vectors[: self.items][self.met])
        wanted = (self.met.cumsum(0) - 1)[target[known]]
        if not self.config.negatives:
            return full_softmax(read, rivals, wanted, self.config.smoothing)
        share = self.share[self.met]
        drawn = torch.multinomial(share, self.config.negatives, replacement=True)
        log_q = (share * self.config.negatives).log()
        return sampled_softmax(read, rivals, wanted, drawn, log_q, self.config.smoothing)
