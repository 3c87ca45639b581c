"""What a running shop is made of, opened in its order and closed in the reverse."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from huaxiang.errors import ShopError
from huaxiang.serve.collector import Collector
from huaxiang.serve.log import Committer, Log, Seal
from huaxiang.serve.map import Mapper
from huaxiang.serve.profiles import BatchProfiles, Profiles
from huaxiang.serve.sessions import Sessions
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
    profiles: Profiles
    sessions: Sessions


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
            closing.enter_context(_alone(shop))
        store = open_store(shop)
        closing.callback(store.close)
        ids = shop.folder / "live" / "ids"
        to = Log(store, Seal(vault_key(shop)), ids, keep_days=shop.settings.live.keep_ids_days)
        sources = open_sources(shop, store)
        if not sources.all():
            sources.add("web", now=time.time_ns() // 1000)
        committer = Committer(to)
        closing.callback(committer.close)
        sessions = Sessions()
        worker = _open_worker(shop, to, committer, sessions, closing) if work and shop.lake.note("build") else None
        profiles = BatchProfiles(shop)
        closing.callback(profiles.close)
        yield Running(shop, store, to, sources, committer, Collector(sources, committer), worker, profiles, sessions)


@contextmanager
def _alone(shop: Shop) -> Iterator[None]:
    """A SQLite store has one server: each would know only its own message ids. Raises ShopError where another runs."""
    path = shop.folder / "live" / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ShopError("serve.running", folder=shop.folder) from error
        yield


def _open_worker(shop: Shop, to: Log, committer: Committer, sessions: Sessions, closing: ExitStack) -> Worker:
    own = closing.enter_context(Shop.open(shop.folder))  # an engine serves one thread
    live = closing.enter_context(own.live(refill=not (shop.folder / "live.db").exists()))
    mapper = Mapper(shop.pseudonyms(create=True), shop.settings.live)
    worker = Worker(to, committer, live, mapper, shop.vault(create=True), sessions)
    worker.start()
    closing.callback(worker.close)
    return worker
