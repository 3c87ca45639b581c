"""The behaviour model as one of the next-item models: fit, score, state; and the vectors and lists it gives."""

from __future__ import annotations

import logging
import os
from typing import Any, Self

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from huaxiang.models.behaviour.batches import reading_batch
from huaxiang.models.behaviour.begin import pair_vectors
from huaxiang.models.behaviour.checkpoint import Curve
from huaxiang.models.behaviour.config import BehaviourConfig
from huaxiang.models.behaviour.context import GAPS, Context, learn_context
from huaxiang.models.behaviour.network import Network
from huaxiang.models.behaviour.source import InMemory, Source
from huaxiang.models.behaviour.train import Lesson, Run, batches_of, train_network
from huaxiang.models.next_item.base import State, pack, unpack
from huaxiang.models.next_item.ranking import rank_targets
from huaxiang.models.next_item.sequences import Floats, Ints, Items, Sequences
from huaxiang.models.next_item.splits import Questions

log = logging.getLogger(__name__)
ORDER = ("kind", "gap", "hour", "weekday", "price")  # of what is known of an event: sums hang on it in the last digit
WATCHED = 4000  # validation questions that early stopping looks at
AT_ONCE = 100_000  # events read at once


class Behaviour:
    """See network.py for what it is. Letters: B histories, V items, D width."""

    logits = True  # scores are those of a softmax

    def __init__(self, config: BehaviourConfig) -> None:
        self.config = config
        read = {
            "ts": config.times,
            "tags": config.tags,
            "content": config.content,
            "kind": config.kinds,
            "price": config.prices,
        }
        self.needs = ("torch", *(name for name, has in read.items() if has))
        self.tags: csr_matrix | None = None
        self.content: Floats | None = None
        self.network: Network
        self.context = Context()
        self.curve: Curve = []  # an epoch: loss, seconds, steps, and of validation ndcg@10 and recall@10
        self._every: Tensor | None = None
        self._scaled: Tensor
        self._unknown: Tensor  # codes of items that nothing is known of

    def fit(
        self,
        train: Sequences | Source,
        items: Items,
        *,
        seed: int,
        watch: Questions | None = None,
        run: Run | None = None,
    ) -> Self:
        config = self.config
        source = InMemory(train) if isinstance(train, Sequences) else train
        torch.set_num_threads(config.threads)
        torch.manual_seed(seed)
        self.tags = items.tags if config.tags else None
        self.content = items.content if config.content else None
        self._every = None
        sample = source.piece(0)
        self.context = learn_context(sample, kinds=config.kinds, times=config.times, prices=config.prices)
        also = self._also(sample, items)
        sizes = {name: _size(name, codes, self.context, sample) for name, codes in also.items()}
        self.network = Network(config, len(items), self.tags, self.content, self.context.sizes, sizes)
        if config.start == "pairs":
            with torch.no_grad():
                self.network.ids.weight[:-1] = torch.from_numpy(
                    pair_vectors(source, len(items), config.width, seed=seed)
                )
        self.network.meet(torch.from_numpy(source.taken(len(items)).astype(np.float32)))
        self.network.to(device_of(config))
        asked = None
        if watch is not None:
            asked = watch.take(np.sort(np.random.default_rng(0).permutation(len(watch))[:WATCHED]))

        def validate() -> dict[str, float]:
            assert asked is not None
            self._every = None
            ranks = rank_targets(self.score, asked, len(items))
            rank = ranks.unmasked if config.repeats else ranks.rank
            self._every = None
            return {
                "ndcg@10": float(((rank <= 10) / np.log2(rank + 1)).mean()),
                "recall@10": float((rank <= 10).mean()),
            }

        lesson = Lesson(source, self.context, also)
        self.curve = train_network(
            self.network, lesson, seed=seed, watch=validate if asked is not None else None, run=run or Run()
        )
        self.network.cpu()
        return self

    def _also(self, sample: Sequences, items: Items) -> dict[str, Ints | None]:
        """What can be foreseen beside the item, of what the settings ask for."""
        carried = {"kind": sample.kind is not None, "gap": sample.ts is not None}
        found: dict[str, Ints | None] = {}
        for name in self.config.also:
            if name in items.groups:
                found[name] = items.groups[name]
            elif carried.get(name, False):
                found[name] = None
        return found

    def score(self, history: Sequences) -> Floats:
        """(B, V) logits; an item that nobody took in training is known by its tags and content alone, and without these comes last."""
        with torch.inference_mode():
            return np.asarray(self._scores(history).cpu())

    def _scores(self, history: Sequences) -> Tensor:
        """An item that nothing is known of has no direction: its product is 0, which would be above every item that does not fit."""
        rivals = self._rivals()
        found = self.network.scaled_read(self._last(history)) @ rivals.T
        if len(self._unknown):
            found[:, self._unknown] = found.amin(dim=1, keepdim=True) - 1
        return found

    def top(self, history: Sequences, count: int, *, seen: bool = False) -> tuple[Ints, Floats]:
        """(B, count) the items of the highest scores, highest first, and their scores; those of the history only where `seen`."""
        with torch.inference_mode():
            scores = self._scores(history)
            if not seen:
                user, item = torch.from_numpy(history.user), torch.from_numpy(history.item)
                scores[user.to(scores.device), item.to(scores.device)] = -torch.inf
            found = scores.topk(min(count, self.network.items), dim=1)
            return np.asarray(found.indices.cpu()), np.asarray(found.values.cpu())

    def user_vectors(self, history: Sequences) -> Floats:
        """(B, 2 D) float32: of each history the mean of what its events say, and of their items; each half of norm 1. Zeros for an
        empty one."""
        found = np.zeros((len(history), 2 * self.config.width), np.float32)
        recent = history.last(self.config.length)
        has = np.flatnonzero(recent.lengths > 0)
        with torch.inference_mode():
            for rows in batches_of(recent.lengths[has], AT_ONCE):
                batch = reading_batch(recent.take(has[rows]), self.context, self.network.device)
                read = self.network.read(batch.item, self._items(), batch.context, batch.layout)
                taken = self._items()[batch.item]
                found[has[rows]] = self.network.user_vectors(read, taken, batch.layout).cpu().numpy()
        return found

    def item_vectors(self) -> Floats:
        """(V, D) float32 as they enter the softmax."""
        with torch.inference_mode():
            return np.asarray(self._rivals().cpu())

    def _items(self) -> Tensor:
        """(V + 1, D) of all items and none, kept until the network changes."""
        if self._every is None:
            self.network.eval()
            self._every = self.network.every_item()
            self._scaled = self.network.scaled_items(self._every[:-1])
            self._unknown = (self._scaled == 0).all(dim=1).nonzero()[:, 0]
        return self._every

    def _rivals(self) -> Tensor:
        """(V, D) the items as they enter the softmax."""
        self._items()
        return self._scaled

    def _last(self, history: Sequences) -> Tensor:
        """(B, D) what the last event of each history says; of an empty one, what no item says."""
        recent = history.last(self.config.length)
        found = torch.zeros(len(recent), self.config.width, device=self.network.device)
        has = np.flatnonzero(recent.lengths > 0)
        vectors = self._items()
        for rows in batches_of(recent.lengths[has], AT_ONCE):
            batch = reading_batch(recent.take(has[rows]), self.context, self.network.device)
            read = self.network.read(batch.item, vectors, batch.context, batch.layout)
            found[torch.from_numpy(has[rows])] = read[batch.layout.ends].float()
        if len(has) < len(recent):
            found[torch.from_numpy(np.flatnonzero(recent.lengths == 0))] = self._nothing(vectors)
        return found

    def _nothing(self, vectors: Tensor) -> Tensor:
        one = Sequences(np.array([0, 1]), np.array([self.network.items]))
        batch = reading_batch(one, self.context, self.network.device)
        return self.network.read(batch.item, vectors, batch.context, batch.layout)[0].float()

    def state(self) -> State:
        found: State = {name: value.numpy() for name, value in self.network.state_dict().items()}
        found["price_edges"] = np.array(self.context.edges, dtype=np.float64)
        if self.content is not None:
            found["item_content"] = np.asarray(self.content, np.float32)
        return found | ({} if self.tags is None else pack(self.tags, "tags"))

    @classmethod
    def from_state(cls, config: BehaviourConfig, state: State) -> Self:
        made = cls(config)
        made.tags = unpack(state, "tags") if "tags.data" in state else None
        made.content = state.get("item_content")
        held = {name.split(".")[1]: len(value) for name, value in state.items() if name.startswith("context.")}
        sizes = {name: held[name] for name in ORDER if name in held}
        made.context = Context(sizes, tuple(state["price_edges"].tolist()))
        also = {
            name.split(".")[1]: len(value)
            for name, value in state.items()
            if name.startswith("also.") and name.endswith("bias")
        }
        made.network = Network(config, len(state["ids.weight"]) - 1, made.tags, made.content, sizes, also)
        weights: dict[str, Any] = {
            name: torch.from_numpy(np.array(value))
            for name, value in state.items()
            if not name.startswith("tags.") and name not in ("price_edges", "item_content")
        }
        made.network.load_state_dict(weights)
        made.network.eval()
        return made


def device_of(config: BehaviourConfig) -> torch.device:
    if config.device == "auto":
        return torch.device("cuda" if gpu_each() else "cpu")
    return torch.device(config.device)


def gpu_each() -> bool:
    """Whether each training process of this machine has a GPU of its own."""
    return torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _size(name: str, codes: Ints | None, context: Context, sample: Sequences) -> int:
    """How many numbers a thing that is foreseen takes, 0 included."""
    if codes is not None:
        return int(codes.max(initial=0)) + 1
    if name == "gap":
        return GAPS + 1
    assert sample.kind is not None, "kind is foreseen only where the events carry it"
    return int(sample.kind.max(initial=0)) + 2
