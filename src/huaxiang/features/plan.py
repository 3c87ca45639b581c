"""What a set of features needs from the events: measures and folds of measures; asking twice for the same thing gives the
same column.

    events ─┬─► Total      a measure over the events of a window: counts, sums, first and last values
            ├─► KeyPlan    measures for each value of a key (item, order, channel …) ─► folds over a user's values
            ├─► DayFold    the gaps and the runs between the days with a certain event
            └─► Exact      what has no small state (quantiles), and the last n values

A measure is what an engine must be able to do: group events into it (batch), fold one event into it and merge two of it (live).
Aggregations (algebra.py) write what they need into a Plan and say, as a tree over its columns, how the value is finished;
compile.py makes Ibis expressions of it, live.py a fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from huaxiang.features.filters import Expression, compile_filter, compile_value
from huaxiang.features.nodes import Node, both, column, const
from huaxiang.features.windows import Window

# The columns of ready.events that filters and aggregations may name. `refunded` is left out: it knows the future.
EVENT_COLUMNS: dict[str, str] = {
    "event": "string", "item_id": "string", "order_id": "string", "coupon_id": "string", "campaign_id": "string",
    "category": "string", "category_top": "string", "category_2": "string", "brand": "string", "channel": "string",
    "device": "string", "text": "string", "quantity": "float", "price": "float", "amount": "float", "discount": "float",
    "price_ratio": "float", "rating": "float", "order_key": "int", "hour": "int", "weekday": "int",
    "visitor": "bool", "ts": "timestamp", "day": "date", "session_start": "bool", "session_gap_s": "float",
}  # fmt: skip

How = Literal["count", "sum", "min", "max", "first", "last"]


@dataclass(frozen=True)
class Measure:
    """`how` of `value` over the events of code `event` (None: any) for which `rest` holds.

    first, last: the value of the first or last event (ties on time: by event id)
    half_life: days of age that halve what an event adds to a sum (0: it keeps its weight)
    """

    how: How
    value: Node | None = None
    event: int | None = None
    rest: Node | None = None
    half_life: float = 0.0

    @property
    def condition(self) -> Node | None:
        """The whole condition of the events it reads (None: all)."""
        return self.rest if self.event is None else both(of_event(self.event), self.rest)

    def columns(self) -> frozenset[str]:
        """The columns it reads beside the user, the day and the event."""
        found = frozenset[str]()
        for node in (self.value, self.rest):
            found |= node.columns() if node is not None else frozenset()
        return found | ({"ts", "event_id"} if self.how in ("first", "last") else frozenset())


@dataclass(frozen=True)
class Total:
    """A measure over the events of a window: one number a user."""

    measure: Measure
    window: Window


@dataclass(frozen=True)
class Met:
    """Over the values of a key: how many have an event in the window of the count."""

    count: Total

    @property
    def totals(self) -> tuple[Total, ...]:
        return (self.count,)


@dataclass(frozen=True)
class Since:
    """How many values of a key have `day` (a first or last day) among the `days` before as-of (0: have one at all)."""

    day: Total
    days: int

    @property
    def totals(self) -> tuple[Total, ...]:
        return (self.day,)


@dataclass(frozen=True)
class Over:
    """max, sum or mean over the values of a key (`only`: over that value alone)."""

    how: Literal["max", "sum", "mean"]
    total: Total
    only: str | int | None = None

    @property
    def totals(self) -> tuple[Total, ...]:
        return (self.total,)


@dataclass(frozen=True)
class Shares:
    """The share of each of `places`, values of the key, in the count: a list; unknown where nothing is counted."""

    count: Total
    places: tuple[int, ...]

    @property
    def totals(self) -> tuple[Total, ...]:
        return (self.count,)


@dataclass(frozen=True)
class Best:
    """The value with the largest count; ties: the later last day, then the greater name."""

    count: Total
    last: Total

    @property
    def totals(self) -> tuple[Total, ...]:
        return (self.count, self.last)


@dataclass(frozen=True)
class Strongest:
    """The `k` values with the largest positive score, strongest first; ties: the greater name first.

    Scores are compared in steps of 10⁻⁹: what is equal on paper differs in its last digits by the order in which it was added.
    """

    score: Total
    k: int

    @property
    def totals(self) -> tuple[Total, ...]:
        return (self.score,)


# step(score) = floor(ln(score) × STEPS + OFF): scores are equal to a part in 10⁹, however small; OFF keeps ln 1 off the edge of a step
STEPS, OFF = 1e9, 0.317

KeyFold: TypeAlias = Met | Since | Over | Shares | Best | Strongest


@dataclass(frozen=True)
class Unless:
    """Only users without any event of the window that meets the condition are asked for."""

    where: Expression
    window: Window


@dataclass
class KeyPlan:
    """Measures for each user and value of `key` over one event, or (None) any; and the folds of them for each user."""

    key: Node
    event: int | None
    unless: Unless | None = None
    measures: dict[Total, str] = field(default_factory=dict)
    folds: dict[KeyFold, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The column the key is ("": computed)."""
        return str(self.key.args[0]) if self.key.op == "column" else ""


