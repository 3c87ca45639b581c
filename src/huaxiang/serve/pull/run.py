"""The pulls of a running shop: a thread each. One that fails begins again, after waits that grow."""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from huaxiang.engine import Engine
from huaxiang.errors import HuaxiangError, StoreError
from huaxiang.serve.log import Committer
from huaxiang.serve.log.seal import Seal
from huaxiang.serve.pull.folder import Folder
from huaxiang.serve.pull.kafka import Kafka
from huaxiang.serve.pull.positions import LEASE_S, Positions
from huaxiang.serve.pull.postgresql import Postgresql
from huaxiang.serve.pull.sender import Counts, Sender
from huaxiang.serve.pull.shape import Shape
from huaxiang.settings import PullSettings, Settings
from huaxiang.store import Database

log = logging.getLogger(__name__)

FIRST_S, LONGEST_S = 1.0, 300.0  # waits after errors
MEMORY_GB = 0.5  # of the engine that reads a folder's files


def shapes_of(settings: Settings) -> dict[str, Shape]:
    """How the rows of each pull are read."""
    return {
        name: Shape(pull.fields, event=pull.event, zone=pull.zone or settings.shop.timezone)
        for name, pull in settings.live.pull.items()
    }


class Pull(Protocol):
    def step(self) -> float:
        """Fetches some; gives the seconds to rest. Raises HuaxiangError."""

    def reset(self) -> None:
        """Begins at the stored positions again."""

    def close(self) -> None: ...


class Puller:
    """One pull in its thread. make: called in it; error: what goes wrong now ("": nothing)"""

    def __init__(self, sender: Sender, positions: Positions, make: Callable[[Callable[[], bool]], Pull]) -> None:
        self.name, self.counts, self.error = sender.name, sender.counts, ""
        self._positions, self._make = positions, make
        self._told: str | None = None  # what stands in the store; at the start that of an earlier process
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"huaxiang-pull-{sender.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Ends after what is in hand; `join` waits for it."""
        self._closing.set()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        wait, pull = FIRST_S, None
        while not self._closing.is_set():
            try:
                if not self._positions.may_pull(self.name, _now()):
                    if pull is not None:
                        pull.reset()
                    self._closing.wait(LEASE_S / 3)
                    continue
                pull = pull or self._make(self._closing.is_set)
                rest = min(pull.step(), LEASE_S / 3)
                self._tell("")
                wait = FIRST_S
            except Exception as error:  # noqa: BLE001 - the thread must outlive it; nothing is lost: the position has not moved
                self._failed(error, wait)
                rest, wait = wait, min(2 * wait, LONGEST_S)
                if pull is not None:
                    _quietly(pull.reset)
            self._closing.wait(rest)
        if pull is not None:
            _quietly(pull.close)
        _quietly(lambda: self._positions.let_go(self.name))

    def _failed(self, error: Exception, wait: float) -> None:
        if self._closing.is_set():
            return
        self.counts.errors += 1
        if isinstance(error, HuaxiangError):
            log.warning("pull %s: again in %.0f s: %s", self.name, wait, error.what())
            values = {name: str(value) for name, value in error.values.items()}
            said = json.dumps({"key": error.key, "values": values}, ensure_ascii=False)
        else:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
            log.error("pull %s: again in %.0f s: %s at %s", self.name, wait, type(error).__name__, place)
            said = json.dumps({"key": "cli.unexpected", "values": {"kind": type(error).__name__, "place": place}})
        self._tell(said)

    def _tell(self, error: str) -> None:
        """Keeps it where doctor reads it, when it has changed."""
        if error != self._told:
            self.error = self._told = error
            _quietly(lambda: self._positions.tell(self.name, error, _now()))


class Pullers:
    """All of [live.pull]. engine settings: of the shop"""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        environ: Mapping[str, str],
        store: Database,
        seal: Seal,
        committer: Committer,
    ) -> None:
        self._settings, self._folder, self._environ = settings, folder, environ
        pulls, shapes = settings.live.pull, shapes_of(settings)
        positions = Positions(store, seal)
        self.all: list[Puller] = []
        for name, pull in sorted(pulls.items()):
            sender = Sender(name, shapes[name], positions, committer)
            self.all.append(Puller(sender, positions, self._maker(pull, sender)))

    def start(self) -> None:
        for puller in self.all:
            puller.start()

    def close(self) -> None:
        """Ends after the batches in hand."""
        for puller in self.all:
            puller.end()
        for puller in self.all:
            puller.join()

    def counts(self) -> dict[str, Counts]:
        """What each has done since the start, by name."""
        return {puller.name: puller.counts for puller in self.all}

    def metrics(self) -> list[tuple[str, str, str, dict[str, float]]]:
        """(name, kind, help, {labels: value}) as the API's metrics are written."""
        found = self.counts()
        if not found:
            return []
        each = {f'{{source="{name}"}}': one for name, one in found.items()}
        refused = {
            f'{{source="{name}",reason="{reason}"}}': float(n)
            for name, one in found.items()
            for reason, n in sorted(one.refused.items())
        }
        return [
            ("pull_rows_total", "counter", "Rows pulled.", {at: float(one.rows) for at, one in each.items()}),
            ("pull_messages_total", "counter", "New messages on disk of them.", {at: float(one.messages) for at, one in each.items()}),
            ("pull_refused_total", "counter", "Rows put into the quarantine, by reason.", refused),
            ("pull_errors_total", "counter", "Times a pull failed; it begins again.", {at: float(one.errors) for at, one in each.items()}),
            ("pull_waiting", "gauge", "What is known to wait: files, or messages of Kafka.", {at: float(one.behind) for at, one in each.items() if one.behind is not None}),
        ]  # fmt: skip

    def _maker(self, pull: PullSettings, sender: Sender) -> Callable[[Callable[[], bool]], Pull]:
        def make(ended: Callable[[], bool]) -> Pull:
            if pull.kind == "folder":
                engine = Engine(
                    memory_gb=MEMORY_GB, threads=1, temp=self._folder / "lake" / "tmp" / f"pull-{sender.name}"
                )
                return Folder(pull, self._folder, engine, sender, ended)
            kind = Kafka if pull.kind == "kafka" else Postgresql
            return kind(pull, self._environ, sender, ended)

        return make


def _quietly(work: Callable[[], None]) -> None:
    try:
        work()
    except (HuaxiangError, StoreError, OSError) as error:
        log.warning("a pull could not be tidied up: %s", type(error).__name__)


def _now() -> int:
    return time.time_ns() // 1000
