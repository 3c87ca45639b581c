"""A Plan as SQL: few passes over the events, however many features.

For a range of user buckets: the gaps between days, for all as-of dates; then for each date a few groupings of the events into
bands (passes.py), and one for each kind of key. Each reads just the columns it needs from the stored events: unpacking them again costs
less than holding them in memory (bench/log.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

from huaxiang.features.algebra import Feature
from huaxiang.features.passes import plan_passes
from huaxiang.features.plan import CODED, EVENT_COLUMNS, Events, KeyPlan, Plan, Rows, both, filtered
from huaxiang.features.windows import AS_OF, PAST


def plan_features(features: list[Feature], plan: Plan) -> Plan:
    """The plan of all `features`; raises DefinitionError for the first that is not well declared."""
    for feature in features:
        feature.compile(plan)
    return plan


def gap_sql(plan: Plan, events: str) -> str:
    """One row a user and day with an event some gap asks for; each gap column is unknown on days without its events."""
    kept = [f"bool_or({where}) AS has_{alias}" for where, alias in plan.gaps.items()]
    some = " OR ".join(f"({where})" for where in plan.gaps)
    gaps = (
        f"CASE WHEN has_{alias} THEN day - max(CASE WHEN has_{alias} THEN day END) OVER earlier END::DOUBLE AS {alias}"
        for alias in plan.gaps.values()
    )
    return (
        f"SELECT user_no, day, {', '.join(gaps)} "
        f"FROM (SELECT user_no, day, {', '.join(kept)} FROM {events} WHERE {some} GROUP BY user_no, day) "
        "WINDOW earlier AS (PARTITION BY user_no ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    )


def day_sql(plan: Plan, gaps: str) -> str:
    """One row a user: the folds over the gaps before as-of."""
    folds = "".join(f", {sql} AS {alias}" for sql, alias in plan.days.items())
    return f"SELECT user_no{folds} FROM {gaps} WHERE {PAST} GROUP BY user_no"


def at_date(sql: str, as_of: date, last: date) -> str:
    """`sql` with its as-of filled in. last: the day of the last event; after it there is nothing to keep out, and a filter
    on every row that keeps all of them costs a fifth of a pass."""
    return sql.replace(PAST, "TRUE" if as_of > last else f"day < {AS_OF}").replace(AS_OF, f"DATE '{as_of.isoformat()}'")


def key_sql(made: KeyPlan, events: str) -> str:
    """One row a user and value of the key, from the events before as-of that some measure keeps."""
    column = CODED.get(made.key, made.key)
    measures = "".join(
        f", {filtered(how, value, where)} AS {alias}" for (how, value, where), alias in made.measures.items()
    )
    kept = made.kept()
    rows = f" AND ({kept})" if kept else ""
    return f"SELECT user_no, {column} AS key{measures} FROM {events} WHERE {PAST} AND {column} IS NOT NULL{rows} GROUP BY user_no, {column}"


def fold_key_sql(made: KeyPlan, events: str, names: dict[str, str]) -> str:
    """One row a user: the folds over the values of the key. names: key -> the table of its codes' names (no, name)."""
    rows = f"({key_sql(made, events)})"
    folds = "".join(f", {sql} AS {alias}" for sql, alias in made.folds.items())
    if made.named and made.key in names:
        rows = f"(SELECT k.*, n.name FROM {rows} AS k JOIN {names[made.key]} AS n ON k.key = n.no)"
    elif made.named:
        rows = f"(SELECT *, key AS name FROM {rows})"
    return f"SELECT user_no{folds} FROM {rows} GROUP BY user_no"


def exact_sql(rows: Rows, exacts: dict[str, str], source: Callable[[Rows], str]) -> str:
    """One row a user: the aggregates `exacts` over `rows` before as-of. source: the table to read rows from."""
    made = "".join(f", {sql} AS {alias}" for sql, alias in exacts.items())
    kept = both(PAST, rows.where and f"({rows.where})")
    if rows.without:
        met = f"SELECT user_no FROM {source(rows.without)} WHERE {both(PAST, rows.without.where)}"
        kept = both(kept, f"user_no NOT IN ({met})")
    return f"SELECT user_no{made} FROM {source(rows)} WHERE {kept} GROUP BY user_no"


def chosen_events(plan: Plan) -> frozenset[int]:
    """The codes of the events that some work reads alone: purchases, mostly."""
    return frozenset[int]().union(*(codes for codes, _ in _chosen(plan)))


def chosen_sql(plan: Plan, codes: frozenset[int], events: str) -> str:
    """Those events, with the columns that the work on them reads."""
    used = set(re.findall(r"\w+", " ".join(text for _, text in _chosen(plan)))) - {"day", "event_no"}
    columns = [column for column in (*EVENT_COLUMNS, *CODED.values(), "event_id") if column in used]
    listed = "".join(f", {column}" for column in dict.fromkeys(columns))
    return (
        f"SELECT user_no, day, event_no{listed} FROM {events} WHERE event_no IN ({', '.join(map(str, sorted(codes)))})"
    )


def _chosen(plan: Plan) -> list[tuple[frozenset[int], str]]:
    """Each piece of work that reads a few events only: their codes, and the text that names its columns."""
    work = [(one.events(), " ".join(f"{band.value} {band.where}" for band in one.bands)) for one in plan_passes(plan)]
    work += [
        (
            Events([made.event]).codes(),
            f"{CODED.get(made.key, made.key)} " + " ".join(f"{value} {where}" for _, value, where in made.measures),
        )
        for made in plan.keys.values()
    ]
    work += [(Events([rows.event]).codes(), " ".join((rows.where, *sqls))) for rows, sqls in plan.exacts.items()]
    work.append((plan.gap_events.codes(), " ".join(plan.gaps)))
    return [(codes, text) for codes, text in work if codes]


def final_sql(
    plan: Plan, *, users: str, made: list[str], days: str | None, keys: dict[str, str], everyone: bool
) -> str:
    """One row a user: user_no, user_id, as_of and every feature. `everyone`: users without an earlier event too.

    keys: alias -> the table of a key's folds
    made: the tables of the passes and the exacts; the first has a row for each user with an event before as-of
    """
    finals = ",\n ".join(f"{sql} AS {name}" for name, sql in plan.finals.items())
    joins = f"{'LEFT JOIN' if everyone else 'JOIN'} {made[0]} USING (user_no)"
    joins += "".join(f" LEFT JOIN {table} USING (user_no)" for table in made[1:])
    joins += f" LEFT JOIN {days} AS y USING (user_no)" if days else ""
    joins += "".join(f" LEFT JOIN {table} AS {alias} USING (user_no)" for alias, table in keys.items())
    return f"SELECT u.user_no, u.user_id, {AS_OF} AS as_of,\n {finals}\nFROM {users} AS u {joins}"
