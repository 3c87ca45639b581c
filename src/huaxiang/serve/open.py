"""What a running shop is made of, opened in its order and closed in the reverse."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from huaxiang.errors import ShopError
from huaxiang.serve.collector import Collector
from huaxiang.serve.log import Committer, Log, Seal, Upkeep
from huaxiang.serve.map import Mapper
from huaxiang.serve.pull.run import Pullers, shapes_of
from huaxiang.serve.quarantine import Quarantine
from huaxiang.serve.sources import Sources
from huaxiang.serve.worker import Worker
from huaxiang.shop import Shop
from huaxiang.store import Database, open_database
from huaxiang.trust import load_key


@dataclass(frozen=True)
class Running:
    """The parts of a shop that lives. worker: None where the shop has no features yet: events are collected and wait"""

    shop: Shop
    store: Database
    log: Log
    sources: Sources
    committer: Committer
    collector: Collector
    worker: Worker | None
    pullers: Pullers


def open_store(shop: Shop) -> Database:
    """The live store that [live] store names."""
    where = shop.settings.live.store
    return open_database(where if "://" in where else shop.folder / where)


def open_sources(shop: Shop, store: Database) -> Sources:
    return Sources(store, rate=shop.settings.live.rate)


def vault_key(shop: Shop) -> bytes:
    return load_key(Path(shop.folder) / "keys" / "vault.key", create=True)


@contextmanager
def open_running(shop: Shop, *, work: bool = True) -> Iterator[Running]:
    """Everything but the HTTP server. work: fold what is collected (else somebody else does)"""
    with ExitStack() as closing:
        if "://" not in shop.settings.live.store:
            closing.enter_context(alone(shop))
        store = open_store(shop)
        closing.callback(store.close)
        ids = shop.folder / "live" / "ids"
        seal = Seal(vault_key(shop))
        to = Log(store, seal, ids, keep_days=shop.settings.live.keep_ids_days)
        sources = open_sources(shop, store)
        if not sources.all():
            sources.add("web", now=time.time_ns() // 1000)
        upkeep = Upkeep(to, keep_days=shop.settings.live.keep_log_days)
        committer = Committer(to, upkeep=upkeep)
        closing.callback(committer.close)
        worker = _open_worker(shop, to, committer, closing) if work and shop.lake.note("build") else None
        if worker is not None:
            upkeep.safe_upto = lambda: worker.applied
        pullers = Pullers(shop.settings, shop.folder, os.environ, store, seal, committer)
        if work:
            pullers.start()
            closing.callback(pullers.close)
        yield Running(shop, store, to, sources, committer, Collector(sources, committer), worker, pullers)


@contextmanager
def alone(shop: Shop) -> Iterator[None]:
    """A SQLite store has one server: each would know only its own message ids. Raises ShopError where another runs."""
    path = shop.folder / "live" / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ShopError("serve.running", folder=shop.folder) from error
        yield


@contextmanager
def open_quarantine(shop: Shop, *, write: bool = False) -> Iterator[Quarantine]:
    """The shop's quarantine. write: to send through again; raises ShopError while a server has the SQLite store."""
    with ExitStack() as closing:
        if write and "://" not in shop.settings.live.store:
            closing.enter_context(alone(shop))
        store = open_store(shop)
        closing.callback(store.close)
        ids = shop.folder / "live" / "ids" if write else None
        to = Log(store, Seal(vault_key(shop)), ids, keep_days=shop.settings.live.keep_ids_days)
        yield Quarantine(to, shop.pseudonyms(create=True), shapes_of(shop.settings))


def _open_worker(shop: Shop, to: Log, committer: Committer, closing: ExitStack) -> Worker:
    own = closing.enter_context(Shop.open(shop.folder))  # an engine serves one thread
    live = closing.enter_context(own.live(refill=not (shop.folder / "live.db").exists()))
    mapper = Mapper(shop.pseudonyms(create=True), shop.settings.live)
    worker = Worker(to, committer, live, mapper, shop.vault(create=True))
    worker.start()
    closing.callback(worker.close)
    return worker
