"""A trained desk on disk: arrays as safetensors, trees as text, the rest as JSON; equal content, equal version."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from huaxiang.apply.recommend.again import Timing
from huaxiang.apply.recommend.desk import Desk
from huaxiang.apply.recommend.past import Shelf
from huaxiang.apply.recommend.sources import Learned
from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ModelError
from huaxiang.models.next_item.base import pack, unpack
from huaxiang.models.rank import Ranker, RankerConfig

FORMAT = "huaxiang.recommend/1"
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
    arrays |= {"popular": learned.popular, "mean": learned.timing.mean, "returns": learned.timing.returns}
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, new / "sources.safetensors")
    said = {
        "format": FORMAT, "day": learned.day, "as_of": desk.as_of, "spread": learned.timing.spread, "drop_owned": desk.drop_owned, "items": len(desk.shelf),
        "rankers": {name: {"config": asdict(one.config), "state": one.state()} for name, one in desk.rankers.items()},
    }  # fmt: skip
    text = json.dumps(said, sort_keys=True)
    version = hashlib.sha256(text.encode() + (new / "sources.safetensors").read_bytes()).hexdigest()[:12]
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
    if said["format"] != FORMAT or said["items"] != len(shelf):
        raise ModelError("recommend.other_items")
    arrays = load_file(place / "sources.safetensors")
    near, goes, of_category = (unpack(arrays, name) for name in MATRICES)
    timing = Timing(arrays["mean"], float(said["spread"]), arrays["returns"])
    rankers = {
        name: Ranker.from_state(RankerConfig(**one["config"]), one["state"]) for name, one in said["rankers"].items()
    }
    learned = Learned(int(said["day"]), near, goes, arrays["popular"], of_category, timing)
    return Desk(shelf, learned, rankers, bool(said["drop_owned"]), place.name, said["as_of"])
