"""Pulls of a log of their own, taken step by step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from huaxiang.serve.log import Committer, Log, Seal
from huaxiang.serve.pull.positions import Positions
from huaxiang.serve.pull.run import Pull, Pullers
from huaxiang.serve.wire.message import Message, read_batch
from huaxiang.settings import Settings
from huaxiang.store import Database, open_database

KEY = b"k" * 32


class Place:
    """A live store in `folder` (or at `store`), and the pulls that `settings` of [live.pull] name."""

    def __init__(self, folder: Path, pull: Mapping[str, Any], *, store: str = "") -> None:
        self.folder = folder
        self.database: Database = open_database(store or folder / "live" / "store.db")
        seal = Seal(KEY)
        self.log = Log(self.database, seal, folder / "live" / "ids")
        self.committer = Committer(self.log)
        settings = Settings.model_validate({"live": {"pull": pull}})
        self.pullers = Pullers(settings, folder, os.environ, self.database, seal, self.committer)
        self.positions: Positions = self.pullers.all[0]._positions

    def pull(self, name: str, *, ended: bool = False) -> Pull:
        """One of them, without its thread."""
        (found,) = (one for one in self.pullers.all if one.name == name)
        return found._make(lambda: ended)

    def messages(self) -> list[Message]:
        """Those that count, in the order of the log."""
        found = []
        for entry in self.log.read(0, most=10_000):
            batch, _ = read_batch(entry.body)
            found += [one for place, one in enumerate(batch.batch) if place not in entry.skipped]
        return found

    def reasons(self) -> dict[str, int]:
        return {reason: n for (_, _, reason), n in self.log.refusals().items()}

    def close(self) -> None:
        self.committer.close()
        self.database.close()


def properties(message: Message) -> dict[str, Any]:
    return msgspec.json.decode(message.properties)
