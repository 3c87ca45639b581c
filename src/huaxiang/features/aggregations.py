"""Aggregations that fold bands and gaps: counts, sums, means, shares, trends, recency, gaps, sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from huaxiang.errors import DefinitionError
from huaxiang.features.algebra import Aggregation, Place
from huaxiang.features.filters import Expression
from huaxiang.features.windows import AS_OF, parse_hours


@dataclass(frozen=True)
class Count(Aggregation):
    """How many events."""

    def plan(self, at: Place) -> str:
        return f"coalesce({at.total('count')}, 0)"


@dataclass(frozen=True)
class AnyEvent(Aggregation):
    """1 where there is such an event, else 0."""

    def plan(self, at: Place) -> str:
        return f"(coalesce({at.total('count')}, 0) > 0)::INTEGER::DOUBLE"


@dataclass(frozen=True)
class Sum(Aggregation):
    """Sum of a value; 0 where there is none."""

    column: str = ""

    def plan(self, at: Place) -> str:
        return f"coalesce({at.total('sum', at.plan.value(self.column, at.name).sql)}, 0)"


@dataclass(frozen=True)
class Mean(Aggregation):
    """Mean of a value over the events that have it."""

    column: str = ""

    def plan(self, at: Place) -> str:
        value = at.plan.value(self.column, at.name).sql
        return f"{at.total('sum', value)} / nullif({at.total('count', also=Expression(f'{value} IS NOT NULL'))}, 0)"


@dataclass(frozen=True)
class _Extreme(Aggregation):
    column: str = ""
    how: ClassVar[str] = "min"

    def plan(self, at: Place) -> str:
        return at.total(self.how, at.plan.value(self.column, at.name).sql)


@dataclass(frozen=True)
class Min(_Extreme):
    """Smallest value."""


@dataclass(frozen=True)
class Max(_Extreme):
    """Largest value."""

    how: ClassVar[str] = "max"


@dataclass(frozen=True)
class _End(Aggregation):
    column: str = ""
    how: ClassVar[str] = "arg_min"

    def plan(self, at: Place) -> str:
        value = at.plan.value(self.column, at.name)
        kept = at.where & Expression(f"{value.sql} IS NOT NULL")
        moment = "{'ts': ts, 'id': event_id}"
        when = at.plan.band(self.how.removeprefix("arg_"), moment, kept)
        held = at.plan.band(self.how, f"{value.sql}, {moment}", kept)
        return at.plan.fold(self.how, (held, when), at.window)


@dataclass(frozen=True)
class First(_End):
    """The value of the first event that has one (ties on time: by event id)."""


@dataclass(frozen=True)
class Last(_End):
    """The value of the last event that has one (ties on time: by event id)."""

    how: ClassVar[str] = "arg_max"


@dataclass(frozen=True)
class Ratio(Aggregation):
    """One aggregation over another; unknown where the lower is 0. `top_where`, `bottom_where`: further conditions."""

    top: Aggregation = Count()
    bottom: Aggregation = Count()
    top_where: str = ""
    bottom_where: str = ""

    def plan(self, at: Place) -> str:
        if any(isinstance(part, Ratio) for part in (self.top, self.bottom)):
            raise DefinitionError("features.ratio_of_ratio", name=at.name)
        top, bottom = self.top.plan(at.narrowed(self.top_where)), self.bottom.plan(at.narrowed(self.bottom_where))
        return f"({top}) / nullif({bottom}, 0)"

    def evidence(self, at: Place) -> Expression:
        return self.top.evidence(at.narrowed(self.top_where)) | self.bottom.evidence(at.narrowed(self.bottom_where))


def Share(of: str, agg: Aggregation | None = None) -> Ratio:  # noqa: N802 - reads as one of the aggregations
    """The share of events (or of `agg`) for which `of` also holds."""
    return Ratio(agg or Count(), agg or Count(), top_where=of)


@dataclass(frozen=True)
class Trend(Aggregation):
    """(this window − the one before it) / their sum: −1 … 1; unknown where both are 0."""

    agg: Aggregation = Count()

    def plan(self, at: Place) -> str:
        if not at.window.days:
            raise DefinitionError("features.trend_window", name=at.name)
        now, then = self.agg.plan(at), self.agg.plan(at.over(at.window.before))
        return f"(({now}) - ({then})) / nullif(({now}) + ({then}), 0)"


@dataclass(frozen=True)
class Recency(Aggregation):
    """Days since the last such event (`first=True`: since the first)."""

    first: bool = False

    def plan(self, at: Place) -> str:
        return f"({AS_OF} - {at.total('min' if self.first else 'max', 'day')})::DOUBLE"


@dataclass(frozen=True)
class Tenure(Aggregation):
    """Days since the registration or the first event, whichever came first."""

    def plan(self, at: Place) -> str:
        registered = f"CASE WHEN u.registered_day < {AS_OF} THEN u.registered_day END"
        return f"({AS_OF} - least({registered}, {at.total('min', 'day')}))::DOUBLE"


@dataclass(frozen=True)
class Gap(Aggregation):
    """Mean or standard deviation (n − 1) of the days between one day with such events and the next; `overdue`: how
    many mean gaps have passed since the last."""

    how: Literal["mean", "std", "overdue"] = "mean"

    def plan(self, at: Place) -> str:
        gap = at.plan.gap(at.where)
        if self.how == "std":
            return at.plan.day(f"stddev_samp({gap})", at.window)
        mean = at.plan.day(f"avg({gap})", at.window)
        return mean if self.how == "mean" else f"({AS_OF} - {at.total('max', 'day')}) / nullif({mean}, 0)"


@dataclass(frozen=True)
class DecayedSum(Aggregation):
    """Sum of a value (or of 1), halved for every `half_life` of age in days."""

    column: str = "1"
    half_life: str = "30d"

    def plan(self, at: Place) -> str:
        value, days = at.plan.value(self.column, at.name).sql, half_life_days(self.half_life, at.name)
        return f"coalesce({at.total('sum', f'({value})::DOUBLE * pow(0.5, ({AS_OF} - day) / {days!r})')}, 0)"


@dataclass(frozen=True)
class Sessions(Aggregation):
    """Sessions begun (count), or minutes (minutes) or events (events) in a session on average.

    A session is what carries one session id of the source; without one, it ends after the settings' gap (30 minutes)."""

    how: Literal["count", "minutes", "events"] = "count"

    def plan(self, at: Place) -> str:
        begun = Count().plan(at.narrowed("session_start"))
        if self.how == "count":
            return begun
        above = f"{Sum('session_gap_s').plan(at)} / 60" if self.how == "minutes" else Count().plan(at)
        return f"({above}) / nullif({begun}, 0)"


def half_life_days(text: str, name: str) -> float:
    """The half-life in days; raises DefinitionError for zero."""
    return parse_hours(text, name=name) / 24
