"""What training needs to go on after it was killed: one safetensors file, replaced whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from huaxiang.engine.lake import write_atomically

Curve = list[dict[str, Any]]  # an epoch: loss, seconds, steps (epochs done, loss), and what validation found
FORMAT = "huaxiang.checkpoint/2"


@dataclass
class Standing:
    """How far training is. epoch, piece: the next to be read; batches: of that piece that were; step: steps taken; losses, seen: of the epoch so far; best, waited:
    of early stopping; curve: what each finished epoch found; steps, marked: points of the curve within the epoch, and losses, seen and
    share of the epoch at the last; kept: the weights of the best epoch, None before there is one."""

    epoch: int = 0
    piece: int = 0
    batches: int = 0
    step: int = 0
    losses: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    best: float = -1.0
    waited: int = 0
    over: bool = False
    curve: Curve | None = None
    steps: list[list[float]] = field(default_factory=list)
    marked: list[float] = field(default_factory=lambda: [0.0, 0, 0.0])
    kept: dict[str, Tensor] | None = None


def save_checkpoint(
    path: Path, network: torch.nn.Module, optimiser: torch.optim.Optimizer, standing: Standing, about: Mapping[str, Any]
) -> None:
    """about: what must be the same for training to go on from here."""
    from safetensors.torch import save

    arrays = {f"net.{name}": value for name, value in network.state_dict().items()}
    arrays |= {f"kept.{name}": value for name, value in (standing.kept or {}).items()}
    for number, held in optimiser.state_dict()["state"].items():
        arrays |= {f"adam.{number}.{name}": torch.as_tensor(value) for name, value in held.items()}
    said = {name: value for name, value in vars(standing).items() if name != "kept"}
    meta = {"format": FORMAT, "standing": json.dumps(said), "about": json.dumps(about, sort_keys=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    held = save({name: value.detach().cpu().contiguous().clone() for name, value in arrays.items()}, metadata=meta)
    write_atomically(path, held)


def load_checkpoint(
    path: Path, network: torch.nn.Module, optimiser: torch.optim.Optimizer, about: Mapping[str, Any]
) -> Standing | None:
    """Puts network and optimiser where they stood; None where there is no checkpoint of the same training."""
    from safetensors import safe_open

    if not path.exists():
        return None
    with safe_open(path, framework="pt") as held:
        meta = held.metadata()
        if meta.get("format") != FORMAT or meta["about"] != json.dumps(about, sort_keys=True):
            return None
        arrays = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 (not a dict)
    network.load_state_dict({name[4:]: value for name, value in arrays.items() if name.startswith("net.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in arrays.items():
        if name.startswith("adam."):
            _, number, what = name.split(".", 2)
            state.setdefault(int(number), {})[what] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    standing = Standing(**json.loads(meta["standing"]))
    kept = {name[5:]: value for name, value in arrays.items() if name.startswith("kept.")}
    standing.kept = kept or None
    return standing
