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
from huaxiang.features.plan import Plan
from huaxiang.features.ready import sessions_sql
from huaxiang.settings import Settings


@dataclass
class Slice:
    """Feature rows at any date for the slice's users; `kept` are engine tables to drop at the end."""

    engine: Engine
    plan: Plan
    names: dict[str, str]
    events: str
    users: str
    gap_min: int
    gaps: str = ""
    waiting: str = ""
    kept: list[str] = field(default_factory=list)

    def keep(self, sql: str) -> str:
        table = self.engine.store(sql)
        self.kept.append(table)
        return table

    def at(self, as_of: date, *, everyone: bool) -> str:
        """SQL of one row a user with every feature as of `as_of`. `everyone`: users without an event before it too."""
        late = self._late(as_of)
        if not late:
            return self._rows(as_of, self.events, self.gaps, self.users, everyone=everyone)
        on_time = f"(SELECT * FROM {self.users} WHERE user_no NOT IN (FROM {late}))"
        rest = self._rows(as_of, self.events, self.gaps, on_time, everyone=everyone)
        known = f"(SELECT * EXCLUDE (session, session_start, session_gap_s) FROM {self.events} WHERE user_no IN (FROM {late}) AND known_day < DATE '{as_of}')"
        events = self.keep(sessions_sql(known, self.gap_min))
        gaps = self.keep(made.gap_sql(self.plan, events)) if self.plan.gaps else ""
        behind = f"(SELECT * FROM {self.users} WHERE user_no IN (FROM {late}))"
        return f"{rest}\nUNION ALL\n{self._rows(as_of, events, gaps, behind, everyone=everyone)}"

    def _late(self, as_of: date) -> str:
        """The users who have an event before `as_of` that was not known by then ("": there are none)."""
        if not self.waiting:
            return ""
        late = f"SELECT DISTINCT user_no FROM {self.waiting} WHERE day < DATE '{as_of}' AND known_day >= DATE '{as_of}'"
        return self.keep(late) if self.engine.value(f"SELECT count(*) FROM ({late})") else ""

    def _rows(self, as_of: date, events: str, gaps: str, users: str, *, everyone: bool) -> str:
        plan = self.plan
        keys = {
            key: self.keep(
                made.at_date(made.fold_key_sql(key, plan, f"({made.key_sql(key, wanted, events)})", self.names), as_of)
            )
            for key, wanted in plan.keys.items()
        }
        rows = [one.sql(events) for one in plan_passes(plan)]
        rows += [made.exact_sql(kept, exacts, events) for kept, exacts in plan.exacts.items()]
        tables = [self.keep(made.at_date(sql, as_of)) for sql in rows]
        days = self.keep(made.at_date(made.day_sql(plan, gaps), as_of)) if plan.days else None
        final = made.final_sql(plan, users=users, made=tables, days=days, keys=keys, everyone=everyone)
        return made.at_date(final, as_of)


@contextmanager
def open_slice(
    step: Step, plan: Plan, names: dict[str, str], buckets: tuple[int, int], settings: Settings
) -> Iterator[Slice]:
    """The slice of the users in buckets [low, high)."""
    engine = step.lake.engine
    local = f"timezone({quote(settings.shop.timezone)}, timezone('UTC', registered_at))::DATE"
    low, high = buckets
    inside = f"bucket >= {low} AND bucket < {high}"
    events = f"(SELECT * FROM ({engine.sql(step.table('ready.events'))}) WHERE {inside})"
    found = Slice(engine, plan, names, events, "", settings.features.session_gap_min)
    try:
        found.users = found.keep(
            f"SELECT user_no, user_id, {local} AS registered_day FROM ({engine.sql(step.table('ready.users'))}) WHERE {inside}"
        )
        found.gaps = found.keep(made.gap_sql(plan, events)) if plan.gaps else ""
        waiting = found.keep(f"SELECT DISTINCT user_no, day, known_day FROM {events} WHERE known_day > day")
        found.waiting = waiting if engine.value(f"SELECT count(*) FROM {waiting}") else ""
        yield found
    finally:
        for table in found.kept:
            engine.drop(table)
