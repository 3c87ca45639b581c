"""Aggregations over a key (item, order, category, channel …): distinct counts, tastes, baskets; and exact ones.

Each key costs one grouping of only those events that some measure on it keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from huaxiang.errors import DefinitionError
from huaxiang.features.aggregations import half_life_days
from huaxiang.features.algebra import Aggregation, FeatureType, Place
from huaxiang.features.filters import EVENT_CODES, Expression
from huaxiang.features.plan import EVENT_COLUMNS, KeyPlan, Rows, both
from huaxiang.features.windows import AS_OF

# What an event says about taste: a purchase as much as five views.
TASTE_WEIGHTS: dict[str, float] = {
    "view": 1.0,
    "click": 1.0,
    "wish": 3.0,
    "add_to_cart": 3.0,
    "purchase": 5.0,
    "review": 2.0,
}


def _checked(key: str, name: str) -> str:
    if EVENT_COLUMNS.get(key) not in ("string", "int", "date"):
        raise DefinitionError("features.unknown_key", name=name, key=key)
    return key


@dataclass(frozen=True)
class _Keyed(Aggregation):
    key: str = "item_id"

    def rows(self, at: Place) -> KeyPlan:
        return at.plan.key(_checked(self.key, at.name), at.where)

    def within(self, at: Place, how: str, value: str = "") -> str:
        """The key row's column with `how` of `value` over the events kept in the window."""
        return self.rows(at).measure(how, value, both(at.where.sql, at.window.sql()))


@dataclass(frozen=True)
class Distinct(_Keyed):
    """Distinct values of a key met in the window."""

    def plan(self, at: Place) -> str:
        met = f"count(*) FILTER (WHERE {self.within(at, 'count')} > 0)"
        return f"coalesce({self.rows(at).fold(met)}, 0)::DOUBLE"


@dataclass(frozen=True)
class ActiveDays(_Keyed):
    """Local days with such an event."""

    key: str = "day"

    def plan(self, at: Place) -> str:
        return Distinct("day").plan(at)


@dataclass(frozen=True)
class NewShare(_Keyed):
    """Of the distinct values met in the window, the share never met before it."""

    def plan(self, at: Place) -> str:
        key = self.rows(at)
        edges = [key.measure(how, "day", at.where.sql) for how in ("min", "max")]
        new, met = (
            self.rows(at).fold(f"count(*) FILTER (WHERE {edge} >= {AS_OF} - {at.window.days})") for edge in edges
        )
        return f"{new} / nullif({met}, 0)::DOUBLE"


@dataclass(frozen=True)
class TopShare(_Keyed):
    """The share of the commonest value of the key among the events that have one."""

    def plan(self, at: Place) -> str:
        count = self.within(at, "count")
        fold = self.rows(at).fold
        return f"{fold(f'max({count})')} / nullif({fold(f'sum({count})')}, 0)"


@dataclass(frozen=True)
class ValueShare(_Keyed):
    """The share of a column's sum that fell on one value of the key."""

    value: str = ""
    column: str = "amount"

    def plan(self, at: Place) -> str:
        column = at.plan.value(self.column, at.name)
        total = self.within(at, "sum", column.sql)
        code = at.plan.codes.get(self.key, {}).get(self.value, -1)
        chosen = self.rows(at).fold(f"sum({total}) FILTER (WHERE key = {code})")
        whole = self.rows(at).fold(f"sum({total})")
        return f"coalesce({chosen}, 0) / nullif({whole}, 0)"

    def evidence(self, at: Place) -> Expression:
        return at.where & at.plan.where(f"{self.key} == {self.value!r}", at.name)


@dataclass(frozen=True)
class Mode(_Keyed):
    """The commonest value of the key; ties: the one met last, then the greater name."""

    type: ClassVar[FeatureType] = "text"

    def plan(self, at: Place) -> str:
        count, last = self.within(at, "count"), self.within(at, "max", "day")
        ranked, named = at.plan.name(self.rows(at))
        best = f"max({{'n': {count}, 'day': {last}, 'key': {ranked}}}) FILTER (WHERE {count} > 0)"
        return named(f"{self.rows(at).fold(best)}.key")


@dataclass(frozen=True)
class DecayedTop(_Keyed):
    """The `k` strongest values of the key: list of {key, share, score}, strongest first.

    score: Σ weight(event) · ½^(age in days / half_life); share: of the user's score over all values; ties: the later name.
    """

    half_life: str = "30d"
    k: int = 5
    weights: Mapping[str, float] = field(default_factory=lambda: dict(TASTE_WEIGHTS), hash=False)
    type: ClassVar[FeatureType] = "list"

    def plan(self, at: Place) -> str:
        if self.k < 1:
            raise DefinitionError("features.top_k", name=at.name, k=self.k)
        days = half_life_days(self.half_life, at.name)
        unknown = [event for event in self.weights if event not in EVENT_CODES]
        if unknown or not self.weights:
            raise DefinitionError(
                "features.unknown_event", name=at.name, value=", ".join(unknown), near=", ".join(EVENT_CODES)
            )
        cases = " ".join(f"WHEN {EVENT_CODES[event]} THEN {weight!r}" for event, weight in self.weights.items())
        score = self.within(
            at, "sum", f"(CASE event_no {cases} ELSE 0.0 END)::DOUBLE * pow(0.5, ({AS_OF} - day) / {days!r})"
        )
        ranked, named = at.plan.name(self.rows(at))
        best = self.rows(at).fold(f"max({{'score': {score}, 'key': {ranked}}}, {self.k}) FILTER (WHERE {score} > 0)")
        whole = self.rows(at).fold(f"sum({score})")
        return f"list_transform({best}, lambda t: {{'key': {named('t.key')}, 'share': t.score / {whole}, 'score': t.score}})"

    def evidence(self, at: Place) -> Expression:
        listed = ", ".join(repr(event) for event in self.weights)
        return at.where & at.plan.where(f"event in ({listed},) and {self.key} is not null", at.name)


