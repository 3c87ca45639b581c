"""What a running shop is made of, opened in its order and closed in the reverse."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from huaxiang.errors import ShopError
from huaxiang.features.live.tables import MIGRATIONS as STATE_TABLES
from huaxiang.features.live.tables import PART as STATES
from huaxiang.serve.collector import Collector
from huaxiang.serve.hooks import Deliverer, Follower, Outbox, open_hooks
from huaxiang.serve.live.foresee import Foreseer
from huaxiang.serve.live.layout import MIGRATIONS as PROFILE_TABLES
from huaxiang.serve.live.layout import PART as PROFILES
from huaxiang.serve.live.overlay import Overlay
from huaxiang.serve.live.reading import LiveProfiles
from huaxiang.serve.live.to_lake import LakeWriter
from huaxiang.serve.live.worker import Worker
from huaxiang.serve.log import Committer, Log, Seal, Upkeep
from huaxiang.serve.map import Mapper
from huaxiang.serve.profiles import BatchProfiles
from huaxiang.serve.pull.run import Pullers, shapes_of
from huaxiang.serve.quarantine import Quarantine
from huaxiang.serve.sessions import Sessions
from huaxiang.serve.sources import Sources
from huaxiang.shop import Shop
from huaxiang.store import Database, migrate, open_database
from huaxiang.trust import load_key

BEHIND = 20  # requests that wait to be folded: more than pass in a moment


@dataclass(frozen=True)
class Running:
    """The parts of a shop that lives. worker: None where somebody else folds; while the shop has no profiles yet, events are collected
    and wait"""

    shop: Shop
    store: Database
    log: Log
    sources: Sources
    committer: Committer
    collector: Collector
    worker: Worker | None
    lake: LakeWriter | None
    profiles: LiveProfiles
    pullers: Pullers
    outbox: Outbox
    deliverer: Deliverer | None
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
        states = open_states(shop, store)
        if states is not store:
            closing.callback(states.close)
        outbox = Outbox(states, open_hooks(shop.folder, shop.settings))
        deliverer = _open_deliverer(shop, outbox, closing) if work and outbox.hooks else None
        sessions = Sessions()
        worker, lake = _open_worker(shop, to, committer, states, outbox, sessions, closing) if work else (None, None)
        batch = BatchProfiles(shop, table=Overlay(states).profiles)
        closing.callback(batch.close)
        if (
            worker is not None and lake is not None
        ):  # only what is folded, in the lake, and in the build that states are made anew from
            upkeep.safe_upto = lambda: min(worker.applied, lake.written, worker.built())
        pullers = Pullers(shop.settings, shop.folder, os.environ, store, seal, committer)
        if work:
            pullers.start()
            closing.callback(pullers.close)
        yield Running(
            shop=shop,
            store=store,
            log=to,
            sources=sources,
            committer=committer,
            collector=Collector(sources, committer),
            worker=worker,
            lake=lake,
            profiles=LiveProfiles(states, batch, worker),
            pullers=pullers,
            outbox=outbox,
            deliverer=deliverer,
            sessions=sessions,
        )


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


def _open_deliverer(shop: Shop, outbox: Outbox, closing: ExitStack) -> Deliverer:
    vault = shop.vault(create=True)
    deliverer = Deliverer(outbox, lambda users: vault.get_many(users, "shop_id"))
    deliverer.start()
    closing.callback(deliverer.close)
    return deliverer


def open_states(shop: Shop, store: Database) -> Database:
    """Where the live states are: a file of their own beside a SQLite store, so that folding never waits for the log; else the store."""
    where = shop.live_states()
    states = store if isinstance(where, str) else open_database(where, durable=False)
    migrate(states, STATES, STATE_TABLES)
    migrate(states, PROFILES, PROFILE_TABLES)
    return states


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


def _open_worker(
    shop: Shop, to: Log, committer: Committer, states: Database, outbox: Outbox, sessions: Sessions, closing: ExitStack
) -> tuple[Worker, LakeWriter]:
    def mapper() -> Mapper:
        return Mapper(shop.pseudonyms(create=True), shop.settings.live)

    follower = Follower(outbox)
    zone = ZoneInfo(shop.settings.shop.timezone)
    foreseer = Foreseer(
        shop.folder,
        states,
        pause_s=shop.settings.live.foresee_s,
        as_of=lambda: datetime.now(zone).date() + timedelta(days=1),
        done=lambda users: worker.again(users),
        busy=lambda: worker.lag() > BEHIND,
    )
    worker = Worker(
        shop.folder,
        to,
        committer,
        states,
        mapper(),
        shop.vault(create=True),
        changed=foreseer.add if shop.settings.live.foresee_s else lambda users: None,
        also=follower,
        opened=follower.open,
        sessions=sessions,
    )
    worker.start()
    closing.callback(worker.close)
    if shop.settings.live.foresee_s:
        foreseer.start()
        closing.callback(foreseer.close)
    lake = LakeWriter(
        shop.folder,
        to,
        mapper(),
        every_s=shop.settings.live.lake_every_s,
        upto=worker.upto,
        erased=worker.erased,
    )
    lake.start()
    closing.callback(lake.close)
    return worker, lake
