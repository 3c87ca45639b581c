"""How a batch engine writes a plan: which columns name a row, what as-of is, and the few functions engines have of their own.

One `Writer` for DuckDB (one as-of a query, keys held as whole numbers), one for Spark (as-of a column, so that many dates are
one job; keys by name). Everything else is one Ibis expression for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ibis
import ibis.expr.datatypes as dt

from huaxiang.features.in_ibis import to_ibis
from huaxiang.features.nodes import Node
from huaxiang.features.plan import Codes, How, KeyPlan, Measure
from huaxiang.features.windows import Window

# Stands in the compiled text where the as-of day (days since 1970-01-01) goes; no window reaches that far.
AS_OF_MARK = 1_999_999_999
# Where a key is also held as a whole number, the column that holds it.
CODED = {
    "item_id": "item_no", "event": "event_no", "category": "category_no", "category_top": "category_top_no",
    "category_2": "category_2_no", "brand": "brand_no",
}  # fmt: skip


@dataclass(frozen=True)
class Writer:
    """by: the columns that name a row. as_of_column: where as-of is one (""; the mark stands for it). codes: key -> name -> code, for the keys with few enough values to be written out; names:
    key -> the table (no, name) of the keys that are held as codes. duckdb: the engine.
    """

    by: tuple[str, ...] = ("user_no",)
    as_of_column: str = ""
    codes: Codes = field(default_factory=dict)
    names: Mapping[str, ibis.Table] = field(default_factory=dict)
    duckdb: bool = True

    def as_of(self, table: ibis.Table) -> Any:
        return table[self.as_of_column] if self.as_of_column else ibis.literal(AS_OF_MARK, type="int32")

    def within(self, table: ibis.Table, window: Window) -> list[Any]:
        """The conditions that an event lies in the window, given that it happened before as-of."""
        as_of = self.as_of(table)
        kept = [table.day_no >= as_of - (window.days + window.shift)] if window.days else []
        return kept + ([table.day_no < as_of - window.shift] if window.shift else [])

    def read(self, events: ibis.Table, columns: frozenset[str]) -> ibis.Table:
        """Only the columns needed: what is not unpacked costs nothing."""
        return events.select(*self.by, *sorted({"day_no", *columns} - {"as_of_no", *self.by}))

    def column(self, table: ibis.Table) -> Callable[[str], Any]:
        return lambda name: self.as_of(table) if name == "as_of_no" else table[name]

    def key(self, made: KeyPlan) -> tuple[Node, frozenset[str]]:
        """The tree of the key as this engine holds it, and its columns."""
        coded = CODED.get(made.name) if self.duckdb else None
        key = Node("column", (coded,)) if coded else made.key
        return key, key.columns()

    def code(self, made: KeyPlan, value: str | int) -> str | int:
        """A value of the key as this engine holds it."""
        if self.duckdb and made.name in CODED and made.name != "event":
            return self.codes.get(made.name, {}).get(str(value), -1)
        return value

    def ranked(self, made: KeyPlan) -> dict[str, int] | None:
        """The codes of the key's names where the codes are in the order of the names, without a gap (None: they are not)."""
        names = self.codes.get(made.name, {})
        codes = [names[name] for name in sorted(names)]
        return dict(names) if codes and codes == list(range(codes[0], codes[0] + len(codes))) else None

    def measured(self, measure: Measure, table: ibis.Table, condition: Any, alias: str) -> dict[str, Any]:
        """The columns that hold `measure` over the rows that meet `condition` (a tree, or an Ibis condition)."""
        of = self.column(table)
        where = to_ibis(condition, of) if isinstance(condition, Node) else condition
        if measure.how == "count":
            return {alias: table.count(where=where).cast("float64")}
        assert measure.value is not None
        value = to_ibis(measure.value, of)
        if measure.how in ("first", "last"):
            at = ibis.struct({"ts": table.ts, "id": table.event_id})
            picked = value.argmin(at, where=where) if measure.how == "first" else value.argmax(at, where=where)
            return {alias: picked, f"{alias}_at": getattr(at, _MERGE[measure.how])(where=where)}
        if measure.how == "sum":
            value = value.cast("float64")
            if measure.half_life:
                age = (self.as_of(table) - table.day_no).cast("float64")
                value = value * ibis.literal(0.5) ** (age / measure.half_life)
        return {alias: getattr(value, measure.how)(where=where)}

    def folded(self, how: How, table: ibis.Table, alias: str, where: Any) -> Any:
        """Several of one measure put together."""
        if how == "first":
            return table[alias].argmin(table[f"{alias}_at"], where=where)
        if how == "last":
            return table[alias].argmax(table[f"{alias}_at"], where=where)
        return getattr(table[alias], _MERGE[how])(where=where)

    def greatest(self, fields: dict[str, Any], k: int, where: Any) -> Any:
        """The `k` greatest structs of `fields`, greatest first (an aggregate)."""
        value = ibis.struct(fields)
        if self.duckdb:
            return _duckdb_greatest(value.type())(value, k, where=where)
        found = value.collect(where=where).sort()
        size = found.length()
        picked = [ibis.ifelse(size > place, found[size - 1 - place], ibis.null(value.type())) for place in range(k)]
        listed = ibis.array(picked).filter(lambda one: one.notnull())
        return ibis.ifelse(size > 0, listed, ibis.null(listed.type()))


_MERGE = {"count": "sum", "sum": "sum", "min": "min", "max": "max", "first": "min", "last": "max"}


def _duckdb_greatest(type: dt.DataType) -> Any:
    @ibis.udf.agg.builtin(name="max", signature=((type, dt.int64), dt.Array(type)))
    def greatest(value, k):  # type: ignore[no-untyped-def]  # the body is DuckDB's own max(value, k)
        ...

    return greatest
