"""A trained desk on disk: arrays as safetensors, trees as text, the rest as JSON; equal content, equal version."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from huaxiang.apply.recommend.again import Timing
from huaxiang.apply.recommend.behaviour import NAME as BEHAVIOUR
from huaxiang.apply.recommend.behaviour import Foreseer, foreseer_of
from huaxiang.apply.recommend.desk import Desk
from huaxiang.apply.recommend.learn import Order
from huaxiang.apply.recommend.past import Shelf
from huaxiang.apply.recommend.peers import Peers
from huaxiang.apply.recommend.sources import Learned, Made
from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ModelError
from huaxiang.models.next_item.base import pack, unpack
from huaxiang.models.next_item.zoo import load_next, save_next
from huaxiang.models.rank import Ranker, RankerConfig

FORMAT = "huaxiang.recommend/6"
MATRICES = ("near", "goes", "of_category")


def save_desk(desk: Desk, home: Path) -> Desk:
    """Writes it under `home`/<version>; gives it with its version."""
    new = home / "new"
    shutil.rmtree(new, ignore_errors=True)  # of a run that was killed here
    new.mkdir(parents=True)
    learned = desk.learned
    arrays: dict[str, Any] = {}
    for name in MATRICES:
        arrays |= pack(getattr(learned, name), name)
    arrays |= pack(learned.peers.shares, "peers")
    arrays |= {"popular": learned.popular, "mean": learned.timing.mean, "returns": learned.timing.returns}
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, new / "sources.safetensors")
    said = {
        "format": FORMAT, "day": learned.day, "as_of": desk.as_of, "spread": learned.timing.spread, "seldom_again": desk.seldom_again, "items": _mark(desk.shelf), "groups": learned.peers.groups.tolist(),
        "orders": {name: {"config": asdict(one.ranker.config), "state": one.ranker.state(), "lead": one.lead} for name, one in desk.orders.items()},
    }  # fmt: skip
    text = json.dumps(said, sort_keys=True)
    kept = [new / "sources.safetensors"]
    foreseer = learned.extra.get(BEHAVIOUR)
    if isinstance(foreseer, Foreseer):
        save_next(foreseer.model, new / BEHAVIOUR)
        write_atomically(new / BEHAVIOUR / "items.json", json.dumps([desk.shelf.ids[at] for at in foreseer.place]))
        kept += [new / BEHAVIOUR / "model.safetensors", new / BEHAVIOUR / "items.json"]
    version = hashlib.sha256(text.encode() + b"".join(part.read_bytes() for part in kept)).hexdigest()[:12]
    write_atomically(new / "desk.json", text)
    if (home / version).exists():
        shutil.rmtree(new)
    else:
        new.rename(home / version)
    return replace(desk, version=version)


def load_desk(place: Path, shelf: Shelf) -> Desk:
    """The one that `save_desk` wrote; raises ModelError where it is gone, or the shop's items are others since."""
    if not (place / "desk.json").exists():
        raise ModelError("recommend.not_trained")
    said = json.loads((place / "desk.json").read_text(encoding="utf-8"))
    if said["format"] != FORMAT or said["items"] != _mark(shelf):
        raise ModelError("recommend.other_items")
    arrays = load_file(place / "sources.safetensors")
    near, goes, of_category = (unpack(arrays, name) for name in MATRICES)
    timing = Timing(arrays["mean"], float(said["spread"]), arrays["returns"])
    orders = {
        name: Order(Ranker.from_state(RankerConfig(**one["config"]), one["state"]), one["lead"])
        for name, one in said["orders"].items()
    }
    peers = Peers(np.array(said["groups"], dtype=np.str_), unpack(arrays, "peers"))
    extra = _behaviour(place, shelf)
    learned = Learned(int(said["day"]), near, goes, arrays["popular"], of_category, timing, peers, extra)
    return Desk(shelf, learned, orders, bool(said["seldom_again"]), place.name, said["as_of"])


def _mark(shelf: Shelf) -> str:
    """Which items, in which order: what was learned goes by their places."""
    return hashlib.sha256("\n".join(shelf.ids).encode()).hexdigest()[:16]


def _behaviour(place: Path, shelf: Shelf) -> dict[str, Made]:
    """The behaviour model among the sources, where it is one."""
    if not (place / BEHAVIOUR).exists():
        return {}
    if find_spec("torch") is None:
        raise ModelError("models.behaviour.no_torch")
    ids = tuple(json.loads((place / BEHAVIOUR / "items.json").read_text(encoding="utf-8")))
    found = foreseer_of(load_next(place / BEHAVIOUR), ids, shelf)  # type: ignore[arg-type]
    if found is None:
        raise ModelError("recommend.other_items")
    return {BEHAVIOUR: found}
