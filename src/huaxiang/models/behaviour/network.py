"""The network: events → what each customer will want next, as a vector beside those of the items."""

from __future__ import annotations

from collections.abc import Mapping

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

    met: Tensor  # (V + 1,) whether somebody took it; padding: no
    share: Tensor  # (V,) of the draws of rivals
    tag_of: Tensor  # (V + 1, most tags of an item) codes, the number of tags where there are no more

    def __init__(
        self,
        config: BehaviourConfig,
        items: int,
        tags: csr_matrix | None = None,
        context: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.items = config, items
        self.ids = nn.Embedding(items + 1, config.width, padding_idx=items)
        nn.init.normal_(self.ids.weight, std=config.width**-0.5)
        self.register_buffer("met", torch.arange(items + 1) < items)
        self.register_buffer("share", torch.full((items,), 1 / max(items, 1)), persistent=False)
        self.tagged = tags is not None
        if tags is not None:
            self.tag = nn.Parameter(torch.randn(tags.shape[1] + 1, config.width) * config.width**-0.5)
            self.register_buffer("tag_of", torch.from_numpy(tag_table(tags)), persistent=False)
        told = {name: nn.Embedding(size, config.width, padding_idx=0) for name, size in (context or {}).items()}
        for one in told.values():
            nn.init.normal_(one.weight, std=0.1 * config.width**-0.5)
        self.context = nn.ModuleDict(told)
        self.drop = nn.Dropout(config.input_dropout)
        self.blocks = nn.ModuleList(BLOCKS[config.encoder](config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)

    def meet(self, taken: Tensor) -> None:
        """taken: (V,) how often each item was taken in training."""
        met = taken > 0
        self.met[:-1] = met
        self.share[:] = (taken / taken.sum() + met / met.sum()) / 2

    def item_vectors(self, code: Tensor) -> Tensor:
        """(N,) codes → (N, D): an item's own vector, if somebody took it, and the mean of its tags'; padding is 0."""
        own = F.embedding(code, self.ids.weight) * self.met[code][:, None]
        if not self.tagged:
            return own
        if self.training and self.config.id_dropout:
            own = own * (torch.rand(len(code), 1) >= self.config.id_dropout)
        listed = self.tag_of[code]
        return own + F.embedding_bag(listed, self.tag, mode="mean", padding_idx=len(self.tag) - 1)

    def every_item(self) -> Tensor:
        """(V + 1, D) the vectors of all items, and padding's."""
        return self.item_vectors(torch.arange(self.items + 1))

    def read(self, place: Tensor, vectors: Tensor, context: Mapping[str, Tensor]) -> Tensor:
        """(B, T) places in `vectors`, and numbers of what else is known of each event → (B, T, D): what each event and those
        before it say."""
        x = F.embedding(place, vectors)
        for name, embedding in self.context.items():
            x = x + embedding(context[name])
        x = self.drop(x * self.config.width**0.5)
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

    def forward(self, item: Tensor, target: Tensor, context: Mapping[str, Tensor]) -> Tensor:
        """Mean cross-entropy of the next item over the events that have one (target −1: none); rivals: items met in training."""
        known = target >= 0
        wanted = target[known]
        if self.config.negatives:
            return self._against_some(item, wanted, known, context)
        vectors = self.every_item()
        rivals = self.met.nonzero()[:, 0]
        read, others = self._scaled(self.read(item, vectors, context)[known], vectors.index_select(0, rivals))
        return full_softmax(read, others, (self.met.cumsum(0) - 1)[wanted], self.config.smoothing)

    def _against_some(self, item: Tensor, wanted: Tensor, known: Tensor, context: Mapping[str, Tensor]) -> Tensor:
        """The loss against a draw of rivals: only the items of the step are looked at."""
        drawn = torch.multinomial(self.share, self.config.negatives, replacement=True)
        code, place = torch.cat([item.flatten(), wanted, drawn]).unique(return_inverse=True)
        shown, aim, rivals = place.split([item.numel(), len(wanted), len(drawn)])
        vectors = self.item_vectors(code)
        read, scaled = self._scaled(self.read(shown.reshape(item.shape), vectors, context)[known], vectors)
        expected = F.pad(self.share, (0, 1), value=1.0)[code] * self.config.negatives
        return sampled_softmax(read, scaled, aim, rivals, expected.log(), self.config.smoothing)


def tag_table(tags: csr_matrix) -> np.ndarray:
    """(V + 1, most tags of an item) the tags of each item and none of padding; `tags.shape[1]` where there are no more."""
    counts = np.diff(tags.indptr)
    found = np.full((tags.shape[0] + 1, max(int(counts.max(initial=0)), 1)), tags.shape[1], dtype=np.int64)
    row = np.repeat(np.arange(tags.shape[0]), counts)
    found[row, np.arange(len(tags.indices)) - np.repeat(tags.indptr[:-1], counts)] = tags.indices
    return found
