"""A Plan as Ibis expressions: few groupings of the events, however many features.

`compile_plan(plan, writer, source)` gives the parts (each a grouping that ends in one row a user, or a user and as-of date) and
`final_rows` joins them and finishes every feature. For one date as-of is a constant; for many dates it is a column, and
every event has a row for each date before which it was known. DuckDB keeps each part as a table, Spark takes all as one expression:

    writer = Writer(by=("user_id", "as_of_no"), as_of_column="as_of_no", duckdb=False)
    parts = compile_plan(plan, writer, lambda codes: events)      # events: one row an event and as-of date it was known before
    rows = final_rows(plan, writer, users, [part.rows for part in parts], everyone=False)

events: the columns of ready.events that `columns_of(plan)` names, `by`, and day_no (whole days since 1970-01-01), all of them
before as-of. users: `by`, registered_no (the day of the registration where that is before as-of) and what else is to come along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any, TypeAlias

import ibis

from huaxiang.features.algebra import Feature
from huaxiang.features.filters import Expression
from huaxiang.features.in_ibis import to_ibis
from huaxiang.features.passes import codes_of, condition, plan_passes
from huaxiang.features.plan import (
    OFF,
    STEPS,
    Best,
    DayFold,
    Exact,
    KeyFold,
    KeyPlan,
    Measure,
    Met,
    Over,
    Plan,
    Shares,
    Since,
    Strongest,
    Total,
    Unless,
)
from huaxiang.features.windows import Window
from huaxiang.features.written import Writer

Source: TypeAlias = Callable[
    [frozenset[int] | None], ibis.Table
]  # the table with the events of these codes (None: any)


@dataclass(frozen=True)
class Part:
    """One grouping. events: the codes of the events it reads (None: any)."""

    events: frozenset[int] | None
    rows: ibis.Table


def plan_features(features: list[Feature], plan: Plan) -> Plan:
    """The plan of all `features`; raises DefinitionError for the first that is not well declared."""
    for feature in features:
        feature.compile(plan)
    return plan


def columns_of(plan: Plan) -> frozenset[str]:
    """The columns of events, beside user, day and event, that some part of `plan` reads, by their portable names."""
    found = frozenset[str]().union(*(columns for _, columns in needs(plan, Writer(duckdb=False))))
    return found - {"day_no", "as_of_no", "event_no"}


def needs(plan: Plan, to: Writer) -> list[tuple[frozenset[int] | None, frozenset[str]]]:
    """For each part of `plan`: the codes of the events it reads (None: any), and their columns."""
    found = [(one.events(), one.columns()) for one in plan_passes(plan)]
    found += [(_codes(made.event), _key_columns(made, to)) for made in plan.keys.values()]
    found += [(_codes(fold.where.event), fold.where.columns) for fold in plan.days]
    found += [(_codes(exact.where.event), _exact_columns(exact)) for exact in plan.exacts]
    return found


def compile_plan(plan: Plan, to: Writer, source: Source) -> Iterator[Part]:
    """The parts of `plan`; the first has a row for each user with an event before as-of."""
    for one in plan_passes(plan):
        yield Part(one.events(), one.rows(source(one.events()), to))
    for made in plan.keys.values():
        yield Part(_codes(made.event), _key_rows(made, to, source))
    for folds in _by_where(plan):
        yield Part(_codes(next(iter(folds)).where.event), _day_rows(folds, to, source))
    for codes, exacts in _by_codes(plan.exacts):
        yield Part(codes, _exact_rows(exacts, source(codes), to))


def final_rows(
    plan: Plan,
    to: Writer,
    users: ibis.Table,
    parts: Iterable[ibis.Table],
    *,
    everyone: bool,
    keep: tuple[str, ...] = (),
) -> ibis.Table:
    """`by`, the columns `keep` of users, and every feature. everyone: users without an earlier event too."""
    joined: Any = users
    place: dict[str, Any] = {}
    for number, part in enumerate(parts):
        on = [users[name] == part[name] for name in to.by]
        how = "left" if everyone or number else "inner"
        joined = joined.join(part, on, how=how, rname=f"{{name}}_{number}")
        place |= {name: part[name] for name in part.columns if name not in to.by}
    place |= {name: users[name] for name in users.columns}
    place["as_of_no"] = to.as_of(users)
    made = {name: _typed(to_ibis(node, place.__getitem__)) for name, node in plan.finals.items()}
    return joined.select(*(users[name] for name in (*to.by, *keep)), **made)


def _typed(value: Any) -> Any:
    """Numbers as floats, whatever they were counted in."""
    return value.cast("float64") if value.type().is_numeric() or value.type().is_boolean() else value


def _codes(event: int | None) -> frozenset[int] | None:
    return codes_of([event])


# ---- keys ---------------------------------------------------------------------------------------------------------


def _key_columns(made: KeyPlan, to: Writer) -> frozenset[str]:
    found = to.key(made)[1].union(*(total.measure.columns() for total in made.measures))
    return found if made.event is None else found | {"event_no"}


def _key_rows(made: KeyPlan, to: Writer, source: Source) -> ibis.Table:
    """One row a user: the folds over the values of the key, from the events before as-of that some measure keeps."""
    made = _thrifty(made)
    key, _ = to.key(made)
    table = to.read(source(_codes(made.event)), _key_columns(made, to))
    value = to_ibis(key, to.column(table))
    kept = [value.notnull(), *_kept_by_some(made, table, to)]
    table = table.filter(*kept)
    if made.unless is not None:
        table = _without(table, made.unless, to, source)
    value = to_ibis(key, to.column(table))
    columns: dict[str, Any] = {}
    for total, alias in made.measures.items():
        columns |= to.measured(total.measure, table, _condition(total, table, to), alias)
    rows = table.group_by(*to.by, key=value).aggregate(**columns)
    if any(isinstance(fold, Best | Strongest) for fold in made.folds):
        rows = _named(rows, made, to)
    folds = {alias: _fold(fold, rows, made, to) for fold, alias in made.folds.items()}
    grouped = rows.group_by(*to.by).aggregate(**folds)
    return grouped.mutate(**_finish_names(made, grouped, to))


def _thrifty(made: KeyPlan) -> KeyPlan:
    """The same plan with no last day kept where a count in the same window is kept anyway."""
    folds: dict[KeyFold, str] = {}
    for fold, alias in made.folds.items():
        if isinstance(fold, Since) and fold.day.measure.how == "max" and fold.days:
            day = fold.day.measure
            count = Total(Measure("count", None, day.event, day.rest), Window(fold.days))
            if count in made.measures:
                folds[Met(count)] = alias
                continue
        folds[fold] = alias
    used = dict.fromkeys(total for fold in folds for total in fold.totals)
    if len(folds) < len(made.folds):  # two folds became one
        return made
    return KeyPlan(made.key, made.event, made.unless, {total: f"m{place}" for place, total in enumerate(used)}, folds)


def _condition(total: Total, table: ibis.Table, to: Writer) -> Any:
    """The Ibis condition of the events that a measure of a key counts (None: all)."""
    parts = to.within(table, total.window)
    whole = condition(table, total.measure.condition, to)
    parts = ([] if whole is None else [whole]) + parts
    return None if not parts else reduce(and_, parts)


def _kept_by_some(made: KeyPlan, table: ibis.Table, to: Writer) -> list[Any]:
    """The condition that some measure keeps an event, where none keeps all."""
    asked = {(total.measure.condition, window): total for total in made.measures for window in [_reach(made, total)]}
    conditions = [_condition(Total(total.measure, window), table, to) for (_, window), total in asked.items()]
    return [] if any(found is None for found in conditions) else [reduce(or_, conditions)]


def _reach(made: KeyPlan, total: Total) -> Window:
    """How far back what is asked of a measure reaches: a last day is only compared with the windows."""
    uses = [fold for fold in made.folds if total in fold.totals]
    if total.measure.how == "max" and all(isinstance(fold, Since) and fold.days for fold in uses):
        return Window(max(fold.days for fold in uses if isinstance(fold, Since)))
    return total.window


def _without(table: ibis.Table, unless: Unless, to: Writer, source: Source) -> ibis.Table:
    met = to.read(source(_codes(unless.where.event)), unless.where.columns)
    met = met.filter(*to.within(met, unless.window), condition(met, unless.where.node, to))
    return table.anti_join(met.select(*to.by).distinct(), to.by)


def _named(rows: ibis.Table, made: KeyPlan, to: Writer) -> ibis.Table:
    """`rows` with `rank`, which orders the values of the key as their names do."""
    if to.ranked(made):
        return rows.mutate(rank=rows.key)
    if made.name in to.names:
        names = to.names[made.name]
        return rows.join(names, rows.key == names.no).select(*rows.columns, rank=names.name)
    return rows.mutate(rank=rows.key)


def _fold(fold: Any, rows: ibis.Table, made: KeyPlan, to: Writer) -> Any:
    def of(total: Total) -> Any:
        return rows[made.measures[total]]

    match fold:
        case Met():
            return rows.count(where=of(fold.count) > 0).cast("float64")
        case Since():
            day = of(fold.day)
            met = day >= to.as_of(rows) - fold.days if fold.days else day.notnull()
            return rows.count(where=met).cast("float64")
        case Over():
            where = None if fold.only is None else rows.key == to.code(made, fold.only)
            return getattr(of(fold.total), fold.how)(where=where)
        case Shares():
            count = of(fold.count)
            found = [ibis.coalesce(count.sum(where=rows.key == place), 0.0) for place in fold.places]
            whole = count.sum()
            shares = ibis.array([one / whole for one in found])
            return ibis.ifelse(whole > 0, shares, ibis.null(shares.type()))
        case Best():
            best = ibis.struct({"n": of(fold.count), "day": of(fold.last), "key": rows["rank"]})
            return best.max(where=of(fold.count) > 0)
        case Strongest():
            score = of(fold.score)
            step = (ibis.ifelse(score > 0, score, ibis.null("float64")).ln() * STEPS + OFF).floor().cast("float64")
            return to.greatest({"step": step, "key": rows["rank"], "score": score}, fold.k, score > 0)
    raise AssertionError(fold)


def _finish_names(made: KeyPlan, grouped: ibis.Table, to: Writer) -> dict[str, Any]:
    """The columns whose values of the key are still codes or wrapped, as names."""
    codes = to.ranked(made)
    found: dict[str, Any] = {}
    for fold, alias in made.folds.items():
        if isinstance(fold, Best):
            found[alias] = _name(grouped[alias]["key"], codes)
        elif isinstance(fold, Strongest) and codes is not None:
            found[alias] = grouped[alias].map(
                lambda top: ibis.struct({"score": top["score"], "key": _name(top["key"], codes)})
            )
    return found


def _name(code: Any, codes: Any) -> Any:
    """The name of a code: its place in the list of the names, which are in the order of their codes, without gaps."""
    if codes is None:
        return code
    names = sorted(codes, key=codes.__getitem__)
    return ibis.literal(names, type="array<string>")[code - min(codes.values(), default=1)]


# ---- days ---------------------------------------------------------------------------------------------------------


def _by_where(plan: Plan) -> Iterator[dict[DayFold, str]]:
    """The folds that one grouping serves: the gaps of one condition together, each run by itself."""
    shared: dict[tuple[Expression, bool], dict[DayFold, str]] = {}
    for fold, alias in plan.days.items():
        if fold.how in ("longest", "current"):
            yield {fold: alias}
        else:
            shared.setdefault((fold.where, fold.how == "count"), {})[fold] = alias
    yield from shared.values()


def _day_rows(folds: dict[DayFold, str], to: Writer, source: Source) -> ibis.Table:
    """One row a user: the folds over the local days with such an event before as-of."""
    one = next(iter(folds))
    found: dict[str, Any]
    table = to.read(source(_codes(one.where.event)), one.where.columns)
    node = one.where.node
    days = (table if node is None else table.filter(condition(table, node, to))).select(*to.by, "day_no").distinct()
    if one.how == "count":
        if all(fold.window.days for fold in folds):
            longest = max(fold.window.days + fold.window.shift for fold in folds)
            days = days.filter(days.day_no >= to.as_of(days) - longest)
        found = {alias: days.count(where=_inside(days, fold, to)).cast("float64") for fold, alias in folds.items()}
        return days.group_by(*to.by).aggregate(**found)
    order = ibis.window(group_by=list(to.by), order_by="day_no")
    if one.how in ("mean", "std"):
        gaps = days.mutate(gap=(days.day_no - days.day_no.lag().over(order)).cast("float64"))
        found = {}
        for fold, alias in folds.items():
            where = _inside(gaps, fold, to)
            found[alias] = gaps.gap.mean(where=where) if fold.how == "mean" else gaps.gap.std(where=where, how="sample")
        return gaps.group_by(*to.by).aggregate(**found)
    inside = to.within(days, one.window)
    days = days.filter(*inside) if inside else days
    numbered = days.mutate(place=ibis.row_number().over(order))
    runs = numbered.mutate(run=numbered.day_no - numbered.place)
    runs = runs.group_by(*to.by, "run").aggregate(first=runs.day_no.min(), last=runs.day_no.max())
    if one.how == "current":
        runs = runs.filter(runs["last"] == to.as_of(runs) - 1)
    length = (runs["last"] - runs["first"] + 1).max().cast("float64")
    return runs.group_by(*to.by).aggregate(**{folds[one]: length})


def _inside(table: ibis.Table, fold: DayFold, to: Writer) -> Any:
    parts = to.within(table, fold.window)
    return reduce(and_, parts) if parts else None


# ---- exact --------------------------------------------------------------------------------------------------------


def _exact_columns(exact: Exact) -> frozenset[str]:
    return exact.where.columns | exact.value.columns() | (frozenset({"ts", "event_id"}) if exact.n else frozenset())


def _by_codes(exacts: dict[Exact, str]) -> Iterator[tuple[frozenset[int] | None, dict[Exact, str]]]:
    """The exacts that read the same events, together."""
    found: dict[int | None, dict[Exact, str]] = {}
    for exact, alias in exacts.items():
        found.setdefault(exact.where.event, {})[exact] = alias
    return ((_codes(event), some) for event, some in found.items())


def _exact_rows(exacts: dict[Exact, str], events: ibis.Table, to: Writer) -> ibis.Table:
    table = to.read(events, frozenset[str]().union(*map(_exact_columns, exacts)))
    found = {alias: _exact(exact, table, to) for exact, alias in exacts.items()}
    grouped = table.group_by(*to.by).aggregate(**found)
    lists = {alias: grouped[alias].map(lambda one: one["value"]) for exact, alias in exacts.items() if exact.n}
    return grouped.mutate(**lists) if lists else grouped


def _exact(exact: Exact, table: ibis.Table, to: Writer) -> Any:
    parts = to.within(table, exact.window)
    whole = condition(table, exact.where.node, to)
    parts = ([] if whole is None else [whole]) + parts
    where = reduce(and_, parts) if parts else None
    value = to_ibis(exact.value, to.column(table))
    if exact.q is not None:
        return value.quantile(exact.q, where=where)
    return to.greatest({"ts": table.ts, "id": table.event_id, "value": value}, exact.n, where)
