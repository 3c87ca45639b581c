"""The network: events → what each customer will want next, as a vector beside those of the items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from huaxiang.models.behaviour.batches import Batch
from huaxiang.models.behaviour.blocks import BLOCKS, Layout
from huaxiang.models.behaviour.config import BehaviourConfig
from huaxiang.models.behaviour.loss import full_softmax, sampled_softmax

FADE = 0.7  # where the weight of an item's say begins, against that of the item after it


class Network(nn.Module):
    """N events of B users, D width, V items; item codes count from 0, V is no item.

    tags: (V, tags) 0/1, what items are beside themselves, or None; content: (V, C) how they read or look, or None; context, also:
    name -> numbers an event's context takes, and what is foreseen beside the item (0 among them: not known). An item that
    nobody took in training has no vector of its own and is no rival in the softmax: what is known of it is its tags and content.
    """

    met: Tensor  # (V + 1,) whether somebody took it; no item: no
    share: Tensor  # (V,) of the draws of rivals
    tag_of: Tensor  # (V + 1, most tags of an item) codes, the number of tags where there are no more
    content: Tensor  # (V + 1, C) of norm 1

    def __init__(
        self,
        config: BehaviourConfig,
        items: int,
        tags: csr_matrix | None = None,
        content: np.ndarray | None = None,
        context: Mapping[str, int] | None = None,
        also: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.items = config, items
        self.ids = nn.Embedding(items + 1, config.width, padding_idx=items)
        nn.init.normal_(self.ids.weight, std=config.width**-0.5)
        self.register_buffer("met", torch.arange(items + 1) < items)
        self.register_buffer("share", torch.full((items,), 1 / max(items, 1)), persistent=False)
        self.tagged, self.read_content = tags is not None, content is not None
        if tags is not None:
            self.tag = nn.Parameter(torch.randn(tags.shape[1] + 1, config.width) * config.width**-0.5)
            self.register_buffer("tag_of", torch.from_numpy(tag_table(tags)), persistent=False)
        if content is not None:
            self.look = nn.Linear(content.shape[1], config.width, bias=False)
            scaled = content / np.maximum(np.linalg.norm(content, axis=1, keepdims=True), 1e-12)
            padded = np.vstack([scaled, np.zeros((1, content.shape[1]))]).astype(np.float32)
            self.register_buffer("content", torch.from_numpy(padded), persistent=False)
        told = {name: nn.Embedding(size, config.width, padding_idx=0) for name, size in (context or {}).items()}
        for one in told.values():
            nn.init.normal_(one.weight, std=0.1 * config.width**-0.5)
        self.context = nn.ModuleDict(told)
        self.also = nn.ModuleDict({name: nn.Linear(config.width, size) for name, size in (also or {}).items()})
        self.drop = nn.Dropout(config.input_dropout)
        self.blocks = nn.ModuleList(BLOCKS[config.encoder](config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        if config.direct:
            self.after = nn.Embedding(items + 1, config.width, padding_idx=items)
            nn.init.zeros_(self.after.weight)
            self.lag = nn.Parameter(FADE ** torch.arange(config.direct, dtype=torch.float32))

    @property
    def device(self) -> torch.device:
        return self.ids.weight.device

    def meet(self, taken: Tensor) -> None:
        """taken: (V,) how often each item was taken in training."""
        met = taken > 0
        self.met[:-1] = met
        self.share[:] = (taken / taken.sum() + met / met.sum()) / 2

    def item_vectors(self, code: Tensor) -> Tensor:
        """(N,) codes → (N, D): an item's own vector, if somebody took it, the mean of its tags' and its content's; no item is 0."""
        own = F.embedding(code, self.ids.weight) * self.met[code][:, None]
        if not (self.tagged or self.read_content):
            return own
        if self.training and self.config.id_dropout:
            own = own * (torch.rand(len(code), 1, device=own.device) >= self.config.id_dropout)
        if self.tagged:
            own = own + F.embedding_bag(self.tag_of[code], self.tag, mode="mean", padding_idx=len(self.tag) - 1)
        if self.read_content:
            own = own + self.look(self.content[code])
        return own

    def every_item(self) -> Tensor:
        """(V + 1, D) the vectors of all items, and of none."""
        return self.item_vectors(torch.arange(self.items + 1, device=self.device))

    def read(
        self, place: Tensor, vectors: Tensor, context: Mapping[str, Tensor], at: Layout, item: Tensor | None = None
    ) -> Tensor:
        """(N,) places in `vectors`, and numbers of what else is known of each event → (N, D): what each event and those
        before it say. item: (N,) codes, where `vectors` are not those of all items."""
        x = F.embedding(place, vectors)
        for name, embedding in self.context.items():
            x = x + embedding(context[name])
        x = self.drop(x * self.config.width**0.5)
        for block in self.blocks:
            x = block(x, at)
        out: Tensor = self.norm(x)
        return out + self._follows(place if item is None else item, at) if self.config.direct else out

    def _follows(self, item: Tensor, at: Layout) -> Tensor:
        """(N, D) what tends to come after the last items, each with a weight for how long ago it was: tied vectors say that two items
        go together, these say which comes after which.

        source: He & McAuley 2016 (Fossil), eq. 5; differs: beside a network, inside a softmax, no weights of each customer
        """
        each = self.drop(F.embedding(item, self.after.weight) * self.config.width**0.5)
        found = self.lag[0] * each
        for lag in range(1, min(self.config.direct, at.most)):
            same = (at.user[lag:] == at.user[:-lag])[:, None]
            found = found + F.pad(self.lag[lag] * each[:-lag] * same, (0, 0, lag, 0))
        return found

    def scaled_read(self, read: Tensor) -> Tensor:
        """(N, D) as it enters the softmax: its products with the scaled items are the logits."""
        return F.normalize(read.float(), dim=-1) / self.config.temperature if self.config.temperature else read.float()

    def scaled_items(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors.float(), dim=-1) if self.config.temperature else vectors.float()

    def forward(self, batch: Batch) -> Tensor:
        """The loss of a batch: that of the next item, and `also_weight` times each of the others'."""
        loss, read = self._next_item(batch)
        for name, module in self.also.items():
            head = cast(nn.Linear, module)
            aim = torch.where(batch.also[name] < head.out_features, batch.also[name], 0)
            if (aim > 0).any():
                said = F.cross_entropy(head(read).float(), aim, ignore_index=0)
                loss = loss + self.config.also_weight * said
        return loss

    def _next_item(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of the target over the events; rivals: items met in training. And (N, D) what was read."""
        if self.config.negatives:
            return self._against_some(batch)
        vectors = self.every_item()
        rivals = self.met.nonzero()[:, 0]
        read = self.read(batch.item, vectors, batch.context, batch.layout)
        others = self.scaled_items(vectors.index_select(0, rivals))
        aim = (self.met.cumsum(0) - 1)[batch.target]
        return full_softmax(self.scaled_read(read), others, aim, self.config.smoothing), read

    def _against_some(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss against a draw of rivals: only the items of the step are looked at."""
        drawn = torch.multinomial(self.share, self.config.negatives, replacement=True)
        code, place = torch.cat([batch.item, batch.target, drawn]).unique(return_inverse=True)
        shown, aim, rivals = place.split([len(batch.item), len(batch.target), len(drawn)])
        vectors = self.item_vectors(code)
        read = self.read(shown, vectors, batch.context, batch.layout, batch.item)
        x, scaled = self.scaled_read(read), self.scaled_items(vectors)
        expected = F.pad(self.share, (0, 1), value=1.0)[code] * self.config.negatives
        return sampled_softmax(x, scaled, aim, rivals, expected.log(), self.config.smoothing), read

    def user_vectors(self, read: Tensor, taken: Tensor, at: Layout) -> Tensor:
        """(N, D) what was read, (N, D) vectors of the items → (B, 2 D): the mean of what all events say, and of their items as they
        enter the softmax; each of norm 1. What the last event says is left out: of who a customer is it told less (bench/log.md)."""

        def mean(values: Tensor) -> Tensor:
            found = torch.zeros(at.users, values.shape[1], device=values.device).index_add_(0, at.user, values.float())
            return F.normalize(found, dim=-1)

        return torch.cat([mean(read), mean(self.scaled_items(taken))], dim=-1)


def tag_table(tags: csr_matrix) -> np.ndarray:
    """(V + 1, most tags of an item) the tags of each item and none of padding; `tags.shape[1]` where there are no more."""
    counts = np.diff(tags.indptr)
    found = np.full((tags.shape[0] + 1, max(int(counts.max(initial=0)), 1)), tags.shape[1], dtype=np.int64)
    row = np.repeat(np.arange(tags.shape[0]), counts)
    found[row, np.arange(len(tags.indices)) - np.repeat(tags.indptr[:-1], counts)] = tags.indices
    return found
