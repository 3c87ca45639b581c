"""The live states of a shop: opened beside its lake, and filled from the past."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import date
from itertools import groupby
from pathlib import Path

from huaxiang.collect.door import REFUSED
from huaxiang.collect.raw import ERASED
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ShopError
from huaxiang.features.fakes import kept_out
from huaxiang.features.live.fold import Fold, live_features
from huaxiang.features.live.ledger import Fact
from huaxiang.features.live.past import past_rows, past_sql
from huaxiang.features.live.rebuild import Past
from huaxiang.features.live.store import LiveStore
from huaxiang.features.mine import declared_features
from huaxiang.features.text import day_number
from huaxiang.features.users import BUCKETS
from huaxiang.settings import Settings
from huaxiang.store import Database, Writer

log = logging.getLogger(__name__)

_BUCKETS_AT_ONCE = 16


SOURCE = "log"  # the name under which states keep how far they know the log of a running shop


def open_live(
    lake: Lake, settings: Settings, at: Path | str | Database, *, past: Past | None = None, renew: bool = False
) -> LiveStore:
    """The states at `at` of the features that fold exactly, as the last build declared them.

    States that were filled when other orders were held fake stand as they are until they are refilled; a warning says so.

    renew: whether they are about to be refilled
    raises: ShopError before the first build; DefinitionError where the states were kept for other definitions
    """
    note = lake.note("build")
    if not note:
        raise ShopError("lake.no_table", name="features", have=", ".join(lake.names()) or "-")
    features = declared_features(settings.features, note["categories"], sells=note.get("sells", True))
    fold = Fold(live_features(features), session_gap_min=settings.features.session_gap_min)
    items = lake.engine.sql(lake.table("ready.items"))
    store = LiveStore(
        at,
        fold,
        lake.engine,
        zone=settings.shop.timezone,
        items=items,
        past=past,
        renew=renew,
        refused=find_refused(lake),
        erased=find_erased(lake),
    )
    if not renew and set(store.kept_out()) != set(kept_out(lake)):
        log.warning("live: the last build kept out other orders held fake than the states do; refill them")
    return store


def find_refused(lake: Lake) -> list[str]:
    """Who does not agree to profiling, as the last collect knew."""
    if not lake.has(REFUSED):
        return []
    found = lake.engine.rows(f"SELECT DISTINCT user_id FROM ({lake.engine.sql(lake.table(REFUSED))})")
    return [row["user_id"] for row in found]


def find_erased(lake: Lake) -> dict[str, int]:
    """Who was erased, and when (µs), as the lake remembers it."""
    if not lake.has(ERASED):
        return {}
    return {row["user_id"]: row["upto"] for row in lake.engine.rows(lake.table(ERASED))}


def fill(
    lake: Lake, settings: Settings, path: Path | str, *, advance: Callable[[int], None] = lambda done: None
) -> int:
    """The states at `path` made anew from the last build, in one transaction; gives the users."""
    with open_live(lake, settings, path, renew=True) as store:
        return refill(store, lake, settings.shop.timezone, advance=advance)


def refill(
    store: LiveStore,
    lake: Lake,
    zone: str,
    *,
    whole: bool = False,
    links: Iterable[Fact] = (),
    also: Callable[[Writer], None] = lambda write: None,
    advance: Callable[[int], None] = lambda done: None,
) -> int:
    """Makes the states anew from what the last build knew; gives the users. The log of a running shop is read on from where the build
    knew it.

    A few buckets of users at a time, each user whole: memory is set by the buckets, not by the shop.

    whole: with events known after the build's as-of, too; links: of visitors to users; also: writes more in the same transaction
    """
    engine, note = lake.engine, lake.note("build")
    as_of = date.max if whole else date.fromisoformat(note["as_of"])
    events = engine.sql(lake.table("ready.events"))
    prices = engine.rows(
        f"SELECT category, {day_number('known_day')} AS day, sum(price) AS total, count(*) AS n FROM ({events}) "
        f"WHERE event = 'purchase' AND price > 0 AND category IS NOT NULL AND known_day < DATE '{as_of}' GROUP BY ALL"
    )
    local = f"timezone({quote(zone)}, timezone('UTC', registered_at))::DATE"
    people = engine.rows(
        f"SELECT user_id, {local} AS day FROM ({engine.sql(lake.table('ready.users'))}) WHERE registered_at IS NOT NULL"
    )
    users = 0
    with store.replacing(
        [(row["category"], row["day"], row["total"], row["n"]) for row in prices],
        ((row["user_id"], row["day"]) for row in people),
        kept_out(lake),
        links=links,
        applied=(SOURCE, int(note.get("live_offset", 0))),
        also=also,
    ) as write:
        for low in range(0, BUCKETS, _BUCKETS_AT_ONCE):
            inside = f"bucket >= {low} AND bucket < {low + _BUCKETS_AT_ONCE}"
            sql = past_sql(store.fold, events, as_of, inside, by_user=True)
            states = {}
            for user, rows in groupby(past_rows(engine, sql), key=lambda found: found[0]):
                states[user] = store.fold.empty()
                for _, row in rows:
                    store.fold.add(states[user], row)
            write(states)
            users += len(states)
            advance(_BUCKETS_AT_ONCE)
    store.rebuild(store.erased())  # without what was received before they were erased
    return users
