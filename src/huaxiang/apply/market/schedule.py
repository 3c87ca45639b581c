"""When each audience is found anew: by its own interval, after each run, or by hand.

audience.refreshed    name, version, at, profiles    one row an audience: when it was found last (UTC), by which definition and profiles

An audience that was never found, or whose definition changed since, is due at once, unless it is found by hand alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from huaxiang.engine import Lake, Step
from huaxiang.engine.duck import quote
from huaxiang.errors import DefinitionError
from huaxiang.settings.every import AFTER_RUN, BY_HAND, interval_of, nearest_every, tidy_every
from huaxiang.settings.market import AudienceSettings

REFRESHED = "audience.refreshed"
SCHEMA = pa.schema(
    [("name", pa.string()), ("version", pa.string()), ("at", pa.timestamp("us")), ("profiles", pa.string())]
)
EARLY, MOST_EARLY = (
    20,
    timedelta(minutes=10),
)  # cron starts a little sooner one day than the last: a twentieth of the interval counts


@dataclass(frozen=True)
class Scheduled:
    """An audience's schedule. refreshed_at: last (UTC; None: never); next_due: UTC (None: not by the clock); is_due: now;
    is_changed: its definition is another than it was last found by."""

    name: str
    every: str
    refreshed_at: datetime | None
    next_due: datetime | None
    is_due: bool
    is_changed: bool


def read_every(text: str) -> str:
    """A schedule as huaxiang.toml has it; raises DefinitionError with the nearest for what is none."""
    every = tidy_every(text)
    try:
        interval_of(every)
    except ValueError as error:
        raise DefinitionError("market.every", text=text, near=nearest_every(text)) from error
    return every


def schedules(
    lake: Lake, declared: Mapping[str, AudienceSettings], versions: Mapping[str, str], *, now: datetime
) -> list[Scheduled]:
    """The schedule of every declared audience, as it stands `now` (UTC). versions: of the definitions as declared"""
    last = {}
    if lake.has(REFRESHED):
        last = {row["name"]: row for row in lake.engine.rows(lake.engine.sql(lake.table(REFRESHED)))}
    profiles = profiles_mark(lake)
    return [
        schedule(
            name,
            one.every,
            now=now,
            refreshed_at=last[name]["at"] if name in last else None,
            is_changed=name in last and last[name]["version"] != versions[name],
            is_new=name in last and last[name]["profiles"] != profiles,
        )
        for name, one in declared.items()
    ]


def schedule(
    name: str,
    every: str,
    *,
    now: datetime,
    refreshed_at: datetime | None,
    is_changed: bool = False,
    is_new: bool = False,
) -> Scheduled:
    """One audience's schedule. is_new: the profiles are others than it was last found by"""
    interval = interval_of(every)
    due, is_due = None, False
    if every != BY_HAND:
        if interval is not None and refreshed_at is not None:
            due = refreshed_at + interval
            is_due = now >= due - min(interval / EARLY, MOST_EARLY)
        is_due = is_due or refreshed_at is None or is_changed or (every == AFTER_RUN and is_new)
    return Scheduled(name, every, refreshed_at, now if is_due and due is None else due, is_due, is_changed)


def note_refreshed(step: Step, versions: Mapping[str, str], declared: Collection[str], *, now: datetime) -> None:
    """Keeps that the audiences of `versions` were found `now`; of one no longer declared nothing is kept."""
    profiles = profiles_mark(step.lake)
    made = pa.Table.from_pylist(
        [{"name": name, "version": version, "at": now, "profiles": profiles} for name, version in versions.items()],
        SCHEMA,
    )
    if step.has(REFRESHED):
        others = ", ".join(quote(name) for name in declared if name not in versions) or "''"
        kept = step.lake.engine.sql(step.table(REFRESHED))
        earlier = step.lake.engine.arrow(f"SELECT * FROM ({kept}) WHERE name IN ({others})").cast(SCHEMA)
        made = pa.concat_tables([earlier, made])
    step.replace(REFRESHED, made)


def profiles_mark(lake: Lake) -> str:
    """Which profiles these are: another text once they were made anew."""
    return str(lake.note("profile").get("mark") or lake.note("build").get("as_of", ""))
