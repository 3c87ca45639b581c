"""A compiled plan as DuckDB text, made once and filled in for each slice and as-of date: planning costs more than replacing."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import ibis

from huaxiang.engine.lake import write_atomically
from huaxiang.features import compile, in_ibis, nodes, passes, written
from huaxiang.features import plan as plan_of
from huaxiang.features.compile import compile_plan, final_rows, needs
from huaxiang.features.plan import EVENT_COLUMNS, Codes, Plan
from huaxiang.features.written import AS_OF_MARK, CODED, Writer

_TYPES = {
    "string": "string", "int": "int64", "float": "float64", "bool": "boolean", "timestamp": "timestamp", "date": "date",
}  # fmt: skip
EVERY, CHOSEN, USERS = "__every__", "__chosen__", "__users__"
_EVENTS = {
    "user_no": "int32",
    "day_no": "int32",
    "event_id": "string",
    **{name: _TYPES[kind] for name, kind in EVENT_COLUMNS.items()},
    **dict.fromkeys(CODED.values(), "int32"),
}
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Chosen:
    """The few events that much of the work reads alone (purchases, mostly), worth a copy of their own: codes and columns."""

    codes: frozenset[int]
    columns: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan) -> Chosen:
        some = [(codes, columns) for codes, columns in needs(plan, Writer()) if codes]
        used = frozenset[str]().union(*(columns for _, columns in some)) - {"day_no", "event_no", "as_of_no"}
        return cls(frozenset[int]().union(*(codes for codes, _ in some)), tuple(sorted(used)))

    def sql(self, events: str, *, many: bool) -> str:
        columns = "".join(f", {column}" for column in (*self.columns, *(["as_of_no"] if many else [])))
        codes = ", ".join(map(str, sorted(self.codes)))
        return f"SELECT user_no, day_no, event_no{columns} FROM {events} WHERE event_no IN ({codes})"


def columns_read(plan: Plan) -> frozenset[str]:
    """The columns of ready.events, beside user and day, that the text of `plan` reads."""
    found = frozenset[str]().union(*(columns for _, columns in needs(plan, Writer())))
    return (found | {"event_no"}) - {"user_no", "day_no", "as_of_no"}


@dataclass(frozen=True)
class PlanText:
    """parts: texts whose results are kept as tables; final: everyone (or only users with an event) -> the text that joins them."""

    parts: tuple[str, ...]
    final: Mapping[bool, str]


def names_of(key: str) -> str:
    """Stands for the table (no, name) of the names of a key's codes."""
    return f"__names_{key}__"


def write_text(plan: Plan, chosen: Chosen, *, codes: Codes, named: Iterable[str], many: bool) -> PlanText:
    """The text of `plan`. named: the keys whose codes have a table of names.

    many: for many dates at once, where the events have one row a date after them (`as_of_no`); else for one date after all
    events, where nothing has to be kept out (a filter that keeps every row costs a fifth of a pass)
    """
    names = {key: ibis.table({"no": "int32", "name": "string"}, name=names_of(key)) for key in named}
    by, column = (("user_no", "as_of_no"), "as_of_no") if many else (("user_no",), "")
    to = Writer(by=by, as_of_column=column, codes=codes, names=names)
    every, few = (ibis.table(_EVENTS | dict.fromkeys(by, "int32"), name=name) for name in (EVERY, CHOSEN))
    rows = [
        part.rows for part in compile_plan(plan, to, lambda found: few if found and found <= chosen.codes else every)
    ]
    kept = [ibis.table(part.schema(), name=f"__part{number}__") for number, part in enumerate(rows)]
    users = ibis.table({**dict.fromkeys(by, "int32"), "user_id": "string", "registered_no": "int32"}, name=USERS)
    inner = _sql(final_rows(plan, to, users, kept, everyone=False, keep=("user_id",)))
    # the first join alone decides who is in
    return PlanText(tuple(map(_sql, rows)), {False: inner, True: inner.replace("INNER JOIN", "LEFT OUTER JOIN", 1)})


def remembered_text(
    path: Path, plan: Plan, chosen: Chosen, *, codes: Codes, named: Iterable[str], many: bool
) -> PlanText:
    """As write_text; what the file at `path` remembers of the same plan is taken, for to write it takes most of a second."""
    listed = sorted((key, sorted(names.items())) for key, names in codes.items())
    said = (_writers(), ibis.__version__, repr(plan), listed, sorted(named), many)
    key = hashlib.sha256(repr(said).encode()).hexdigest()
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if key in held:
            return PlanText(tuple(held[key]["parts"]), {True: held[key]["all"], False: held[key]["some"]})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        held = {}  # not there, or not ours: written anew
    made = write_text(plan, chosen, codes=codes, named=named, many=many)
    kept = dict(list(held.items())[-3:]) | {
        key: {"parts": made.parts, "all": made.final[True], "some": made.final[False]}
    }
    write_atomically(path, json.dumps(kept))
    return made


@cache
def _writers() -> str:
    """Tells one state of the code that writes the text from another."""
    modules = (compile, in_ibis, nodes, passes, plan_of, written, sys.modules[__name__])
    return hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in modules)).hexdigest()


def fill(text: str, as_of: date, tables: Mapping[str, str]) -> str:
    """`text` with the as-of day and the tables filled in (a table: its name, or a query in parentheses)."""
    for name, table in tables.items():
        text = text.replace(f'"{name}"', table)
    return text.replace(str(AS_OF_MARK), str((as_of - EPOCH).days))


def day_number(column: str) -> str:
    """DuckDB text of a date as whole days since 1970-01-01."""
    return f"({column} - DATE '1970-01-01')::INTEGER"


def _sql(rows: Any) -> str:
    return str(ibis.to_sql(rows, dialect="duckdb"))
