"""A slice: the users of a range of buckets, and their features at any as-of date.

At a date, users with an event that happened before it but was not yet known are worked out again from what was known:
their sessions would otherwise know the future.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

from huaxiang.engine import Engine, Step
from huaxiang.engine.duck import quote
from huaxiang.features.plan import Codes, Plan
from huaxiang.features.ready import sessions_sql
from huaxiang.features.text import CHOSEN, EVERY, USERS, Chosen, PlanText, day_number, fill, names_of, remembered_text
from huaxiang.settings import Settings


@dataclass(frozen=True)
class Texts:
    """The text of one plan for dates after the last event, where nothing has to be kept out (a filter on every row that keeps
    all of them costs a fifth of a pass), and for dates before."""

    plan: Plan
    codes: Codes
    named: Mapping[str, str]
    path: Path  # where the text is remembered from one build to the next

    @cached_property
    def chosen(self) -> Chosen:
        return Chosen.of(self.plan)

    @cached_property
    def today(self) -> PlanText:
        return self._write(filter_past=False)

    @cached_property
    def then(self) -> PlanText:
        return self._write(filter_past=True)

    def _write(self, *, filter_past: bool) -> PlanText:
        return remembered_text(
            self.path, self.plan, self.chosen, codes=self.codes, named=self.named, filter_past=filter_past
        )


@dataclass
class Slice:
    """Feature rows at any date for the slice's users; `kept` are engine tables to drop at the end."""

    engine: Engine
    texts: Texts
    users: str
    gap_min: int
    last: date
    events: dict[str, str]
    waiting: str = ""
    kept: list[str] = field(default_factory=list)

    def keep(self, sql: str) -> str:
        table = self.engine.store(sql)
        self.kept.append(table)
        return table

    def source(self, events: str) -> dict[str, str]:
        """Where to read every event, and where those that much of the work reads alone."""
        chosen = self.texts.chosen
        return {EVERY: events, CHOSEN: self.keep(chosen.sql(events)) if chosen.codes else events}

    def at(self, as_of: date, *, everyone: bool) -> str:
        """SQL of one row a user with every feature as of `as_of`. `everyone`: users without an event before it too."""
        late = self._late(as_of)
        if not late:
            return self._rows(as_of, self.events, self.users, everyone=everyone)
        on_time = f"(SELECT * FROM {self.users} WHERE user_no NOT IN (FROM {late}))"
        rest = self._rows(as_of, self.events, on_time, everyone=everyone)
        known = f"(SELECT * EXCLUDE (session_start, session_gap_s) FROM {self.events[EVERY]} WHERE user_no IN (FROM {late}) AND known_day < DATE '{as_of}')"
        events = self.source(self.keep(sessions_sql(known, self.gap_min)))
        behind = f"(SELECT * FROM {self.users} WHERE user_no IN (FROM {late}))"
        return f"{rest}\nUNION ALL\n{self._rows(as_of, events, behind, everyone=everyone)}"

    def _late(self, as_of: date) -> str:
        """The users who have an event before `as_of` that was not known by then ("": there are none)."""
        if not self.waiting:
            return ""
        late = f"SELECT DISTINCT user_no FROM {self.waiting} WHERE day < DATE '{as_of}' AND known_day >= DATE '{as_of}'"
        return self.keep(late) if self.engine.value(f"SELECT count(*) FROM ({late})") else ""

    def _rows(self, as_of: date, events: dict[str, str], users: str, *, everyone: bool) -> str:
        text = self.texts.today if as_of > self.last else self.texts.then
        tables = events | {names_of(key): table for key, table in self.texts.named.items()}
        parts = {f"__part{number}__": self.keep(fill(part, as_of, tables)) for number, part in enumerate(text.parts)}
        registered = f"(SELECT user_no, user_id, CASE WHEN registered_day < DATE '{as_of}' THEN {day_number('registered_day')} END AS registered_no FROM {users})"
        rows = fill(text.final[everyone], as_of, {USERS: registered, **parts})
        return f"SELECT user_no, user_id, DATE '{as_of}' AS as_of, * EXCLUDE (user_no, user_id) FROM ({rows})"


@contextmanager
def open_slice(step: Step, texts: Texts, buckets: tuple[int, int], settings: Settings, last: date) -> Iterator[Slice]:
    """The slice of the users in buckets [low, high). last: the day of the shop's last event."""
    engine = step.lake.engine
    local = f"timezone({quote(settings.shop.timezone)}, timezone('UTC', registered_at))::DATE"
    low, high = buckets
    inside = f"bucket >= {low} AND bucket < {high}"
    ready = engine.sql(step.table("ready.events"))
    events = f"(SELECT *, {day_number('day')} AS day_no FROM ({ready}) WHERE {inside})"
    found = Slice(engine, texts, "", settings.features.session_gap_min, last, {})
    try:
        found.users = found.keep(
            f"SELECT user_no, user_id, {local} AS registered_day FROM ({engine.sql(step.table('ready.users'))}) WHERE {inside}"
        )
        found.events = found.source(events)
        waiting = found.keep(f"SELECT DISTINCT user_no, day, known_day FROM {events} WHERE known_day > day")
        found.waiting = waiting if engine.value(f"SELECT count(*) FROM {waiting}") else ""
        yield found
    finally:
        for table in found.kept:
            engine.drop(table)


__all__ = ["Slice", "Texts", "open_slice"]
