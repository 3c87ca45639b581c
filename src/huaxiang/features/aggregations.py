"""Aggregations of totals and days: counts, sums, means, shares, trends, recency, gaps, streaks, sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from huaxiang.errors import DefinitionError
from huaxiang.features.algebra import Aggregation, Feature, FeatureType, Place
from huaxiang.features.filters import Expression
from huaxiang.features.nodes import AS_OF, DAY, Node, coalesce, column, const, number
from huaxiang.features.plan import EVENT_COLUMNS, DayFold, How
from huaxiang.features.windows import Window, parse_hours

REGISTERED = column("registered_no")  # of the user, not of an event: the local day of the registration before as-of


@dataclass(frozen=True)
class Count(Aggregation):
    """How many events."""

    def plan(self, at: Place) -> Node:
        return coalesce(at.total("count"), 0.0)


@dataclass(frozen=True)
class AnyEvent(Aggregation):
    """1 where there is such an event, else 0."""

    def plan(self, at: Place) -> Node:
        return number(Node("gt", (coalesce(at.total("count"), 0.0), const(0.0))))


@dataclass(frozen=True)
class Sum(Aggregation):
    """Sum of a value; 0 where there is none."""

    column: str = ""

    def plan(self, at: Place) -> Node:
        return coalesce(at.total("sum", at.amount(self.column)), 0.0)


@dataclass(frozen=True)
class Mean(Aggregation):
    """Mean of a value over the events that have it."""

    column: str = ""

    def plan(self, at: Place) -> Node:
        value = at.amount(self.column)
        return at.total("sum", value) / at.having(value).total("count")


@dataclass(frozen=True)
class _Picked(Aggregation):
    column: str = ""
    how: ClassVar[How] = "min"

    @property
    def type(self) -> FeatureType:  # type: ignore[override]  # as its column is
        return "text" if EVENT_COLUMNS.get(self.column) == "string" else "number"

    def plan(self, at: Place) -> Node:
        value = at.value(self.column)
        return at.having(value).total(self.how, value)


@dataclass(frozen=True)
class Min(_Picked):
    """Smallest value."""


@dataclass(frozen=True)
class Max(_Picked):
    """Largest value."""

    how: ClassVar[How] = "max"


@dataclass(frozen=True)
class First(_Picked):
    """The value of the first event that has one (ties on time: by event id)."""

    how: ClassVar[How] = "first"


@dataclass(frozen=True)
class Last(_Picked):
    """The value of the last event that has one (ties on time: by event id)."""

    how: ClassVar[How] = "last"


@dataclass(frozen=True)
class Ratio(Aggregation):
    """One aggregation over another; unknown where the lower is 0. `top_where`, `bottom_where`: further conditions."""

    top: Aggregation = Count()
    bottom: Aggregation = Count()
    top_where: str = ""
    bottom_where: str = ""

    def plan(self, at: Place) -> Node:
        if any(isinstance(part, Ratio) for part in (self.top, self.bottom)):
            raise DefinitionError("features.ratio_of_ratio", name=at.name)
        return self.top.plan(at.narrowed(self.top_where)) / self.bottom.plan(at.narrowed(self.bottom_where))

    def evidence(self, at: Place) -> Expression:
        return self.top.evidence(at.narrowed(self.top_where)) | self.bottom.evidence(at.narrowed(self.bottom_where))


def Share(of: str, agg: Aggregation | None = None) -> Ratio:  # noqa: N802 - reads as one of the aggregations
    """The share of events (or of `agg`) for which `of` also holds."""
    return Ratio(agg or Count(), agg or Count(), top_where=of)


@dataclass(frozen=True)
class FeatureRatio(Aggregation):
    """One feature over another, each with its own filter and window; unknown where the lower is 0."""

    top: Feature
    bottom: Feature

    def plan(self, at: Place) -> Node:
        return self.top.agg.plan(self.top.place(at.plan)) / self.bottom.agg.plan(self.bottom.place(at.plan))

    def evidence_sql(self, at: Place) -> str:
        parts = [part.agg.evidence_sql(part.place(at.plan)) for part in (self.top, self.bottom)]
        return " OR ".join(f"({part})" for part in parts) if all(parts) else ""


@dataclass(frozen=True)
class Trend(Aggregation):
    """(this window − the one before it) / their sum: −1 … 1; unknown where both are 0."""

    agg: Aggregation = Count()

    def plan(self, at: Place) -> Node:
        if not at.window.days:
            raise DefinitionError("features.trend_window", name=at.name)
        now, then = self.agg.plan(at), self.agg.plan(at.over(at.window.before))
        return (now - then) / (now + then)

    def evidence_sql(self, at: Place) -> str:
        return super().evidence_sql(at.over(Window(2 * at.window.days, at.window.shift)))


@dataclass(frozen=True)
class Recency(Aggregation):
    """Days since the last such event (`first=True`: since the first)."""

    first: bool = False

    def plan(self, at: Place) -> Node:
        return number(AS_OF - at.total("min" if self.first else "max", DAY))


@dataclass(frozen=True)
class Tenure(Aggregation):
    """Days since the registration or the first event, whichever came first."""

    def plan(self, at: Place) -> Node:
        return number(AS_OF - Node("least", (REGISTERED, at.total("min", DAY))))


@dataclass(frozen=True)
class Gap(Aggregation):
    """Mean or standard deviation (n − 1) of the days between one day with such events and the next; `overdue`: how
    many mean gaps have passed since the last."""

    how: Literal["mean", "std", "overdue"] = "mean"

    def plan(self, at: Place) -> Node:
        if self.how == "std":
            return at.plan.day(DayFold("std", at.where, at.window))
        mean = at.plan.day(DayFold("mean", at.where, at.window))
        return mean if self.how == "mean" else number(AS_OF - at.total("max", DAY)) / mean


@dataclass(frozen=True)
class Streak(Aggregation):
    """The longest run of days in a row with such an event within the window; `current`: the run that lasts until as-of.
    0 where there is none."""

    how: Literal["longest", "current"] = "longest"

    def plan(self, at: Place) -> Node:
        return coalesce(at.plan.day(DayFold(self.how, at.where, at.window)), 0.0)


@dataclass(frozen=True)
class DecayedSum(Aggregation):
    """Sum of a value (or of 1), halved for every `half_life` of age in days."""

    column: str = "1"
    half_life: str = "30d"

    def plan(self, at: Place) -> Node:
        value, days = number(at.amount(self.column)), half_life_days(self.half_life, at.name)
        return coalesce(at.total("sum", value, days), 0.0)


@dataclass(frozen=True)
class Sessions(Aggregation):
    """Sessions begun (count), or minutes (minutes) or events (events) in a session on average.

    Events with one session id of the source are a session while no more than a day passes between them, events without one
    while the settings' gap (30 minutes) does not. A filter asks for sessions that begin with such an event, which no state can tell before the session's last event is
    in: with a filter it is batch only."""

    how: Literal["count", "minutes", "events"] = "count"

    def plan(self, at: Place) -> Node:
        begun = Count().plan(at.narrowed("session_start"))
        if self.how == "count":
            return begun
        above = Sum("session_gap_s").plan(at) / const(60.0) if self.how == "minutes" else Count().plan(at)
        return above / begun


def half_life_days(text: str, name: str) -> float:
    """The half-life in days; raises DefinitionError for zero."""
    return parse_hours(text, name=name) / 24
