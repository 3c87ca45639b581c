"""A slice: the users of a range of buckets, and their day gaps made once for every as-of date.

At a date, users with an event that happened before it but was not yet known are worked out again from what was known:
their gaps (and sessions) would otherwise know the future.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

from huaxiang.engine import Engine, Step
from huaxiang.engine.duck import quote
from huaxiang.features import compile as made
from huaxiang.features.passes import plan_passes
from huaxiang.features.plan import Events, Plan
from huaxiang.features.ready import sessions_sql
from huaxiang.settings import Settings


@dataclass(frozen=True)
class Source:
    """The events of some users: `every` one; and those of the few `codes` that much of the work reads alone, `chosen`."""

    every: str
    chosen: str
    codes: frozenset[int]

    def of(self, codes: frozenset[int] | None) -> str:
        """Where to read the events of `codes` (None: any)."""
        return self.chosen if codes and codes <= self.codes else self.every


@dataclass
class Slice:
    """Feature rows at any date for the slice's users; `kept` are engine tables to drop at the end."""

    engine: Engine
    plan: Plan
    names: dict[str, str]
    users: str
    gap_min: int
    last: date
    events: Source
    gaps: str = ""
    waiting: str = ""
    kept: list[str] = field(default_factory=list)

    def keep(self, sql: str) -> str:
        table = self.engine.store(sql)
        self.kept.append(table)
        return table

    def source(self, events: str) -> Source:
        codes = made.chosen_events(self.plan)
        return Source(events, self.keep(made.chosen_sql(self.plan, codes, events)) if codes else events, codes)

    def find_gaps(self, events: Source) -> str:
        """The table of the day gaps of all as-of dates ("": no feature asks)."""
        found = events.of(self.plan.gap_events.codes())
        return self.keep(made.gap_sql(self.plan, found)) if self.plan.gaps else ""

    def at(self, as_of: date, *, everyone: bool) -> str:
        """SQL of one row a user with every feature as of `as_of`. `everyone`: users without an event before it too."""
        late = self._late(as_of)
        if not late:
            return self._rows(as_of, self.events, self.gaps, self.users, everyone=everyone)
        on_time = f"(SELECT * FROM {self.users} WHERE user_no NOT IN (FROM {late}))"
        rest = self._rows(as_of, self.events, self.gaps, on_time, everyone=everyone)
        known = f"(SELECT * EXCLUDE (session_start, session_gap_s) FROM {self.events.every} WHERE user_no IN (FROM {late}) AND known_day < DATE '{as_of}')"
        events = self.source(self.keep(sessions_sql(known, self.gap_min)))
        behind = f"(SELECT * FROM {self.users} WHERE user_no IN (FROM {late}))"
        return f"{rest}\nUNION ALL\n{self._rows(as_of, events, self.find_gaps(events), behind, everyone=everyone)}"

    def _late(self, as_of: date) -> str:
        """The users who have an event before `as_of` that was not known by then ("": there are none)."""
        if not self.waiting:
            return ""
        late = f"SELECT DISTINCT user_no FROM {self.waiting} WHERE day < DATE '{as_of}' AND known_day >= DATE '{as_of}'"
        return self.keep(late) if self.engine.value(f"SELECT count(*) FROM ({late})") else ""

    def _rows(self, as_of: date, events: Source, gaps: str, users: str, *, everyone: bool) -> str:
        plan = self.plan

        def keep(sql: str) -> str:
            return self.keep(made.at_date(sql, as_of, self.last))

        keys = {
            one.alias: keep(made.fold_key_sql(one, events.of(Events([one.event]).codes()), self.names))
            for one in plan.keys.values()
        }
        rows = [keep(one.sql(events.of(one.events()))) for one in plan_passes(plan)]
        rows += [
            keep(made.exact_sql(some, exacts, lambda rows: events.of(Events([rows.event]).codes())))
            for some, exacts in plan.exacts.items()
        ]
        days = keep(made.day_sql(plan, gaps)) if plan.days else None
        final = made.final_sql(plan, users=users, made=rows, days=days, keys=keys, everyone=everyone)
        return made.at_date(final, as_of, self.last)


@contextmanager
def open_slice(
    step: Step, plan: Plan, names: dict[str, str], buckets: tuple[int, int], settings: Settings, last: date
) -> Iterator[Slice]:
    """The slice of the users in buckets [low, high). last: the day of the shop's last event."""
    engine = step.lake.engine
    local = f"timezone({quote(settings.shop.timezone)}, timezone('UTC', registered_at))::DATE"
    low, high = buckets
    inside = f"bucket >= {low} AND bucket < {high}"
    events = f"(SELECT * FROM ({engine.sql(step.table('ready.events'))}) WHERE {inside})"
    found = Slice(engine, plan, names, "", settings.features.session_gap_min, last, Source(events, events, frozenset()))
    try:
        found.users = found.keep(
            f"SELECT user_no, user_id, {local} AS registered_day FROM ({engine.sql(step.table('ready.users'))}) WHERE {inside}"
        )
        found.events = found.source(events)
        found.gaps = found.find_gaps(found.events)
        waiting = found.keep(f"SELECT DISTINCT user_no, day, known_day FROM {events} WHERE known_day > day")
        found.waiting = waiting if engine.value(f"SELECT count(*) FROM {waiting}") else ""
        yield found
    finally:
        for table in found.kept:
            engine.drop(table)
