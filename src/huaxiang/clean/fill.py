"""Holes filled and outliers drawn in, as each column of huaxiang.toml asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ibis

from huaxiang.engine import Engine
from huaxiang.engine.duck import quote
from huaxiang.settings import CleanSettings
from huaxiang.settings.clean import FillSettings, TrimSettings
from huaxiang.tables import SQL, TABLES, Column

# Exact quantiles of more values than this are taken from a sample chosen by the row's own hash: the same on every run.
SAMPLE_ROWS = 2_000_000


@dataclass
class Filled:
    """The SQL of the finished rows, and what was done. `trims`: column -> (how, low, high)."""

    sql: str
    fills: dict[str, str] = field(default_factory=dict)
    trims: dict[str, tuple[str, float | None, float | None]] = field(default_factory=dict)
    made: list[ibis.Table] = field(default_factory=list)


def draw_in(engine: Engine, table: str, rows: str, settings: CleanSettings, *, count: int) -> Filled:
    """The rows with values beyond each column's bounds set to the bound.

    rows: SQL of repaired rows; count: how many, for the sample
    """
    done = Filled(rows)
    replaced = []
    for name, trim in _of(table, settings.outliers).items():
        if trim.how == "none":
            continue
        low, high = _bounds(engine, sampled(rows, count), name, trim)
        done.trims[name] = (trim.how, low, high)
        if low is not None and high is not None:
            kind = SQL[_column(table, name).type]
            ends = (
                (f"ceil({low!r})::{kind}", f"floor({high!r})::{kind}") if kind == "BIGINT" else (repr(low), repr(high))
            )
            inside = f"greatest(least({name}, {ends[1]}), {ends[0]})"
            replaced.append(f"CASE WHEN {name} IS NOT NULL THEN {inside} END AS {name}")
    if replaced:
        done.sql = f"SELECT * REPLACE ({', '.join(replaced)}) FROM ({rows})"
    return done


def fill_holes(engine: Engine, table: str, done: Filled, settings: CleanSettings, *, count: int, seed: int) -> Filled:
    """The rows with holes filled and `filled`, the names of the columns filled in each row."""
    rows = done.sql
    news: dict[str, str] = {}
    joins: list[str] = []
    wanted = {name: fill for name, fill in _of(table, settings.missing).items() if fill.how != "leave"}
    modelled = [name for name, fill in wanted.items() if fill.how == "model"]
    if modelled:
        from huaxiang.clean.impute import impute_columns

        done.made.append(impute_columns(engine, table, rows, modelled, count=count, seed=seed))
        joins.append(f"LEFT JOIN {done.made[-1].get_name()} m ON m.row_id = r.row_id")
        news |= {name: f"m.{name}" for name in modelled}
    paths = {name: fill for name, fill in wanted.items() if fill.how in ("most_recent", "interpolate")}
    if paths:
        done.made.append(engine.keep(_along_time(table, rows, paths)))
        joins.append(f"LEFT JOIN {done.made[-1].get_name()} p ON p.row_id = r.row_id")
        news |= {name: f"p.{name}" for name in paths}
    for name, fill in wanted.items():
        if name not in news:
            news[name] = _constant(engine, table, sampled(rows, count), rows, name, fill)
        done.fills[name] = fill.how
    if not news:
        done.sql = f"SELECT *, CAST([] AS VARCHAR[]) AS filled FROM ({rows})"
        return done
    own = "NOT coalesce(r.third_party, FALSE)"  # what a third party does not tell is no hole in it
    cast = {
        name: f"CASE WHEN {own} THEN CAST({new} AS {SQL[_column(table, name).type]}) END" for name, new in news.items()
    }
    full = ", ".join(f"coalesce(r.{name}, {new}) AS {name}" for name, new in cast.items())
    named = ", ".join(
        f"CASE WHEN r.{name} IS NULL AND {new} IS NOT NULL THEN '{name}' END" for name, new in cast.items()
    )
    done.sql = f"SELECT r.* REPLACE ({full}), list_filter([{named}], lambda x: x IS NOT NULL) AS filled FROM ({rows}) r {' '.join(joins)}"
    return done


def sampled(rows: str, count: int) -> str:
    """At most about SAMPLE_ROWS of `rows`, the same ones on every run."""
    every = -(-count // SAMPLE_ROWS)
    return rows if every <= 1 else f"SELECT * FROM ({rows}) WHERE hash(row_id) % {every} = 0"


def _bounds(engine: Engine, rows: str, name: str, trim: TrimSettings) -> tuple[float | None, float | None]:
    if trim.how == "quantile":
        wanted = f"quantile_cont({name}, {trim.by!r}) AS low, quantile_cont({name}, {1 - trim.by!r}) AS high"
    elif trim.how == "iqr":
        q1, q3 = f"quantile_cont({name}, 0.25)", f"quantile_cont({name}, 0.75)"
        wanted = f"{q1} - {trim.by!r} * ({q3} - {q1}) AS low, {q3} + {trim.by!r} * ({q3} - {q1}) AS high"
    else:
        # 1.4826: makes the MAD of a normal distribution its standard deviation.
        spread = f"{trim.by!r} * 1.4826 * mad({name})"
        wanted = f"median({name}) - {spread} AS low, median({name}) + {spread} AS high"
    found = engine.rows(f"SELECT {wanted} FROM (SELECT {name}::DOUBLE AS {name} FROM ({rows}))")[0]
    low, high = found["low"], found["high"]
    if low is not None and low == high and trim.how != "quantile":
        return None, None  # more than half of the values are one value: a spread of 0 would flatten the rest
    return low, high


def _constant(engine: Engine, table: str, sample: str, rows: str, name: str, fill: FillSettings) -> str:
    if fill.how == "constant":
        return repr(fill.value) if isinstance(fill.value, float) else quote(str(fill.value))
    if fill.how == "mode":
        query = f"SELECT {name} AS v FROM ({rows}) WHERE {name} IS NOT NULL GROUP BY {name} ORDER BY count(*) DESC, {name} LIMIT 1"
    elif fill.how == "mean":
        query = f"SELECT avg({name}) AS v FROM ({rows})"
    else:
        query = f"SELECT quantile_cont({name}, 0.5) AS v FROM ({sample})"
    return _literal(engine.value(query), _column(table, name))


def _literal(value: Any, column: Column) -> str:
    if value is None:
        return "NULL"
    if column.type in ("int", "float"):
        return repr(round(value)) if column.type == "int" else repr(float(value))
    return f"CAST({quote(str(value))} AS {SQL[column.type]})"


def _along_time(table: str, rows: str, paths: dict[str, FillSettings]) -> str:
    """What the same user's other rows say: the last value before, or the line between the values around (by time)."""
    who, at = ("coalesce(user_id, anonymous_id)", "ts") if table == "events" else ("user_id", "collected_at")
    narrow = f"SELECT row_id, {who} AS who, {at} AS moment, {', '.join(paths)} FROM ({rows})"
    parts = []
    for name, fill in paths.items():
        before = f"last_value({name} IGNORE NULLS) OVER past"
        if fill.how == "most_recent":
            parts.append(f"{before} AS {name}")
            continue
        after = f"first_value({name} IGNORE NULLS) OVER future"
        seen = f"CASE WHEN {name} IS NOT NULL THEN epoch(moment) END"
        t0, t1 = f"last_value({seen} IGNORE NULLS) OVER past", f"first_value({seen} IGNORE NULLS) OVER future"
        share = f"coalesce((epoch(moment) - {t0}) / nullif({t1} - {t0}, 0), 0)"
        parts.append(f"{before} + ({after} - {before}) * {share} AS {name}")
    values = ", ".join(f"v{number} AS {name}" for number, name in enumerate(paths))
    named = ", ".join(part.rsplit(" AS ", 1)[0] + f" AS v{number}" for number, part in enumerate(parts))
    return (
        f"SELECT row_id, {values} FROM (SELECT row_id, {', '.join(f'{name} IS NULL AS n{i}' for i, name in enumerate(paths))}, {named} "
        f"FROM ({narrow}) WINDOW past AS (PARTITION BY who ORDER BY moment, row_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), "
        "future AS (PARTITION BY who ORDER BY moment, row_id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)) "
        f"WHERE {' OR '.join(f'n{i}' for i in range(len(paths)))}"
    )


def _of(table: str, places: dict[str, Any]) -> dict[str, Any]:
    return {place.partition(".")[2]: given for place, given in places.items() if place.partition(".")[0] == table}


def _column(table: str, name: str) -> Column:
    column = TABLES[table].column(name)
    assert column is not None, "settings were checked when read"
    return column
