"""What cleaning found, as data: one `QualityReport`, which travels as JSON.

{"version": 1, "made_at": "2024-05-01T00:00:00", "seconds": 3.2,
 "rows": {"raw": 10, "clean": 8, "quarantined": 2},
 "scores": {"before": SCORES, "after": SCORES},                      row-weighted over the tables
 "tables": {"events": TABLE, …},                                     only tables with rows
 "released": {"duplicate_row": 3},                                   rows quarantined last time, clean now, by old reason
 "robots": 2, "tests": 1,                                            users quarantined as a whole
 "refunds": {"lines": 5, "matched": 4, "unmatched": 1, "purchases": 4, "quantity": 6.0, "amount": 61.5},
 "set_aside": {"encoding": 57}}                                      lines of the sources that are no rows, by reason

SCORES = {"completeness": 0.91, "uniqueness": 1.0, "validity": 0.99, "consistency": null, "timeliness": 1.0, "overall": 0.97}
         each 0..1, null where the shop gives nothing to measure it on
TABLE  = {"name", "rows_raw", "rows_clean", "rows_quarantined",
          "reasons": [{"code": "no_user", "rows": 2, "share": 0.2}],  most frequent first; texts: clean.rule.CODE
          "repairs": [{"code": "impossible_birth_year", "column": "birth_year", "rows": 4}],   texts: clean.repair.CODE
          "checks":  [{"code": "item_exists", "column": "item_id", "checked": 9, "broken_before": 1, "broken_after": 0}],
                                                                      texts: clean.check.CODE
          "scores": {"before": SCORES, "after": SCORES},
          "columns": [COLUMN], "time": TIME or null}
COLUMN = {"name", "type", "unit", "required", "supplied": false where the shop never gives it,
          "before": STATS, "after": STATS,
          "filled": 0, "fill": "median" or null, "trimmed": 0, "trim": {"how", "low", "high"} or null}
STATS  = {"rows", "missing", "invalid", "distinct", "completeness", "uniqueness" (keys only), "validity",
          "consistency", "timeliness", "min", "median", "mean", "max" (numbers; ISO text for times; null for others),
          "top": [{"value": "view", "rows": 7}]}                      never for pseudonyms, ids of rows, or free text
TIME   = {"first", "last" (ISO), "unit": "day" or "month", "series": [{"at": "2024-01-31", "raw": 10, "clean": 9}]}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

DIMENSIONS = ("completeness", "uniqueness", "validity", "consistency", "timeliness")


@dataclass(frozen=True)
class Scores:
    completeness: float | None = None
    uniqueness: float | None = None
    validity: float | None = None
    consistency: float | None = None
    timeliness: float | None = None
    overall: float | None = None


@dataclass(frozen=True)
class Sides:
    """The same measure over the raw rows and over the clean rows."""

    before: Scores
    after: Scores


@dataclass(frozen=True)
class Top:
    value: str
    rows: int


@dataclass(frozen=True)
class Stats:
    rows: int = 0
    missing: int = 0
    invalid: int = 0
    distinct: int | None = None
    completeness: float | None = None
    uniqueness: float | None = None
    validity: float | None = None
    consistency: float | None = None
    timeliness: float | None = None
    min: float | str | None = None
    median: float | str | None = None
    mean: float | None = None
    max: float | str | None = None
    top: tuple[Top, ...] = ()


@dataclass(frozen=True)
class TrimDone:
    how: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ColumnQuality:
    name: str
    type: str
    unit: str
    required: bool
    supplied: bool
    before: Stats
    after: Stats
    filled: int = 0
    fill: str | None = None
    trimmed: int = 0
    trim: TrimDone | None = None


@dataclass(frozen=True)
class Reason:
    code: str
    rows: int
    share: float


@dataclass(frozen=True)
class Repair:
    code: str
    column: str
    rows: int


@dataclass(frozen=True)
class Check:
    code: str
    column: str
    checked: int
    broken_before: int
    broken_after: int


@dataclass(frozen=True)
class Point:
    at: str
    raw: int
    clean: int


@dataclass(frozen=True)
class TimeRange:
    first: str
    last: str
    unit: str
    series: tuple[Point, ...]


@dataclass(frozen=True)
class TableQuality:
    name: str
    rows_raw: int
    rows_clean: int
    rows_quarantined: int
    reasons: tuple[Reason, ...]
    repairs: tuple[Repair, ...]
    checks: tuple[Check, ...]
    scores: Sides
    columns: tuple[ColumnQuality, ...]
    time: TimeRange | None = None

    def column(self, name: str) -> ColumnQuality:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Rows:
    raw: int
    clean: int
    quarantined: int


@dataclass(frozen=True)
class Refunds:
    """Refund lines, how many found their purchase, and what was given back."""

    lines: int = 0
    matched: int = 0
    unmatched: int = 0
    purchases: int = 0
    quantity: float = 0.0
    amount: float = 0.0


@dataclass(frozen=True)
class QualityReport:
    made_at: str
    seconds: float
    rows: Rows
    scores: Sides
    tables: dict[str, TableQuality]
    released: dict[str, int] = field(default_factory=dict)
    robots: int = 0
    tests: int = 0
    refunds: Refunds = Refunds()
    set_aside: dict[str, int] = field(default_factory=dict)
    version: int = 1

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return _as(cls, json.loads(text))


def overall(scores: dict[str, float | None]) -> Scores:
    """Scores with `overall`: the mean of the dimensions that could be measured."""
    known = [score for name in DIMENSIONS if (score := scores.get(name)) is not None]
    return Scores(**{name: scores.get(name) for name in DIMENSIONS}, overall=sum(known) / len(known) if known else None)


def weigh(parts: list[tuple[int, Scores]]) -> Scores:
    """Scores of several tables, each counting by its rows."""
    found: dict[str, float | None] = {}
    for name in DIMENSIONS:
        known = [(rows, score) for rows, scores in parts if (score := getattr(scores, name)) is not None]
        total = sum(rows for rows, _ in known)
        found[name] = sum(rows * score for rows, score in known) / total if total else None
    return overall(found)


def _as(kind: Any, value: Any) -> Any:
    """JSON `value` as the dataclass, tuple, dict or union `kind`."""
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(
            **{part.name: _as(hints[part.name], value[part.name]) for part in fields(kind) if part.name in value}
        )
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple:
        return tuple(_as(args[0], one) for one in value)
    if origin is dict:
        return {name: _as(args[1], one) for name, one in value.items()}
    if origin in (Union, UnionType) and value is not None:
        inner = [arg for arg in args if is_dataclass(arg)]
        return _as(inner[0], value) if inner else value
    return value
