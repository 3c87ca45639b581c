"""What dense networks share: passing through layers, what each input did to the score, where they start, what they are fitted to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from huaxiang.models.metrics import Floats, Task
from huaxiang.models.zoo.base import softmax

if TYPE_CHECKING:
    import torch

Layers = list[tuple[Floats, Floats]]  # (out, in) weights and (out,) biases, the first layer first


def pass_through(layers: Layers, z: Floats) -> Iterator[Floats]:
    """What enters each layer before its ReLU: the inputs, then the sums of every layer."""
    yield z
    for place, (weight, bias) in enumerate(layers):
        # einsum, not @: BLAS adds in another order for one row than for many, and one user's score must not depend on it
        z = np.einsum("nm,km->nk", np.maximum(z, 0.0) if place else z, weight) + bias
        yield z


def slopes(layers: Layers, z: Floats, plain: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """(N, in) how far one unit of each input, counted from `plain` (1, in), moved the raw score; (N,) the score at `plain`; (N,) of
    which output (the largest). slopes · (z − plain) add up to what lies between the two scores.

    source: Shrikumar, Greenside, Kundaje 2017 (DeepLIFT), the rescale rule
    """
    sums, base = list(pass_through(layers, z)), list(pass_through(layers, plain))
    k = sums[-1].argmax(axis=1)
    slope = layers[-1][0][k]  # (N, in of the last layer): of the score over what the layer before gave
    for place in range(len(layers) - 2, -1, -1):
        change = sums[place + 1] - base[place + 1]
        given = np.maximum(sums[place + 1], 0.0) - np.maximum(base[place + 1], 0.0)
        small = np.abs(change) < 1e-12
        slope = slope * np.where(small, sums[place + 1] > 0, given / np.where(small, 1.0, change))
        slope = slope @ layers[place][0]
    return slope, base[-1][0][k], k


def average_score(task: Task, y: Floats, classes: int) -> Floats:
    """The raw score of the average: log-odds, logarithms of the shares, or 0 (the center)."""
    if task == "number":
        return np.zeros(1)
    if task == "class":
        return np.asarray(np.log(np.maximum(np.bincount(y.astype(int), minlength=classes) / len(y), 1e-12)))
    share = float(np.clip(y.mean(), 1e-6, 1 - 1e-6))
    return np.array([np.log(share / (1 - share))])


def dense_network(width: int, hidden: tuple[int, ...], dropout: float, start: Floats) -> torch.nn.Sequential:
    """Dense layers with ReLU; before training they give everyone the raw score `start`."""
    import torch
    from torch import nn

    parts: list[nn.Module] = []
    for size in hidden:
        parts += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    last = nn.Linear(width, len(start))
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias[:] = torch.tensor(start, dtype=torch.float32)
    return nn.Sequential(*parts, last)


def dense_layers(network: torch.nn.Module) -> Layers:
    held = [value.detach().numpy().astype(np.float64) for value in network.parameters()]
    return list(zip(held[::2], held[1::2], strict=True))


def network_loss(task: Task, raw: torch.Tensor, aim: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Binary: mean of max(s, 0) − s·y + log(1 + exp(−|s|)), the cross-entropy from the raw score s; class: cross-entropy of the
    softmax; number: mean square of (s − y). smoothing ε: y becomes (1 − ε)·y + ε / classes.

    source: Goodfellow, Bengio, Courville 2016, Deep Learning, ch. 6; smoothing: Szegedy et al. 2016 (Inception-v3), § 7
    """
    from torch.nn import functional

    if task == "class":
        return functional.cross_entropy(raw, aim, label_smoothing=smoothing)
    if task == "number":
        return functional.mse_loss(raw[:, 0], aim)
    aim = aim * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(raw[:, 0], aim)


def network_aim(task: Task, y: Floats, center: float, scale: float) -> torch.Tensor:
    """`y` as `network_loss` takes it: class codes, or numbers less `center` over `scale`."""
    import torch

    if task == "class":
        return torch.from_numpy(y.astype(np.int64))
    return torch.from_numpy(((y - center) / scale).astype(np.float32))


def scored(task: Task, raw: Floats, center: float, scale: float) -> Floats:
    """The raw scores (N, outputs) as `Model.score` gives them."""
    if task == "number":
        return np.asarray(raw[:, 0] * scale + center)
    if task == "class":
        return softmax(raw)
    return np.asarray(1 / (1 + np.exp(-np.clip(raw[:, 0], -500, 500))))
