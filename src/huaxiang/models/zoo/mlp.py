"""The classic network: dense layers with ReLU on standardised columns; sigmoid, softmax or a number at the end.

`MlpConfig("binary", hidden=(64,))` is the one of the textbooks, `hidden=(2,)` the one with two neurons. It is fitted with PyTorch
and scored in plain numpy, so that a saved network needs no PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from huaxiang.models.metrics import Floats
from huaxiang.models.zoo.base import Config, gather_by_source
from huaxiang.models.zoo.layers import (
    Layers,
    average_score,
    dense_layers,
    dense_network,
    network_aim,
    network_loss,
    pass_through,
    scored,
    slopes,
)
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

    Loss: of layers.network_loss; numbers are fitted as (y − mean) / sd.
    source: Goodfellow, Bengio, Courville 2016, Deep Learning, ch. 6; optimiser: Loshchilov & Hutter 2019 (AdamW)
    """

    def __init__(self, config: MlpConfig) -> None:
        self.config: Config = config
        self.settings = config
        self.effect_unit = "number" if config.task == "number" else "log_odds"
        self.columns: tuple[str, ...] = ()
        self.layers: Layers = []

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
        network = dense_network(width, settings.hidden, settings.dropout, average_score(settings.task, y, classes))
        z, aim = self._tensors(x, y)
        watched = self._tensors(*watch) if watch is not None else None
        optimiser = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=settings.weight_decay)
        size = max(settings.batch, len(z) // STEPS)
        best, waited, ran, kept = np.inf, 0, 0, dense_layers(network)
        for epoch in range(settings.epochs if len(self.preparation.kept) else 0):
            network.train()
            for rows in torch.randperm(len(z), generator=chance).split(size):
                part = z[rows]
                noisy = part + settings.noise * torch.randn(part.shape, generator=chance) if settings.noise else part
                loss = network_loss(settings.task, network(noisy), aim[rows], settings.smoothing)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
                optimiser.step()
            if watched is None:
                ran, kept = epoch + 1, dense_layers(network)
                continue
            network.eval()
            with torch.no_grad():
                reached = float(network_loss(settings.task, network(watched[0]), watched[1], 0.0))
            if reached < best:
                best, waited, ran, kept = reached, 0, epoch + 1, dense_layers(network)
            elif (waited := waited + 1) >= settings.patience:
                break
        self.layers = kept
        self.config = self.settings = replace(settings, epochs=max(1, ran))
        return self

    def _prepared(self, x: Matrix) -> Floats:
        """The prepared columns; one of zeros where none varies."""
        z = self.preparation.apply(x)
        return z if z.shape[1] else np.zeros((len(z), 1))

    def _tensors(self, x: Matrix, y: Floats) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        z = torch.from_numpy(self._prepared(x).astype(np.float32))
        return z, network_aim(self.settings.task, y, self.center, self.scale)

    def score(self, x: Matrix) -> Floats:
        *_, raw = pass_through(self.layers, self._prepared(x))
        return scored(self.settings.task, raw, self.center, self.scale)

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        """How far each column moved the raw score from that of the average customer: the effects add up to the difference."""
        z = self._prepared(x)
        slope, base, _ = slopes(self.layers, z, np.zeros((1, z.shape[1])))
        sources = self.preparation.sources if len(self.preparation.sources) else np.array([0])
        effects = gather_by_source(slope * z * self.scale, sources, len(self.columns))
        return effects, base * self.scale + self.center

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
