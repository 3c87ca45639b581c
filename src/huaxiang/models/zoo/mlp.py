"""The classic network: dense layers with ReLU on standardised columns; sigmoid, softmax or a number at the end.

`MlpConfig("binary", hidden=(64,))` is the one of the textbooks, `hidden=(2,)` the one with two neurons. It is fitted with PyTorch
and scored in plain numpy, so that a saved network needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from huaxiang.models.metrics import Floats
from huaxiang.models.zoo.base import Config, gather_by_source, softmax
from huaxiang.models.zoo.prepare import Matrix, Preparation

if TYPE_CHECKING:
    import torch

STEPS = 200  # an epoch takes about so many steps where there are many rows


@dataclass(frozen=True)
class MlpConfig(Config):
    """hidden: neurons of each layer. noise: standard deviation of what is added to the (standardised) inputs in training;
    smoothing: of the labels; clip: greatest norm of a gradient. epochs: the most; with validation data to watch, it stops
    after `patience` epochs without a better loss.
    """

    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.2
    noise: float = 0.1
    smoothing: float = 0.0
    weight_decay: float = 1e-3
    rate: float = 2e-3
    clip: float = 1.0
    batch: int = 128
    epochs: int = 40
    patience: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))


class Mlp:
    """raw = W_n relu(… relu(W_1 z + b_1) …) + b_n.

    Loss: binary: mean of max(s, 0) − s·y + log(1 + exp(−|s|)), the cross-entropy from the raw score s; class: cross-entropy of the softmax;
    number: mean square of (s − y) / sd(y).
    source: Goodfellow, Bengio, Courville 2016, Deep Learning, ch. 6; optimiser: Loshchilov & Hutter 2019 (AdamW)
    """

    def __init__(self, config: MlpConfig) -> None:
        self.config: Config = config
        self.settings = config
        self.effect_unit = "number" if config.task == "number" else "log_odds"
        self.columns: tuple[str, ...] = ()
        self.layers: list[tuple[Floats, Floats]] = []  # (out, in) weights and (out,) biases, the first layer first

    def fit(
        self, x: Matrix, y: Floats, *, seed: int, classes: int = 2, watch: tuple[Matrix, Floats] | None = None
    ) -> Self:
        import torch

        settings = self.settings
        self.columns = x.columns
        self.preparation = Preparation.fit(x, "dense", log=True)
        self.center, self.scale = (float(y.mean()), float(y.std()) or 1.0) if settings.task == "number" else (0.0, 1.0)
        self.classes = classes
        torch.set_num_threads(1)  # so small a network is faster so, and the same every time
        torch.manual_seed(seed)
        chance = torch.Generator().manual_seed(seed)
        width = self._prepared(x).shape[1]
        network = self._make(width, y)
        z, aim = self._tensors(x, y)
        watched = self._tensors(*watch) if watch is not None else None
        optimiser = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=settings.weight_decay)
        size = max(settings.batch, len(z) // STEPS)
        best, waited, ran, kept = np.inf, 0, 0, self._weights(network)
        for epoch in range(settings.epochs if len(self.preparation.kept) else 0):
            network.train()
            for rows in torch.randperm(len(z), generator=chance).split(size):
                part = z[rows]
                noisy = part + settings.noise * torch.randn(part.shape, generator=chance) if settings.noise else part
                loss = self._loss(network(noisy), aim[rows], settings.smoothing)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
                optimiser.step()
            if watched is None:
                ran, kept = epoch + 1, self._weights(network)
                continue
            network.eval()
            with torch.no_grad():
                reached = float(self._loss(network(watched[0]), watched[1], 0.0))
            if reached < best:
                best, waited, ran, kept = reached, 0, epoch + 1, self._weights(network)
            elif (waited := waited + 1) >= settings.patience:
                break
        self.layers = kept
        self.config = self.settings = replace(settings, epochs=max(1, ran))
        return self

    def _prepared(self, x: Matrix) -> Floats:
        """The prepared columns; one of zeros where none varies."""
        z = self.preparation.apply(x)
        return z if z.shape[1] else np.zeros((len(z), 1))

    def _make(self, width: int, y: Floats) -> torch.nn.Sequential:
        """The network before training: it gives everyone the average."""
        import torch
        from torch import nn

        parts: list[nn.Module] = []
        for size in self.settings.hidden:
            parts += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(self.settings.dropout)]
            width = size
        last = nn.Linear(width, self.classes if self.settings.task == "class" else 1)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias[:] = torch.tensor(self._average(y), dtype=torch.float32)
        return nn.Sequential(*parts, last)

    def _average(self, y: Floats) -> Floats:
        """The raw score of the average: log-odds, logarithms of the shares, or 0 (the center)."""
        if self.settings.task == "number":
            return np.zeros(1)
        if self.settings.task == "class":
            return np.asarray(np.log(np.maximum(np.bincount(y.astype(int), minlength=self.classes) / len(y), 1e-12)))
        share = float(np.clip(y.mean(), 1e-6, 1 - 1e-6))
        return np.array([np.log(share / (1 - share))])

    def _tensors(self, x: Matrix, y: Floats) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        z = torch.from_numpy(self._prepared(x).astype(np.float32))
        if self.settings.task == "class":
            return z, torch.from_numpy(y.astype(np.int64))
        return z, torch.from_numpy(((y - self.center) / self.scale).astype(np.float32))

    def _loss(self, raw: torch.Tensor, aim: torch.Tensor, smoothing: float) -> torch.Tensor:
        from torch.nn import functional

        if self.settings.task == "class":
            return functional.cross_entropy(raw, aim, label_smoothing=smoothing)
        if self.settings.task == "number":
            return functional.mse_loss(raw[:, 0], aim)
        aim = aim * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(raw[:, 0], aim)

    @staticmethod
    def _weights(network: torch.nn.Sequential) -> list[tuple[Floats, Floats]]:
        held = [value.detach().numpy().astype(np.float64) for value in network.parameters()]
        return list(zip(held[::2], held[1::2], strict=True))

    def score(self, x: Matrix) -> Floats:
        *_, raw = self._values(self._prepared(x))
        if self.settings.task == "number":
            return np.asarray(raw[:, 0] * self.scale + self.center)
        if self.settings.task == "class":
            return softmax(raw)
        return np.asarray(1 / (1 + np.exp(-np.clip(raw[:, 0], -500, 500))))

    def _values(self, z: Floats) -> Iterator[Floats]:
        """What enters each layer before its ReLU: the inputs, then the sums of every layer."""
        yield z
        for place, (weight, bias) in enumerate(self.layers):
            # einsum, not @: BLAS adds in another order for one row than for many, and one user's score must not depend on it
            z = np.einsum("nm,km->nk", np.maximum(z, 0.0) if place else z, weight) + bias
            yield z

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        """How far each column moved the raw score from that of the average customer: the effects add up to the difference.

        source: Shrikumar, Greenside, Kundaje 2017 (DeepLIFT), the rescale rule
        """
        z = self._prepared(x)
        sums, plain = list(self._values(z)), list(self._values(np.zeros((1, z.shape[1]))))
        k = sums[-1].argmax(axis=1) if self.settings.task == "class" else np.zeros(len(z), dtype=int)
        slope = self.layers[-1][0][k]  # (N, in of the last layer): of the score over what the layer before gave
        for place in range(len(self.layers) - 2, -1, -1):
            change = sums[place + 1] - plain[place + 1]
            given = np.maximum(sums[place + 1], 0.0) - np.maximum(plain[place + 1], 0.0)
            small = np.abs(change) < 1e-12
            slope = slope * np.where(small, sums[place + 1] > 0, given / np.where(small, 1.0, change))
            slope = slope @ self.layers[place][0]
        sources = self.preparation.sources if len(self.preparation.sources) else np.array([0])
        effects = gather_by_source(slope * z * self.scale, sources, len(self.columns))
        return effects, plain[-1][0][k] * self.scale + self.center

    @property
    def dropped(self) -> dict[str, str]:
        return self.preparation.dropped

    def state(self) -> dict[str, Any]:
        return {
            "preparation": self.preparation.state(),
            "classes": self.classes,
            "center": self.center,
            "scale": self.scale,
            "layers": [[weight.tolist(), bias.tolist()] for weight, bias in self.layers],
        }

    @classmethod
    def from_state(cls, config: MlpConfig, state: dict[str, Any]) -> Self:
        made = cls(config)
        made.preparation = Preparation.from_state(state["preparation"])
        made.columns, made.classes = made.preparation.columns, state["classes"]
        made.center, made.scale = state["center"], state["scale"]
        made.layers = [
            (np.array(weight, dtype=float).reshape(len(bias), -1), np.array(bias, dtype=float))
            for weight, bias in state["layers"]
        ]
        return made
