"""What a set of features needs from the events, level by level; asking twice for the same thing gives the same column.

    events ──► pass   one row a user and band (and event), as of one date: counts, sums …
           │     └──► fold    one row a user: the bands of a window put together
           ├─► gap    one row a user and day with a certain event, for every date: the days since the one before
           │     └──► fold    one row a user: gaps averaged
           ├─► key    one row a user and key (item, order, channel …) as of one date
           │     └──► fold    one row a user: keys counted, ranked …
           └─► exact  one row a user straight from the events: what bands do not hold (histograms, quantiles, last n events)

A band is a stretch of days between two window edges. Bands are why many windows cost little: 7, 30, 90 and 365 days cut the
past into five stretches, so each event is added once per measure and not once per window (6 times faster than one FILTER a
feature). Measures share a pass (passes.py) where they read the same rows: those of one event are grouped by the event
instead of filtered, counts apart from values, and what looks back a season apart from what looks back for ever.

Aggregations (algebra.py) write into a Plan; compile.py turns it into SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from huaxiang.engine.duck import quote
from huaxiang.features.filters import Expression, compile_filter, compile_value
from huaxiang.features.windows import Window

# The columns of ready.events that filters and aggregations may name. `refunded` is left out: it knows the future.
EVENT_COLUMNS: dict[str, str] = {
    "event": "string", "item_id": "string", "order_id": "string", "coupon_id": "string", "campaign_id": "string",
    "category": "string", "category_top": "string", "category_2": "string", "brand": "string", "channel": "string",
    "device": "string", "text": "string", "quantity": "float", "price": "float", "amount": "float", "discount": "float",
    "price_ratio": "float", "rating": "float", "order_key": "int", "hour": "int", "weekday": "int",
    "visitor": "bool", "ts": "timestamp", "day": "date", "session_start": "bool", "session_gap_s": "float",
}  # fmt: skip

# Where a key is also held as a whole number, the column that holds it.
CODED = {
    "item_id": "item_no", "event": "event_no", "category": "category_no", "category_top": "category_top_no",
    "category_2": "category_2_no", "brand": "brand_no",
}  # fmt: skip
# What puts parts of a measure together.
MERGE = {"count": "sum", "sum": "sum", "min": "min", "max": "max"}


@dataclass(frozen=True)
class Band:
    """`how` of `value` over the events that `where` keeps; event: those of that code only, `where` says what else."""

    how: str
    value: str
    where: str
    event: int | None


@dataclass(frozen=True)
class Fold:
    """The aggregate `how` over the measures `bands` (which keep the same events), in `window`."""

    how: str
    bands: tuple[Band, ...]
    window: Window


@dataclass(frozen=True)
class Rows:
    """The events of a condition (event: the only one it keeps); of users without any event of `without`, where that is given."""

    where: str = ""
    event: int | None = None
    without: Rows | None = None


class Events(set[int | None]):
    """The codes of the events that some work reads; None among them: any event."""

    def codes(self) -> frozenset[int] | None:
        """The codes where they are known (None: any event)."""
        return None if None in self else frozenset(code for code in self if code is not None)


@dataclass
class KeyPlan:
    """Measures for each user and value of a key, and the folds of them for each user; over one event, or (None) any."""

    key: str
    event: int | None
    measures: dict[tuple[str, str, str], str] = field(default_factory=dict)
    folds: dict[str, str] = field(default_factory=dict)
    named: bool = False  # whether a fold reads `name`, the key's own name, beside `key`, its code

    @property
    def alias(self) -> str:
        return f"k_{self.key}_{self.event or 'any'}"

    def kept(self) -> str:
        """The condition of the events that any measure keeps ("": all)."""
        conditions = [where for _, _, where in self.measures]
        return "" if "" in conditions else " OR ".join(f"({where})" for where in dict.fromkeys(conditions))

    def measure(self, how: str, value: str, where: str) -> str:
        """The column that holds `how` (count, sum, min, max) of `value` over the events that `where` keeps."""
        return self.measures.setdefault((how, value, where), f"m{len(self.measures)}")

    def fold(self, sql: str) -> str:
        """The column that holds the aggregate `sql` over a user's values of the key."""
        return f"{self.alias}.{self.folds.setdefault(sql, f'f{len(self.folds)}')}"


