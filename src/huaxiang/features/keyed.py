"""Aggregations over a key (item, order, category, brand, channel …): distinct counts, tastes, baskets, histograms; and the
exact ones.

Each key costs one grouping of only those events that some measure on it keeps.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from huaxiang.errors import DefinitionError
from huaxiang.features.aggregations import half_life_days
from huaxiang.features.algebra import Aggregation, FeatureType, Place
from huaxiang.features.filters import EVENT_CODES, Expression
from huaxiang.features.nodes import DAY, Node, coalesce, column, known, number
from huaxiang.features.plan import (
    EVENT_COLUMNS,
    Best,
    DayFold,
    Exact,
    How,
    KeyFold,
    KeyPlan,
    Met,
    Over,
    Shares,
    Since,
    Strongest,
    Total,
    Unless,
    measure,
)
from huaxiang.features.windows import Window

# What an event says about taste: a purchase as much as five views.
TASTE_WEIGHTS: dict[str, float] = {
    "view": 1.0,
    "click": 1.0,
    "wish": 3.0,
    "add_to_cart": 3.0,
    "purchase": 5.0,
    "review": 2.0,
}
WHOLE = Window()
MOST_KEPT = 1000  # values that one list of a customer may hold


@dataclass(frozen=True)
class Keyed:
    """A key planned at a place: its measures over the events kept there, and folds over them."""

    at: Place
    plan: KeyPlan

    @classmethod
    def of(cls, key: Node, at: Place) -> Keyed:
        return cls(at, at.plan.key(key, at.where.event))

    def total(
        self, how: How, value: Node | None = None, *, window: Window | None = None, half_life: float = 0.0
    ) -> Total:
        """`how` of `value` for each value of the key; window: default the place's."""
        return Total(measure(how, self.at.where, value, half_life), self.at.window if window is None else window)

    def fold(self, fold: KeyFold) -> Node:
        return self.at.plan.fold(self.plan, fold)

    def since(self, edge: How) -> Node:
        """How many values have their first (min) or last (max) day in the window."""
        return self.fold(Since(self.total(edge, DAY, window=WHOLE), self.at.window.days))


@dataclass(frozen=True)
class _ByKey(Aggregation):
    key: str = "item_id"

    def keyed(self, at: Place) -> Keyed:
        keys = [name for name, kind in EVENT_COLUMNS.items() if kind in ("string", "int", "date")]
        if self.key not in keys:
            near = difflib.get_close_matches(self.key, keys, n=1)
            if near:
                raise DefinitionError("features.unknown_column_near", name=at.name, column=self.key, near=near[0])
            raise DefinitionError("features.unknown_key", name=at.name, key=self.key)
        return Keyed.of(column("day_no" if self.key == "day" else self.key), at)


def _met(keyed: Keyed) -> Node:
    """How many values were met in the window: one measure, the last day, serves every window that ends at as-of."""
    found = keyed.fold(Met(keyed.total("count"))) if keyed.at.window.shift else keyed.since("max")
    return coalesce(number(found), 0.0)


@dataclass(frozen=True)
class Distinct(_ByKey):
    """Distinct values of a key met in the window."""

    def plan(self, at: Place) -> Node:
        return _met(self.keyed(at))


@dataclass(frozen=True)
class ActiveDays(Aggregation):
    """Local days with such an event."""

    def plan(self, at: Place) -> Node:
        return coalesce(at.plan.day(DayFold("count", at.where, at.window)), 0.0)


@dataclass(frozen=True)
class NewShare(_ByKey):
    """Of the distinct values met in the window, the share never met before it."""

    def plan(self, at: Place) -> Node:
        keyed = self.keyed(at)
        return number(keyed.since("min")) / number(keyed.since("max"))


@dataclass(frozen=True)
class TopShare(_ByKey):
    """The share of the commonest value of the key among the events that have one."""

    def plan(self, at: Place) -> Node:
        keyed = self.keyed(at)
        count = keyed.total("count")
        return keyed.fold(Over("max", count)) / keyed.fold(Over("sum", count))


@dataclass(frozen=True)
class ValueShare(_ByKey):
    """The share of a column's sum that fell on one value of the key."""

    value: str = ""
    column: str = "amount"

    def plan(self, at: Place) -> Node:
        keyed = self.keyed(at)
        total = keyed.total("sum", at.amount(self.column))
        return coalesce(keyed.fold(Over("sum", total, self.value)), 0.0) / keyed.fold(Over("sum", total))

    def evidence(self, at: Place) -> Expression:
        return at.where & at.plan.where(f"{self.key} == {self.value!r}", at.name)


@dataclass(frozen=True)
class Mode(_ByKey):
    """The commonest value of the key; ties: the one met last, then the greater name."""

    type: ClassVar[FeatureType] = "text"

    def plan(self, at: Place) -> Node:
        keyed = self.keyed(at)
        return keyed.fold(Best(keyed.total("count"), keyed.total("max", DAY)))


