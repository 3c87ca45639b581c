"""What stands in a shop's live store after a load: each acknowledged message once, and states as a fold of the log from its start gives them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from live_load import MESSAGES

FORESEEN = (
    "embedding",
    "next_items",
    "next_item",
)  # by the behaviour model: a customer's are made anew a while after the last time


@dataclass(frozen=True)
class Checked:
    """lost: acknowledged messages that are not in the log; doubled: messages that count more than once; messages: that count"""

    lost: int
    doubled: int
    messages: int


def check_log(folder: Path, acknowledged: Sequence[int], newest: int) -> Checked:
    """newest: the greatest number of a request"""
    from huaxiang.serve.log import Log, Seal
    from huaxiang.serve.open import open_store, vault_key
    from huaxiang.shop import Shop

    counts = np.zeros((newest + 1, MESSAGES), np.int16)
    read = msgspec.json.Decoder(_Batch)
    with Shop.open(folder) as shop:
        store = open_store(shop)
        log, after = Log(store, Seal(vault_key(shop)), folder / "live" / "ids-check"), 0
        while entries := log.read(after):
            for entry in entries:
                for place, one in enumerate(read.decode(entry.body).batch):
                    kind, number, at = one.messageId.split("-")
                    if place not in entry.skipped and kind == "m" and int(number, 16) <= newest:
                        counts[int(number, 16), int(at)] += 1
            after = entries[-1].offset
        store.close()
    told = np.zeros(newest + 1, bool)
    told[list(acknowledged)] = True
    return Checked(int((counts[told] == 0).sum()), int((counts > 1).sum()), int((counts > 0).sum()))


class _Message(msgspec.Struct):
    messageId: str = "x--"  # noqa: N815


class _Batch(msgspec.Struct):
    batch: list[_Message]


def copy_for_rebuild(built: Path, lived: Path, to: Path) -> None:
    """The shop as its last build left it, with the log of one that lived since: its states are to be made from the start."""
    shutil.copytree(built, to)
    shutil.rmtree(to / "live", ignore_errors=True)
    for state in to.glob("live.db*"):
        state.unlink()
    shutil.copytree(lived / "live", to / "live", ignore=shutil.ignore_patterns(".lock"))
    shutil.copytree(lived / "keys", to / "keys", dirs_exist_ok=True)


def compare_profiles(one: Path, other: Path) -> tuple[int, int]:
    """Customers, and those of them whose profile is not the same in both, but for what follows at a distance (`FORESEEN`)."""
    left, right = _profiles(one), _profiles(other)
    return len(left.keys() | right.keys()), sum(
        left.get(user) != right.get(user) for user in left.keys() | right.keys()
    )


def _profiles(shop: Path) -> dict[str, dict[str, object]]:
    with sqlite3.connect(shop / "live.db") as file:
        found = file.execute("SELECT user_id, content FROM profile").fetchall()
    read = {user: msgspec.json.decode(content) for user, content in found}
    return {
        user: {name: _plain(one) for name, one in row.items() if name not in FORESEEN} for user, row in read.items()
    }


def _plain(value: object) -> object:
    """Without what depends on the order in which equal sums were added up: numbers to nine digits."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
