"""What stands in a shop's live store after a load: each acknowledged message once, and states as a fold of the log from its start gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from live_load import MESSAGES


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
