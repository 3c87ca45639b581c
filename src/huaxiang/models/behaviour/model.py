"""The behaviour model as one of the next-item models: fit, score, state."""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar, Self

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from huaxiang.models.behaviour.batches import padded, padded_context, training_batches
from huaxiang.models.behaviour.config import BehaviourConfig
from huaxiang.models.behaviour.context import context_sizes
from huaxiang.models.behaviour.network import Network
from huaxiang.models.next_item.base import State, pack, unpack
from huaxiang.models.next_item.ranking import rank_targets
from huaxiang.models.next_item.sequences import Floats, Items, Sequences
from huaxiang.models.next_item.splits import Questions

log = logging.getLogger(__name__)
ORDER = ("kind", "gap", "hour", "weekday")  # of what else is known of an event: sums hang on it in the last digit
WATCHED = 4000  # validation questions that early stopping looks at


class Behaviour:
    """See network.py for what it is."""

    logits = True  # scores are those of a softmax

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: BehaviourConfig) -> None:
        self.config = config
        self.tags: csr_matrix | None = None
        self.network: Network
        self.context: dict[str, int] = {}
        self.curve: list[dict[str, float]] = []  # an epoch: loss, seconds, valid ndcg@10

    def fit(self, train: Sequences, items: Items, *, seed: int, watch: Questions | None = None) -> Self:
        config = self.config
        torch.set_num_threads(config.threads)
        torch.manual_seed(seed)
        chance = np.random.default_rng(seed)
        self.tags = items.tags if config.tags else None
        self.context = context_sizes(train, kinds=config.kinds, times=config.times)
        self.network = Network(config, len(items), self.tags, self.context)
        self.network.meet(torch.from_numpy(np.bincount(train.item, minlength=len(items)).astype(np.float32)))
        read = train.last(config.length + 1)
        read = read.take(np.flatnonzero(read.lengths >= 2))
        decayed = [p for p in self.network.parameters() if p.ndim >= 2 and p is not self.network.ids.weight]
        rest = [p for p in self.network.parameters() if p.ndim < 2 or p is self.network.ids.weight]
        optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=config.rate, betas=(0.9, 0.98),
        )  # fmt: skip
        watched = None
        if watch is not None:
            watched = watch.take(np.sort(np.random.default_rng(0).permutation(len(watch))[:WATCHED]))
        best, kept, waited, step = -1.0, None, 0, 0
        began = time.perf_counter()
        for epoch in range(config.epochs):
            if config.minutes and time.perf_counter() - began > 60 * config.minutes:
                break
            start, losses, counted = time.perf_counter(), 0.0, 0
            self.network.train()
            for item, target, context in training_batches(read, len(items), self.context, config.batch, chance):
                step += 1
                for group in optimiser.param_groups:
                    group["lr"] = config.rate * min(1.0, step / max(config.warmup, 1))
                loss = self.network(item, target, context)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
                optimiser.step()
                losses, counted = losses + float(loss.detach()) * len(item), counted + len(item)
            found = {"loss": losses / max(counted, 1), "seconds": time.perf_counter() - start}
            if watched is not None:
                ranks = rank_targets(self.score, watched, len(items)).rank
                found["ndcg@10"] = float(((ranks <= 10) / np.log2(ranks + 1)).mean())
                found["recall@10"] = float((ranks <= 10).mean())
                if found["ndcg@10"] > best:
                    best, waited = found["ndcg@10"], 0
                    kept = {name: value.clone() for name, value in self.network.state_dict().items()}
                else:
                    waited += 1
            self.curve.append(found)
            log.info("epoch %d: %s", epoch + 1, ", ".join(f"{name} {value:.4f}" for name, value in found.items()))
            if watched is not None and waited >= config.patience:
                break
        if kept is not None:
            self.network.load_state_dict(kept)
        self.network.eval()
        return self

    def score(self, history: Sequences) -> Floats:
        self.network.eval()
        with torch.inference_mode():
            vectors = self.network.every_item()
            return np.asarray(self.network.logits(self._vectors(history, vectors), vectors[:-1]))

    def _vectors(self, history: Sequences, vectors: Tensor) -> Tensor:
        recent = history.last(self.config.length)
        context = padded_context(recent, self.context)
        read = self.network.read(padded(recent, recent.item, self.network.items), vectors, context)
        last = torch.from_numpy(np.maximum(recent.lengths - 1, 0))
        return read[torch.arange(len(last)), last]

    def state(self) -> State:
        found: State = {name: value.numpy() for name, value in self.network.state_dict().items()}
        return found | ({} if self.tags is None else pack(self.tags, "tags"))

    @classmethod
    def from_state(cls, config: BehaviourConfig, state: State) -> Self:
        made = cls(config)
        made.tags = unpack(state, "tags") if "tags.data" in state else None
        held = {name.split(".")[1]: len(value) for name, value in state.items() if name.startswith("context.")}
        made.context = {name: held[name] for name in ORDER if name in held}
        made.network = Network(config, len(state["ids.weight"]) - 1, made.tags, made.context)
        weights: dict[str, Any] = {
            name: torch.from_numpy(np.array(value)) for name, value in state.items() if not name.startswith("tags.")
        }
        made.network.load_state_dict(weights)
        made.network.eval()
        return made