@dataclass(frozen=True)
class DayFold:
    """Of the local days with an event that `where` keeps: how many lie in the window, the mean or sd of the gaps that end in
    it, the longest run of days in a row within it, or the run that lasts until as-of."""

    how: Literal["count", "mean", "std", "longest", "current"]
    where: Expression
    window: Window


@dataclass(frozen=True)
class Exact:
    """The quantile `q` of a value, or (q None) its last `n` values, newest first."""

    value: Node
    where: Expression
    window: Window
    q: float | None = None
    n: int = 0


@dataclass
class Plan:
    """finals: feature -> the tree over the columns below that finishes it."""

    totals: dict[Total, str] = field(default_factory=dict)
    keys: dict[tuple[Node, int | None, Unless | None], KeyPlan] = field(default_factory=dict)
    days: dict[DayFold, str] = field(default_factory=dict)
    exacts: dict[Exact, str] = field(default_factory=dict)
    finals: dict[str, Node] = field(default_factory=dict)
    _made: int = 0

    def where(self, text: str, name: str) -> Expression:
        return compile_filter(text, EVENT_COLUMNS, name=name)

    def value(self, text: str, name: str) -> Expression:
        return compile_value(text, EVENT_COLUMNS, name=name)

    def total(self, measure: Measure, window: Window) -> Node:
        """The column with `measure` over the events of `window`."""
        return column(self.totals.setdefault(Total(measure, window), self._alias()))

    def key(self, key: Node, event: int | None, unless: Unless | None = None) -> KeyPlan:
        """The plan of `key` over the one event that its measures can hold for (else over any)."""
        return self.keys.setdefault((key, event, unless), KeyPlan(key, event, unless))

    def fold(self, made: KeyPlan, fold: KeyFold) -> Node:
        """The column with `fold` over a user's values of the key of `made`."""
        for total in fold.totals:
            made.measures.setdefault(total, f"m{len(made.measures)}")
        return column(made.folds.setdefault(fold, self._alias()))

    def day(self, fold: DayFold) -> Node:
        return column(self.days.setdefault(fold, self._alias()))

    def exact(self, exact: Exact) -> Node:
        return column(self.exacts.setdefault(exact, self._alias()))

    def _alias(self) -> str:
        self._made += 1
        return f"c{self._made}"


def of_event(code: int) -> Node:
    return Node("eq", (column("event_no"), const(code)))


def measure(how: How, where: Expression, value: Node | None = None, half_life: float = 0.0) -> Measure:
    """`how` of `value` over the events that `where` keeps."""
    rest = where.node if where.event is None else where.rest
    return Measure(how, value, where.event, rest, half_life)


Codes: TypeAlias = Mapping[str, Mapping[str, int]]
