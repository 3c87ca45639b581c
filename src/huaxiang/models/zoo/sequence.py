"""A network that reads a customer's last events one by one, joined with the columns: CNN, GRU or Transformer.

    events → vectors → encoder → h = [state at the date, mean]
    columns → z                                               → [z, h] → dense 64, ReLU → raw score

Fitted with PyTorch and needed for scoring too; this module loads it only then. The dense part is scored and explained in numpy.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from huaxiang.errors import ModelError
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo.base import Config, gather_by_source
from huaxiang.models.zoo.history import RECENT_EVENTS, Histories
from huaxiang.models.zoo.layers import (
    Layers,
    average_score,
    dense_layers,
    network_aim,
    pass_through,
    scored,
    slopes,
)
from huaxiang.models.zoo.prepare import Matrix, Preparation
from huaxiang.models.zoo.tokens import Tokens

if TYPE_CHECKING:
    from huaxiang.models.zoo.encoder import Network, Padded, Rows

READ = 1_000_000  # tokens read in all epochs of a fit, about: 3 s (CNN, GRU) to 6 s (Transformer) on one core
CHEAP = 100_000  # tokens of the rows up to which a fit takes about a second, and is done for every fold
FEWEST = 2  # epochs; rows are sampled where so many would read more
STEPS = 200  # an epoch takes about so many steps where there are many rows
CHUNK = 8_192  # rows whose tokens are made at a time
INTEGRAL = 16  # pieces of the integral behind the effect of an event


@dataclass(frozen=True)
class SequenceConfig(Config):
    """width: D of the vectors; length: events of a row that are read, the last ones; hidden: neurons of the dense layer; noise: standard
    deviation of what is added to events' vectors and standardised columns in training; first: epochs in which only the columns are learned,
    which costs little, before the `epochs` with the events; smoothing, clip, patience: as of MlpConfig.
    """

    encoder: Literal["cnn", "gru", "transformer"] = "gru"
    width: int = 32
    layers: int = 1
    heads: int = 2
    length: int = 64
    hidden: int = 64
    dropout: float = 0.2
    noise: float = 0.1
    smoothing: float = 0.0
    weight_decay: float = 1e-2
    rate: float = 2e-3
    clip: float = 1.0
    batch: int = 128
    first: int = 10
    epochs: int = 40
    patience: int = 3
    reads_history: ClassVar[bool] = True

    def folds(self, rows: int, wanted: int) -> int:
        """Two where the rows are many: each fold fits a network."""
        return wanted if self.spread(rows) else min(2, wanted)

    def spread(self, rows: int) -> bool:
        return rows * self.length <= CHEAP


class SequenceModel:
    """raw = W_2 relu(W_1 [z, h] + b_1) + b_2, h of the encoder.

    Loss: of layers.network_loss; numbers are fitted as (y − mean) / sd. Where the rows are many, a sample of them is read for a few
    epochs (READ): rows, not whole customers, for a sample of rows shows it more customers, and whom it may not see is not among them.
    source: encoders: behaviour/blocks.py (Caser, GRU4Rec, SASRec); columns joined in the dense part: Cheng et al. 2016 (Wide & Deep),
    § 3.3; optimiser: Loshchilov & Hutter 2019 (AdamW)
    """

    def __init__(self, config: SequenceConfig) -> None:
        self.config: Config = config
        self.settings = config
        self.effect_unit = "number" if config.task == "number" else "log_odds"
        self.columns: tuple[str, ...] = ()
        self.layers: Layers = []  # of the dense part
        self.mean: Floats = np.zeros(0)  # (2 D,) of h over (a sample of) the training rows

    def fit(
        self, x: Matrix, y: Floats, *, seed: int, classes: int = 2, watch: tuple[Matrix, Floats] | None = None
    ) -> Self:
        torch = need_torch()
        from huaxiang.models.zoo.encoder import Network, fit_network, one_thread, pooled

        settings = self.settings
        self.columns = (*x.columns, RECENT_EVENTS)
        self.classes = classes
        self.preparation = Preparation.fit(x, "dense", log=True)
        self.center, self.scale = (float(y.mean()), float(y.std()) or 1.0) if settings.task == "number" else (0.0, 1.0)
        history = _history(x)
        self.tokens = Tokens.fit(history, settings.length)
        start = average_score(settings.task, y, classes)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Network(settings, sum(self.tokens.sizes), self._prepared(x).shape[1], start)
            rows = _sample(history, settings.length, READ // FEWEST, seed)
            every, read = self._rows(x, y), self._rows(x.rows(rows), y[rows], read=True)
            watched = None
            if watch is not None:
                some = _sample(_history(watch[0]), settings.length, READ // FEWEST // 4, seed)
                watched = self._rows(watch[0].rows(some), watch[1][some], read=True)
            assert read.tokens is not None
            epochs = min(settings.epochs, max(FEWEST, READ // max(1, len(read.tokens.codes))))
            stages = [
                (every, settings.first if self.preparation.kept else 0),
                (read, epochs if len(read.tokens.codes) > len(rows) else 0),  # no row has events: nothing to read
            ]
            ran = fit_network(self.network, settings, stages, watched, steps=STEPS, seed=seed)
            some = _sample(history, settings.length, READ // 10, seed)
            typical = pooled(self.network, self._padded(history.rows(some)))
            self.mean = typical.numpy().astype(float).mean(axis=0)
        self.layers = dense_layers(self.network.head)
        self.config = self.settings = replace(settings, first=ran[0], epochs=ran[1])
        return self

    def _prepared(self, x: Matrix) -> Floats:
        """The prepared columns; one of zeros where none varies."""
        z = self.preparation.apply(x)
        return z if z.shape[1] else np.zeros((len(z), 1))

    def _padded(self, history: Histories) -> Padded:
        from huaxiang.models.zoo.encoder import Padded

        codes, lengths = self.tokens.apply(history, self.settings.length)
        return Padded(codes, lengths, sum(self.tokens.sizes))

    def _rows(self, x: Matrix, y: Floats, *, read: bool = False) -> Rows:
        torch = need_torch()
        from huaxiang.models.zoo.encoder import Rows

        z = torch.from_numpy(self._prepared(x).astype(np.float32))
        aim = network_aim(self.settings.task, y, self.center, self.scale)
        return Rows(z, aim, self._padded(_history(x)) if read else None)

    def _chunks(self, history: Histories) -> Iterator[tuple[slice, Padded]]:
        for low in range(0, len(history), CHUNK):
            some = slice(low, min(low + CHUNK, len(history)))
            yield some, self._padded(history.rows(np.arange(some.start, some.stop)))

    def _inputs(self, x: Matrix) -> Floats:
        """(N, Z + 2 D) what the dense part reads: [z, h]."""
        need_torch()
        from huaxiang.models.zoo.encoder import pooled

        h = np.zeros((len(x), len(self.mean)))
        for some, tokens in self._chunks(_history(x)):
            h[some] = pooled(self.network, tokens).numpy()
        return np.hstack([self._prepared(x), h])

    def score(self, x: Matrix) -> Floats:
        *_, raw = pass_through(self.layers, self._inputs(x))
        return scored(self.settings.task, raw, self.center, self.scale)

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        """How far each column, and the events together (RECENT_EVENTS, the last), moved the raw score from that of a customer with
        average columns and the average h of training: the effects add up to the difference."""
        inputs, plain = self._inputs(x), self._plain()
        slope, base, _ = slopes(self.layers, inputs, plain)
        moved = slope * (inputs - plain) * self.scale
        made = inputs.shape[1] - len(self.mean)
        sources = self.preparation.sources if len(self.preparation.sources) else np.array([0])
        effects = gather_by_source(moved[:, :made], sources, len(self.columns))
        effects[:, -1] += moved[:, made:].sum(axis=1)
        return effects, base * self.scale + self.center

    def event_effects(self, x: Matrix) -> tuple[Floats, NDArray[np.int64]]:
        """(S,) how far each event of each row moved the raw score, (N,) how many events each row has here: the last `length`.

        In the order of `history.places(length)`. A row's effects add up to its effect of RECENT_EVENTS: to the integrated gradients of the
        events comes, in equal parts, what they leave over (the time since the last event, and how far the average customer's events are
        from none), which leaves their order as it is.
        """
        torch = need_torch()
        from huaxiang.models.zoo.encoder import token_effects

        inputs, plain = self._inputs(x), self._plain()
        slope, _, _ = slopes(self.layers, inputs, plain)
        made = inputs.shape[1] - len(self.mean)
        whole = ((slope * (inputs - plain))[:, made:]).sum(axis=1) * self.scale
        found: list[Floats] = []
        counts: list[NDArray[np.int64]] = []
        for some, tokens in self._chunks(_history(x)):
            given = torch.from_numpy(slope[some, made:].astype(np.float32))
            effects = token_effects(self.network, tokens, given, INTEGRAL) * self.scale
            count = tokens.lengths - 1
            effects = np.delete(effects, np.cumsum(tokens.lengths) - 1)  # the date's own is 0
            row = np.repeat(np.arange(len(count)), count)
            left = whole[some] - np.bincount(row, weights=effects, minlength=len(count))
            found.append(effects + (left / np.maximum(count, 1))[row])
            counts.append(count)
        if not found:
            return np.zeros(0), np.zeros(0, dtype=np.int64)
        return np.concatenate(found), np.concatenate(counts)

    def _plain(self) -> Floats:
        """(1, Z + 2 D) the inputs of the average customer."""
        made = self.layers[0][0].shape[1] - len(self.mean)
        return np.concatenate([np.zeros(made), self.mean])[None, :]

    @property
    def dropped(self) -> dict[str, str]:
        return self.preparation.dropped

    def state(self) -> dict[str, Any]:
        return {
            "preparation": self.preparation.state(),
            "tokens": self.tokens.state(),
            "classes": self.classes,
            "center": self.center,
            "scale": self.scale,
            "mean": self.mean.tolist(),
            "weights": {name: _write(value.numpy()) for name, value in self.network.state_dict().items()},
        }

    @classmethod
    def from_state(cls, config: SequenceConfig, state: dict[str, Any]) -> Self:
        """raises: ModelError where PyTorch is not installed"""
        torch = need_torch()
        from huaxiang.models.zoo.encoder import Network

        made = cls(config)
        made.preparation, made.tokens = Preparation.from_state(state["preparation"]), Tokens.from_state(state["tokens"])
        made.columns, made.classes = (*made.preparation.columns, RECENT_EVENTS), state["classes"]
        made.center, made.scale = state["center"], state["scale"]
        made.mean = np.array(state["mean"], dtype=float)
        weights = {name: torch.from_numpy(_read(one)) for name, one in state["weights"].items()}
        outputs, columns = len(weights["head.3.bias"]), weights["head.0.weight"].shape[1] - len(made.mean)
        with torch.random.fork_rng(devices=[]):
            made.network = Network(config, sum(made.tokens.sizes), columns, np.zeros(outputs))
        made.network.load_state_dict(weights)
        made.layers = dense_layers(made.network.head)
        return made

    network: Network
    tokens: Tokens
    preparation: Preparation


def need_torch() -> Any:
    """PyTorch; raises ModelError where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise ModelError("models.sequence_no_torch") from error
    return torch


def _history(x: Matrix) -> Histories:
    if x.history is None:
        raise ModelError("models.no_history")
    return x.history


def _sample(history: Histories, length: int, most: int, seed: int) -> NDArray[np.int64]:
    """Rows, at random, with about `most` tokens between them; all where they have no more."""
    tokens = int(np.minimum(history.lengths, length).sum()) + len(history)
    if tokens <= most:
        return np.arange(len(history))
    count = max(1, round(len(history) * most / tokens))
    return np.sort(np.random.default_rng(seed).choice(len(history), count, replace=False))


def _write(values: NDArray[Any]) -> dict[str, Any]:
    """An array as JSON: its shape, and its numbers as base64 of little-endian float32."""
    return {"shape": list(values.shape), "float32": base64.b64encode(values.astype("<f4").tobytes()).decode()}


def _read(saved: dict[str, Any]) -> NDArray[Any]:
    flat = np.frombuffer(base64.b64decode(saved["float32"]), dtype="<f4")
    return flat.reshape(saved["shape"]).astype(np.float32)