@dataclass(frozen=True)
class DecayedTop(_ByKey):
    """The `k` strongest values of the key: list of {key, share, score}, strongest first.

    score: Σ weight(event) · ½^(age in days / half_life); share: of the user's score over all values; ties (to 10⁻⁹ of the score): the later name.
    """

    half_life: str = "30d"
    k: int = 5
    weights: Mapping[str, float] = field(default_factory=lambda: dict(TASTE_WEIGHTS), hash=False)
    type: ClassVar[FeatureType] = "list"

    def plan(self, at: Place) -> Node:
        if not 1 <= self.k <= MOST_KEPT:
            raise DefinitionError("features.top_k", name=at.name, k=self.k, most=MOST_KEPT)
        days = half_life_days(self.half_life, at.name)
        unknown = [event for event in self.weights if event not in EVENT_CODES]
        if unknown or not self.weights:
            raise DefinitionError(
                "features.unknown_event", name=at.name, value=", ".join(unknown), near=", ".join(EVENT_CODES)
            )
        keyed = self.keyed(at)
        pairs = tuple((EVENT_CODES[event], float(weight)) for event, weight in self.weights.items())
        score = keyed.total("sum", Node("weights", (column("event_no"), pairs)), half_life=days)
        return Node("tops", (keyed.fold(Strongest(score, self.k)), keyed.fold(Over("sum", score))))

    def evidence(self, at: Place) -> Expression:
        listed = ", ".join(repr(event) for event in self.weights)
        return at.where & at.plan.where(f"event in ({listed},) and {self.key} is not null", at.name)


@dataclass(frozen=True)
class Basket(Aggregation):
    """Mean or max over orders of a column's sum (an order without an id: the user's purchases of one local day)."""

    column: str = "amount"
    how: Literal["mean", "max"] = "mean"

    def plan(self, at: Place) -> Node:
        orders = Keyed.of(column("order_key"), at)
        return orders.fold(Over(self.how, orders.total("sum", at.amount(self.column))))


@dataclass(frozen=True)
class Orders(Aggregation):
    """Distinct orders with such an event. `having`: a further condition that one of the order's events meets."""

    having: str = ""

    def plan(self, at: Place) -> Node:
        return _met(Keyed.of(column("order_key"), at.narrowed(self.having)))

    def evidence(self, at: Place) -> Expression:
        return at.narrowed(self.having).where


@dataclass(frozen=True)
class _Histogram(Aggregation):
    """Shares of the places of a whole-number key; of a user without an event that passes the filter, of all their events.
    `top`: the commonest place, 0 the first."""

    top: bool = False
    type: ClassVar[FeatureType] = "list"

    def places(self, at: Place) -> tuple[Node, tuple[int, ...]]:
        """The key and its values, in order."""
        raise NotImplementedError

    def plan(self, at: Place) -> Node:
        key, places = self.places(at)
        keyed = Keyed.of(key, at)
        shares = keyed.fold(Shares(keyed.total("count"), places))
        if at.where.node is not None:
            every = Place(at.plan, at.name, Expression(), at.window)
            rest = Keyed(every, at.plan.key(key, None, Unless(at.where, at.window)))
            shares = Node("either", (shares, rest.fold(Shares(rest.total("count"), places))))
        return Node("peak", (shares,)) if self.top else shares

    def evidence(self, at: Place) -> Expression:
        return Expression()


@dataclass(frozen=True)
class Hours(_Histogram):
    """Shares of the 24 local hours."""

    def places(self, at: Place) -> tuple[Node, tuple[int, ...]]:
        return column("hour"), tuple(range(24))


@dataclass(frozen=True)
class Weekdays(_Histogram):
    """Shares of the seven weekdays, Monday first."""

    def places(self, at: Place) -> tuple[Node, tuple[int, ...]]:
        return column("weekday"), tuple(range(1, 8))


@dataclass(frozen=True)
class PriceBands(_Histogram):
    """Shares of the bands of a value: below the first of `edges`, between each two, at or above the last."""

    column: str = "price"
    edges: tuple[float, ...] = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0)

    def places(self, at: Place) -> tuple[Node, tuple[int, ...]]:
        if not self.edges or list(self.edges) != sorted(set(self.edges)):
            raise DefinitionError("features.edges", name=at.name, edges=", ".join(f"{edge:g}" for edge in self.edges))
        return Node("band", (at.amount(self.column), self.edges)), tuple(range(len(self.edges) + 1))


@dataclass(frozen=True)
class Quantile(Aggregation):
    """The exact quantile of a value, interpolated. Batch only: it has no small exact state."""

    column: str = ""
    q: float = 0.5
    live: ClassVar[bool] = False

    def plan(self, at: Place) -> Node:
        if not 0 <= self.q <= 1:
            raise DefinitionError("features.quantile", name=at.name, q=self.q)
        return at.plan.exact(Exact(at.amount(self.column), at.where, at.window, q=self.q))

    def evidence(self, at: Place) -> Expression:
        return at.having(at.amount(self.column)).where


@dataclass(frozen=True)
class Sequence(Aggregation):
    """The last `n` values of a column, newest first (ties on time: by event id)."""

    column: str = "item_id"
    n: int = 20
    type: ClassVar[FeatureType] = "list"

    def plan(self, at: Place) -> Node:
        if not 1 <= self.n <= MOST_KEPT:
            raise DefinitionError("features.top_k", name=at.name, k=self.n, most=MOST_KEPT)
        value = at.value(self.column)
        return at.plan.exact(Exact(value, at.where & Expression(known(value)), at.window, n=self.n))

    def evidence(self, at: Place) -> Expression:
        return at.having(at.value(self.column)).where


__all__ = [
    "TASTE_WEIGHTS", "ActiveDays", "Basket", "DecayedTop", "Distinct", "Hours", "Mode", "NewShare", "Orders", "PriceBands",
    "Quantile", "Sequence", "TopShare", "ValueShare", "Weekdays",
]  # fmt: skip
