"""A slice: the users of a range of buckets, and their features as of one date after all events or of many dates in one pass.

Many dates: each event has one row for every date before which it had happened and was known, and every grouping is by user and
date. Where a user has an event that had happened but was not yet known, the sessions of that user and date are worked out again
from what was known: they would otherwise know the future.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

from huaxiang.engine import Engine, Step
from huaxiang.engine.duck import quote
from huaxiang.features.plan import Codes, Plan
from huaxiang.features.ready import sessions_sql
from huaxiang.features.text import (
    CHOSEN,
    EPOCH,
    EVERY,
    USERS,
    Chosen,
    PlanText,
    columns_read,
    day_number,
    fill,
    names_of,
    remembered_text,
)
from huaxiang.settings import Settings

PAIR = "user_no, as_of_no"


@dataclass(frozen=True)
class Texts:
    """The texts of one plan: for one date after the last event, and for many dates."""

    plan: Plan
    codes: Codes
    named: Mapping[str, str]
    path: Path  # where the text is remembered from one build to the next

    @cached_property
    def chosen(self) -> Chosen:
        return Chosen.of(self.plan)

    @cached_property
    def one(self) -> PlanText:
        return self._write(many=False)

    @cached_property
    def many(self) -> PlanText:
        return self._write(many=True)

    def _write(self, *, many: bool) -> PlanText:
        return remembered_text(self.path, self.plan, self.chosen, codes=self.codes, named=self.named, many=many)


@dataclass
class Slice:
    """Feature rows of the slice's users; `events`: SQL of their events; `kept` are engine tables to drop at the end."""

    engine: Engine
    texts: Texts
    users: str
    events: str
    gap_min: int
    last: date
    kept: list[str] = field(default_factory=list)

    def keep(self, sql: str) -> str:
        table = self.engine.store(sql)
        self.kept.append(table)
        return table

    def at(self, days: Sequence[date], *, everyone: bool) -> str:
        """SQL of one row a user and date of `days` with every feature as of it. `everyone`: users without an event before it too."""
        if len(days) == 1 and days[0] > self.last and not self._any(f"known_day >= DATE '{days[0]}'"):
            registered = f"CASE WHEN registered_day < DATE '{days[0]}' THEN {day_number('registered_day')} END"
            users = f"(SELECT user_no, user_id, {registered} AS registered_no FROM {self.users})"
            return self._rows(self.texts.one, self.events, users, f"DATE '{days[0]}'", days[0], everyone=everyone)
        dates = self._dates(days)
        registered = f"CASE WHEN {day_number('registered_day')} < as_of_no THEN {day_number('registered_day')} END"
        users = f"(SELECT user_no, user_id, as_of_no, {registered} AS registered_no FROM {self.users}, {dates})"
        as_of = f"DATE '{EPOCH}' + as_of_no"
        return self._rows(self.texts.many, self.keep(self._known(dates)), users, as_of, days[0], everyone=everyone)

    def _dates(self, days: Sequence[date]) -> str:
        numbers = ", ".join(f"({(day - EPOCH).days})" for day in days)
        return self.keep(f"SELECT as_of_no::INTEGER AS as_of_no FROM (VALUES {numbers}) AS d(as_of_no)")

    def _any(self, condition: str) -> bool:
        return bool(self.engine.rows(f"SELECT 1 AS one FROM {self.events} WHERE {condition} LIMIT 1"))

    def _known(self, dates: str) -> str:
        """SQL of one row an event and date before which it had happened and was known: the columns that the plan reads."""
        asked = columns_read(self.texts.plan)
        read = ", ".join(("user_no", "day_no", *sorted(asked)))
        pairs = f"{self.events} AS e JOIN {dates} AS d ON e.day_no < d.as_of_no"
        if not {"session_start", "session_gap_s"} & asked or not self._any("known_day > day"):
            return f"SELECT {read}, as_of_no FROM {pairs} AND {day_number('e.known_day')} < d.as_of_no"
        rest = ", ".join(
            f"e.{name}"
            for name in sorted((asked | {"ts", "event_id", "session_id"}) - {"session_start", "session_gap_s"})
        )
        late = self.keep(f"SELECT DISTINCT {PAIR} FROM {pairs} AND {day_number('e.known_day')} >= d.as_of_no")
        known = f"{pairs} AND {day_number('e.known_day')} < d.as_of_no"
        behind = f"(SELECT user_no, as_of_no, day_no, {rest} FROM {known} SEMI JOIN {late} USING ({PAIR}))"
        return (
            f"SELECT {read}, as_of_no FROM {known} ANTI JOIN {late} USING ({PAIR}) "
            f"UNION ALL SELECT {read}, as_of_no FROM ({sessions_sql(behind, self.gap_min, by=PAIR)})"
        )

    def _rows(self, text: PlanText, events: str, users: str, as_of: str, day: date, *, everyone: bool) -> str:
        chosen = self.texts.chosen
        few = self.keep(chosen.sql(events, many=text is self.texts.many)) if chosen.codes else events
        tables = {EVERY: events, CHOSEN: few} | {names_of(key): table for key, table in self.texts.named.items()}
        parts = {f"__part{number}__": self.keep(fill(part, day, tables)) for number, part in enumerate(text.parts)}
        rows = fill(text.final[everyone], day, {USERS: users, **parts})
        return f"SELECT user_no, user_id, {as_of} AS as_of, COLUMNS(c -> c NOT IN ('user_no', 'user_id', 'as_of_no')) FROM ({rows})"


@contextmanager
def open_slice(step: Step, texts: Texts, buckets: tuple[int, int], settings: Settings, last: date) -> Iterator[Slice]:
    """The slice of the users in buckets [low, high). last: the day of the shop's last event."""
    engine = step.lake.engine
    local = f"timezone({quote(settings.shop.timezone)}, timezone('UTC', registered_at))::DATE"
    low, high = buckets
    inside = f"bucket >= {low} AND bucket < {high}"
    ready = engine.sql(step.table("ready.events"))
    events = f"(SELECT *, {day_number('day')} AS day_no FROM ({ready}) WHERE {inside})"
    found = Slice(engine, texts, "", events, settings.features.session_gap_min, last)
    try:
        found.users = found.keep(
            f"SELECT user_no, user_id, {local} AS registered_day FROM ({engine.sql(step.table('ready.users'))}) WHERE {inside}"
        )
        yield found
    finally:
        for table in found.kept:
            engine.drop(table)


__all__ = ["Slice", "Texts", "open_slice"]