@dataclass
class Plan:
    """`codes`: key -> name -> code, for the keys with few enough values to be written out in SQL."""

    codes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    bands: dict[Band, str] = field(default_factory=dict)
    folds: dict[Fold, str] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)
    gap_events: Events = field(default_factory=Events)
    days: dict[str, str] = field(default_factory=dict)
    keys: dict[tuple[str, int | None], KeyPlan] = field(default_factory=dict)
    exacts: dict[Rows, dict[str, str]] = field(default_factory=dict)
    finals: dict[str, str] = field(default_factory=dict)

    def where(self, text: str, name: str) -> Expression:
        return compile_filter(text, EVENT_COLUMNS, name=name)

    def value(self, text: str, name: str) -> Expression:
        return compile_value(text, EVENT_COLUMNS, name=name)

    def band(self, how: str, value: str, where: Expression) -> Band:
        """The band measure that holds `how` of `value` over the events that `where` keeps."""
        made = Band(how, value, where.sql if where.event is None else where.rest, where.event)
        self.bands.setdefault(made, f"b{len(self.bands)}")
        return made

    def fold(self, how: str, bands: tuple[Band, ...], window: Window) -> str:
        """The column that holds the aggregate `how` over the bands of `window`."""
        return self.folds.setdefault(Fold(how, bands, window), f"d{len(self.folds)}")

    def total(self, how: str, value: str, where: Expression, window: Window) -> str:
        """The column that holds `how` (count, sum, min, max) of `value` over the events of `window` that `where` keeps."""
        return self.fold(MERGE[how], (self.band(how, value, where),), window)

    def gap(self, where: Expression) -> str:
        """The gap column: days since the last earlier day with an event that `where` keeps."""
        self.gap_events.add(where.event)
        return self.gaps.setdefault(where.sql or "TRUE", f"g{len(self.gaps)}")

    def day(self, sql: str, window: Window) -> str:
        """The column that holds the aggregate `sql` over the gaps that end in `window`."""
        kept = window.sql()
        sql = f"{sql} FILTER (WHERE {kept})" if kept else sql
        return "y." + self.days.setdefault(sql, f"y{len(self.days)}")

    def key(self, key: str, where: Expression) -> KeyPlan:
        """The plan of `key` over the one event that `where` can hold for (else over any)."""
        return self.keys.setdefault((key, where.event), KeyPlan(key, where.event))

    def name(self, of: KeyPlan) -> tuple[str, Callable[[str], str]]:
        """What a fold ranks the values of a key by, in the order of their names; and SQL of the name of what it found."""
        codes = self.codes.get(of.key)
        if codes is None:
            of.named = True
            return "name", lambda found: found
        names = ", ".join(quote(name) for name in sorted(codes, key=lambda name: codes[name]))
        start = min(codes.values(), default=1) - 1  # codes have no gaps
        return "key", lambda found: f"([{names}]::VARCHAR[])[{found} - {start}]"

    def exact(self, sql: str, rows: Rows) -> str:
        """The column that holds the aggregate `sql` straight over `rows`."""
        return self.exacts.setdefault(rows, {}).setdefault(sql, f"e{sum(map(len, self.exacts.values()))}")


def filtered(how: str, value: str, where: str) -> str:
    """SQL of one measure. Counts and sums are DOUBLE: exact up to 2^53, and DuckDB adds whole numbers as 128 bits."""
    kept = f" FILTER (WHERE {where})" if where else ""
    return f"count(*){kept}::DOUBLE" if how == "count" else f"{how}({value}){kept}"


def both(*conditions: str) -> str:
    """The conditions joined by AND; empty ones left out."""
    return " AND ".join(condition for condition in conditions if condition)
