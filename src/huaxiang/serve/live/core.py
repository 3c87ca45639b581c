"""What the worker works on: the states, the rows they become, and the queue of profiles to be made; opened for one build of the shop."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from huaxiang.errors import DefinitionError
from huaxiang.features.live.open import open_live, refill
from huaxiang.features.live.store import LiveStore
from huaxiang.profile.live import TOLD, LiveRows
from huaxiang.serve.live.past import LakePast, read_links
from huaxiang.serve.live.refresh import Also, Queue, Refresher
from huaxiang.serve.live.rows import KEPT, PROFILE, now_us, number_of, pack_kept, pack_profile, put_stale
from huaxiang.shop import Shop
from huaxiang.store import Database, Writer

log = logging.getLogger(__name__)

MADE = "INSERT INTO made (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


@dataclass(frozen=True)
class Core:
    """The parts of one build. known: the offset up to which it knows the log"""

    live: LiveStore
    rows: LiveRows
    refresher: Refresher
    build: str
    known: int


def build_mark(shop: Shop) -> str:
    """Another one after each build whose profiles are made ("": there is none yet)."""
    build, profile = (str(shop.lake.note(step).get("finished_at", "")) for step in ("build", "profile"))
    return f"{build} {profile}" if build and profile >= build else ""


def open_core(shop: Shop, database: Database, queue: Queue, *, also: Also) -> Core:
    """The live states and profiles as the last build left them; made anew where they are of an earlier one."""
    mark = build_mark(shop)
    past = LakePast(shop.lake)
    try:
        live = open_live(shop.lake, shop.settings, database, past=past)
        known = dict[str, str](database.rows("SELECT name, value FROM made")).get("build")
        fresh = known == mark
    except DefinitionError:  # states of other definitions
        fresh = False
    if not fresh:
        live = open_live(shop.lake, shop.settings, database, past=past, renew=True)
    rows = LiveRows(
        shop.lake, shop.settings, [feature.name for feature in live.fold.features], models=shop.folder / "models"
    )
    if not fresh:
        _refill(shop, live, rows, mark)
    refresher = Refresher(live, rows, shop.settings.shop.timezone, also=also)
    waiting = [user for (user,) in database.rows("SELECT user_id FROM stale ORDER BY since")]
    queue.add(waiting, now=time.monotonic())
    return Core(live, rows, refresher, mark, int(shop.lake.note("build").get("live_offset", 0)))


def _refill(shop: Shop, live: LiveStore, rows: LiveRows, mark: str) -> None:
    """States, what is kept and the profiles, all in one transaction."""
    start, erased = time.perf_counter(), set(live.erased())

    def also(write: Writer) -> None:
        for table in ("kept", "profile", "foreseen", "declared"):
            write.run(f"DELETE FROM {table}")
        for users, values in rows.kept_rows():
            both = zip(users, values, strict=True)
            write.run_many(KEPT, [pack_kept(user, row) for user, row in both if user not in erased])
        at = now_us()
        for some in _profiles(shop):
            made = [row for row in some if row["user_id"] not in erased]
            write.run_many(PROFILE, [pack_profile(row, number_of(row["as_of"].date()), at) for row in made])
        about = {"build": mark, "at": str(at), "profiles": str(shop.lake.manifest().tables["profiles"].version)}
        write.run_many(MADE, list(about.items()))

    users = refill(live, shop.lake, shop.settings.shop.timezone, whole=True, links=read_links(shop.lake), also=also)
    back = [
        user for user, state in live.states(sorted(erased)).items() if state.newest or state.later
    ]  # they came back
    with live.database.transaction() as write:
        put_stale(write, back, now_us())
    log.info("live: states of %d customers made anew from the last build, %.1f s", users, time.perf_counter() - start)


def _profiles(shop: Shop) -> Any:
    table = shop.lake.table("profiles")
    columns = ", ".join(f'p."{name}"' for name in table.columns if name != "user_no")
    found = f"SELECT {columns} FROM ({shop.engine.sql(table)}) AS p"
    if shop.lake.has("ready.users") and {*TOLD} <= set(shop.lake.table("ready.users").columns):
        people = shop.engine.sql(shop.lake.table("ready.users"))
        told = ", ".join(f"u.{name}" for name in TOLD)
        found = (
            f"SELECT {columns}, {told} FROM ({shop.engine.sql(table)}) AS p LEFT JOIN ({people}) AS u USING (user_id)"
        )
    for batch in shop.engine.batches(found, 10_000):
        yield batch.to_pylist()
