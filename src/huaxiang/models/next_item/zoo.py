"""The next-item models by name, and how they are kept: arrays as safetensors, settings as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ModelError
from huaxiang.models.next_item.again import Again, AgainConfig
from huaxiang.models.next_item.als import Als, AlsConfig
from huaxiang.models.next_item.base import NextConfig, NextItem
from huaxiang.models.next_item.content import Content, ContentConfig
from huaxiang.models.next_item.ease import Ease, EaseConfig
from huaxiang.models.next_item.neighbours import Neighbours, NeighboursConfig
from huaxiang.models.next_item.popular import Popular, PopularConfig
from huaxiang.models.next_item.sequences import Items, Sequences

FORMAT = "huaxiang.next_item/1"
_CLASSES: dict[str, tuple[Any, Any]] = {
    "popular": (PopularConfig, Popular),
    "again": (AgainConfig, Again),
    "content": (ContentConfig, Content),
    "neighbours": (NeighboursConfig, Neighbours),
    "ease": (EaseConfig, Ease),
    "als": (AlsConfig, Als),
}


def _class_of(kind: str) -> tuple[Any, Any]:
    if kind == "behaviour":
        from huaxiang.models.behaviour import Behaviour, BehaviourConfig

        return BehaviourConfig, Behaviour
    if kind not in _CLASSES:
        raise ModelError("models.unknown_kind", kind=kind, known=", ".join((*_CLASSES, "behaviour")))
    return _CLASSES[kind]


def kind_of(config: NextConfig) -> str:
    return next((kind for kind, (wanted, _) in _CLASSES.items() if isinstance(config, wanted)), "behaviour")


def make_next(config: NextConfig) -> NextItem:
    """An unfitted model of `config`."""
    made: NextItem = _class_of(kind_of(config))[1](config)
    return made


def simple_grids(train: Sequences, items: Items) -> dict[str, tuple[NextConfig, ...]]:
    """The models that need no network, by name, each with the settings that validation chooses between; those the data can feed."""
    found: dict[str, tuple[NextConfig, ...]] = {"popular": (PopularConfig(),)}
    if train.ts is not None:
        found["popular_7d"] = (PopularConfig(days=7),)
    if items.tags is not None or items.content is not None:
        found["content"] = tuple(ContentConfig(decay=decay) for decay in (0.5, 0.8))
    found["neighbours"] = tuple(
        NeighboursConfig(fade=fade, decay=decay, to_power=power)
        for fade in (0.8, 0.9) for decay in (0.6, 0.75) for power in (0.1, 0.3)
    )  # fmt: skip
    found["ease"] = tuple(EaseConfig(l2=l2, decay=decay) for l2 in (50.0, 200.0) for decay in (0.7, 0.9))
    if find_spec("implicit") is not None:
        found["als"] = tuple(AlsConfig(alpha=alpha) for alpha in (5.0, 20.0))
    return found


def save_next(model: NextItem, folder: Path) -> int:
    """Writes model.json and model.safetensors; gives their bytes."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(value) for name, value in model.state().items()}
    (folder / "model.safetensors").write_bytes(save(arrays))
    said = {"format": FORMAT, "kind": kind_of(model.config), "config": asdict(model.config)}
    write_atomically(folder / "model.json", json.dumps(said, indent=1))
    return sum((folder / name).stat().st_size for name in ("model.safetensors", "model.json"))


def load_next(folder: Path) -> NextItem:
    """The model that `save_next` saved; raises ModelError for a kind this version does not know."""
    from safetensors.numpy import load

    said = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    config, made = _class_of(said["kind"])
    found: NextItem = made.from_state(config(**said["config"]), load((folder / "model.safetensors").read_bytes()))
    return found
