"""The groupings of the events that a plan's totals cost, and the Ibis expression of each.

A band is a stretch of days between two window edges. Bands are why many windows cost little: 7, 30, 90 and 365 days cut the
past into five stretches, so each event is added once per measure and not once per window (6 times faster than one filter a
feature). Which rows a measure reads decides its pass:
- `all`: measures of any event; `count`: how many of one event; `value`: anything else of one event. The last two are grouped
  by the event too, so that ten events cost one grouping and not ten filters on each row, and columns that only purchases
  have are not added up over the views.
- near or far: most windows end within a season, and a shop has years of events; what looks no further back than NEAR_DAYS
  reads only those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from typing import Any, Literal

import ibis

from huaxiang.features.in_ibis import to_ibis
from huaxiang.features.plan import Measure, Plan, Total
from huaxiang.features.windows import Window
from huaxiang.features.written import Writer

Kind = Literal["all", "count", "value"]
NEAR_DAYS = 100


@dataclass
class Pass:
    """One grouping of the events. `measures` and `totals`: each with its column. far: all history."""

    kind: Kind
    far: bool
    measures: dict[Measure, str] = field(default_factory=dict)
    totals: dict[Total, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.kind}_{'far' if self.far else 'near'}"

    def events(self) -> frozenset[int] | None:
        """The codes of the few events it reads (None: all, or their bare number)."""
        return codes_of(measure.event for measure in self.measures) if self.kind == "value" else None

    def edges(self) -> list[int]:
        """The ages in days at which some window begins or ends, youngest first."""
        windows = {total.window for total in self.totals}
        return sorted({edge for window in windows for edge in (window.shift, window.shift + window.days) if edge})

    def columns(self) -> frozenset[str]:
        """The columns of events that it reads beside the user and the day."""
        found = frozenset[str]().union(*(measure.columns() for measure in self.measures))
        return found if self.kind == "all" else found | {"event_no"}

    def rows(self, events: ibis.Table, to: Writer) -> ibis.Table:
        """One row a user who has such events before as-of: the totals."""
        edges = self.edges()
        table = self._read(to.read(events, self.columns()), edges, to)
        as_of = to.as_of(table)
        by = to.by
        if edges:
            cases = [(table.day_no >= as_of - edge, band) for band, edge in enumerate(edges)]
            table = table.mutate(band=ibis.cases(*cases, else_=len(edges)).cast("int8"))
            by = (*by, "band")
        if self.kind != "all":
            by = (*by, "event_no")
        made: dict[str, Any] = {}
        for measure, alias in self.measures.items():
            made |= to.measured(measure, table, measure.rest, alias)
        grouped = table.group_by(*by).aggregate(**made)
        folds = {alias: self._fold(total, grouped, edges, to) for total, alias in self.totals.items()}
        if not folds:
            return grouped.select(*to.by).distinct()
        return grouped.group_by(*to.by).aggregate(**folds)

    def _read(self, table: ibis.Table, edges: list[int], to: Writer) -> ibis.Table:
        as_of = to.as_of(table)
        kept: list[Any] = []
        base = self.kind == "all" and self.far  # says who has an earlier event at all
        if not base and self.totals and all(total.window.days for total in self.totals):
            kept.append(table.day_no >= as_of - edges[-1])
        if self.kind != "all":
            codes = sorted({measure.event for measure in self.measures if measure.event is not None})
            kept.append(table.event_no.isin(codes))
        return table.filter(*kept) if kept else table

    def _fold(self, total: Total, grouped: ibis.Table, edges: list[int], to: Writer) -> Any:
        kept = _of_bands(grouped, total.window, edges)
        if total.measure.event is not None:
            kept.append(grouped.event_no == total.measure.event)
        return to.folded(total.measure.how, grouped, self.measures[total.measure], reduce(and_, kept) if kept else None)


def plan_passes(plan: Plan) -> list[Pass]:
    """The passes of `plan`. The first reads every event: it has a row for each user who has any."""
    far = {total.measure for total in plan.totals if not _is_near(total.window)}
    base = Pass("all", far=True)
    made: dict[str, Pass] = {base.name: base}
    for total, alias in plan.totals.items():
        found = Pass(_kind(total.measure), total.measure in far)
        found = made.setdefault(found.name, found)
        found.totals[total] = alias
        found.measures.setdefault(total.measure, f"b{len(found.measures)}")
    return list(made.values())


def codes_of(events: Iterable[int | None]) -> frozenset[int] | None:
    """The codes where all are known (None: any event)."""
    found = set(events)
    return None if None in found else frozenset(code for code in found if code is not None)


def condition(table: ibis.Table, node: Any, to: Writer) -> Any:
    """The Ibis condition of a tree over the columns of `table` (None: always)."""
    return None if node is None else to_ibis(node, to.column(table))


def _kind(measure: Measure) -> Kind:
    if measure.event is None:
        return "all"
    return "count" if measure.how == "count" and measure.rest is None else "value"


def _is_near(window: Window) -> bool:
    return window.days > 0 and window.shift + window.days <= NEAR_DAYS


def _of_bands(table: ibis.Table, window: Window, edges: list[int]) -> list[Any]:
    """The conditions that keep the bands of `window`; band n lies between edges n − 1 and n."""
    kept = [table.band > edges.index(window.shift)] if window.shift else []
    return kept + ([table.band <= edges.index(window.shift + window.days)] if window.days else [])