@dataclass(frozen=True)
class Basket(Aggregation):
    """Mean or max over orders of a column's sum (an order without an id: the user's purchases of one local day)."""

    column: str = "amount"
    how: Literal["mean", "max"] = "mean"

    def plan(self, at: Place) -> str:
        value = at.plan.value(self.column, at.name)
        orders = at.plan.key("order_key", at.where)
        total = orders.measure("sum", value.sql, both(at.where.sql, at.window.sql()))
        return orders.fold(f"{'avg' if self.how == 'mean' else 'max'}({total})")


@dataclass(frozen=True)
class Orders(Aggregation):
    """Distinct orders with such an event. `having`: a further condition that one of the order's events meets."""

    having: str = ""

    def plan(self, at: Place) -> str:
        narrowed = at.narrowed(self.having)
        orders = at.plan.key("order_key", narrowed.where)
        if not at.window.shift:  # one measure serves every window: the order's last day
            last = orders.measure("max", "day", narrowed.where.sql)
            met = f"{last} >= {AS_OF} - {at.window.days}" if at.window.days else f"{last} IS NOT NULL"
            return f"coalesce({orders.fold(f'count(*) FILTER (WHERE {met})')}, 0)::DOUBLE"
        count = orders.measure("count", "", both(narrowed.where.sql, at.window.sql()))
        return f"coalesce({orders.fold(f'count(*) FILTER (WHERE {count} > 0)')}, 0)::DOUBLE"

    def evidence(self, at: Place) -> Expression:
        return at.narrowed(self.having).where


@dataclass(frozen=True)
class _Histogram(Aggregation):
    """Shares of the values `first` … `last` of a whole-number column; of a user without an event that passes the filter,
    of all their events. `top`: the commonest value's place, 0 the first."""

    top: bool = False
    column: ClassVar[str] = "hour"
    first: ClassVar[int] = 0
    last: ClassVar[int] = 23
    type: ClassVar[FeatureType] = "list"

    def plan(self, at: Place) -> str:
        parts = (
            f"count(*) FILTER (WHERE {self.column} = {value})::DOUBLE / count(*)"
            for value in range(self.first, self.last + 1)
        )
        sql, window = f"[{', '.join(parts)}]", at.window.sql()
        chosen = Rows(both(at.where.sql, window), at.where.event)
        shares = at.plan.exact(sql, chosen)
        if chosen.where:
            shares = f"coalesce({shares}, {at.plan.exact(sql, Rows(window, without=chosen))})"
        return f"(list_position({shares}, list_max({shares})) - 1)::DOUBLE" if self.top else shares

    def evidence(self, at: Place) -> Expression:
        return Expression()


@dataclass(frozen=True)
class Hours(_Histogram):
    """Shares of the 24 local hours."""


@dataclass(frozen=True)
class Weekdays(_Histogram):
    """Shares of the seven weekdays, Monday first."""

    column: ClassVar[str] = "weekday"
    first: ClassVar[int] = 1
    last: ClassVar[int] = 7


@dataclass(frozen=True)
class Quantile(Aggregation):
    """The exact quantile of a value, interpolated. Batch only: it has no small exact state."""

    column: str = ""
    q: float = 0.5
    live: ClassVar[bool] = False

    def plan(self, at: Place) -> str:
        if not 0 <= self.q <= 1:
            raise DefinitionError("features.quantile", name=at.name, q=self.q)
        value = at.plan.value(self.column, at.name)
        kept = both(at.where.sql, at.window.sql())
        return at.plan.exact(
            f"quantile_cont({value.sql}, {self.q!r})" + (f" FILTER (WHERE {kept})" if kept else ""), Rows()
        )


@dataclass(frozen=True)
class Sequence(Aggregation):
    """The last `n` values of a column, newest first (ties on time: by event id)."""

    column: str = "item_id"
    n: int = 20
    type: ClassVar[FeatureType] = "list"

    def plan(self, at: Place) -> str:
        if self.n < 1:
            raise DefinitionError("features.top_k", name=at.name, k=self.n)
        value = at.plan.value(self.column, at.name)
        kept = both(at.where.sql, f"{value.sql} IS NOT NULL", at.window.sql())
        return at.plan.exact(
            f"arg_max({value.sql}, {{'ts': ts, 'id': event_id}}, {self.n}) FILTER (WHERE {kept})", Rows()
        )
