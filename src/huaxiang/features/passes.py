"""The passes over the events that a plan's bands and folds cost, and the SQL of each.

Which rows a measure reads decides its pass:
- `all`: measures of any event; `count`: how many of one event; `value`: anything else of one event. The last two are grouped
  by the event too, so that ten events cost one grouping and not ten filters on each row, and columns that only purchases
  have are not added up over the views.
- near or far: most windows end within a season, and a shop has years of events; what looks no further back than NEAR_DAYS
  reads only those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from huaxiang.features.plan import Band, Events, Fold, Plan, both, filtered
from huaxiang.features.windows import AS_OF, PAST, Window

Kind = Literal["all", "count", "value"]
NEAR_DAYS = 100


@dataclass
class Pass:
    """One grouping of the events. `bands` and `folds`: measure or fold -> its column. far: all history."""

    kind: Kind
    far: bool
    bands: dict[Band, str] = field(default_factory=dict)
    folds: dict[Fold, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.kind}_{'far' if self.far else 'near'}"

    def events(self) -> frozenset[int] | None:
        """The codes of the few events it reads (None: all, or their bare number)."""
        return Events(band.event for band in self.bands).codes() if self.kind == "value" else None

    def edges(self) -> list[int]:
        """The ages in days at which some window begins or ends, youngest first."""
        windows = {fold.window for fold in self.folds}
        return sorted({edge for window in windows for edge in (window.shift, window.shift + window.days) if edge})

    def sql(self, events: str) -> str:
        """One row a user who has such events before as-of: the folds."""
        edges = self.edges()
        cases = " ".join(f"WHEN day >= {AS_OF} - {edge} THEN {band}" for band, edge in enumerate(edges))
        band = f"(CASE {cases} ELSE {len(edges)} END)::TINYINT" if edges else "0"
        by_event = "" if self.kind == "all" else ", event_no"
        measures = "".join(
            f", {filtered(one.how, one.value, one.where)} AS {alias}" for one, alias in self.bands.items()
        )
        grouped = (
            f"SELECT user_no, {band} AS band{by_event}{measures} FROM {events} "
            f"WHERE {self._rows(edges)} GROUP BY user_no, band{by_event}"
        )
        folds = "".join(f", {self._fold(fold, edges)} AS {alias}" for fold, alias in self.folds.items())
        return f"SELECT user_no{folds} FROM ({grouped}) GROUP BY user_no"

    def _rows(self, edges: list[int]) -> str:
        kept = [PAST]
        if self.folds and all(fold.window.days for fold in self.folds):
            kept.append(f"day >= {AS_OF} - {edges[-1]}")
        if self.kind != "all":
            codes = sorted({band.event for band in self.bands if band.event is not None})
            kept.append(f"event_no IN ({', '.join(map(str, codes))})")
        return both(*kept)

    def _fold(self, fold: Fold, edges: list[int]) -> str:
        columns = ", ".join(self.bands[band] for band in fold.bands)
        event = fold.bands[0].event
        kept = both("" if event is None else f"event_no = {event}", _of_bands(fold.window, edges))
        return f"{fold.how}({columns})" + (f" FILTER (WHERE {kept})" if kept else "")


def plan_passes(plan: Plan) -> list[Pass]:
    """The passes of `plan`. The first reads every event: it has a row for each user who has any."""
    far = {band for fold in plan.folds for band in fold.bands if not _is_near(fold.window)}
    made: dict[str, Pass] = {}
    base = Pass("all", far=True)
    made[base.name] = base
    for fold, alias in plan.folds.items():
        found = Pass(_kind(fold.bands[0]), any(band in far for band in fold.bands))
        found = made.setdefault(found.name, found)
        found.folds[fold] = alias
        found.bands |= {band: plan.bands[band] for band in fold.bands}
    return list(made.values())


def _kind(band: Band) -> Kind:
    if band.event is None:
        return "all"
    return "count" if band.how == "count" and not band.where else "value"


def _is_near(window: Window) -> bool:
    return window.days > 0 and window.shift + window.days <= NEAR_DAYS


def _of_bands(window: Window, edges: list[int]) -> str:
    """The condition that keeps the bands of `window`; band n lies between edges n − 1 and n."""
    kept = [f"band > {edges.index(window.shift)}"] if window.shift else []
    kept += [f"band <= {edges.index(window.shift + window.days)}"] if window.days else []
    return both(*kept)
