"""A Plan as SQL: few passes over the events, however many features.

For a range of user buckets: the gaps between days, for all as-of dates; then for each date one grouping of the events into
bands, and one for each kind of key. Each reads just the columns it needs from the stored events: unpacking them again costs
less than holding them in memory (bench/log.md).
"""

from __future__ import annotations

from datetime import date

from huaxiang.features.algebra import Feature
from huaxiang.features.plan import CODED, KeyPlan, Plan, filtered
from huaxiang.features.windows import AS_OF, Window


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
    return f"SELECT user_no{folds} FROM {gaps} WHERE day < {AS_OF} GROUP BY user_no"


def at_date(sql: str, as_of: date) -> str:
    """`sql` with its as-of filled in."""
    return sql.replace(AS_OF, f"DATE '{as_of.isoformat()}'")


def key_sql(key: str, measures: KeyPlan, events: str) -> str:
    """One row a user and value of `key`, from the events before as-of that some measure keeps."""
    column = measures.column or CODED.get(key, key)
    made = "".join(
        f", {filtered(how, value, where)} AS {alias}" for (how, value, where), alias in measures.measures.items()
    )
    kept = measures.kept().replace("{events}", events)
    rows = f" AND ({kept})" if kept else ""
    return f"SELECT user_no, {column} AS key{made} FROM {events} WHERE day < {AS_OF} AND {column} IS NOT NULL{rows} GROUP BY user_no, {column}"


def fold_sql(plan: Plan, events: str) -> str:
    """One row a user: the folds over the bands, made from the events before as-of."""
    edges = plan.edges()
    cases = " ".join(f"WHEN day >= {AS_OF} - {edge} THEN {band}" for band, edge in enumerate(edges))
    band = f"CASE {cases} ELSE {len(edges)} END" if edges else "0"
    measures = "".join(
        f", {filtered(how, value, where)} AS {alias}" for (how, value, where), alias in plan.bands.items()
    )
    bands = (
        f"SELECT user_no, ({band})::TINYINT AS band{measures} FROM {events} WHERE day < {AS_OF} GROUP BY user_no, band"
    )
    folds = "".join(f", {sql}{_of_bands(window, edges)} AS {alias}" for (sql, window), alias in plan.folds.items())
    return f"SELECT user_no{folds} FROM ({bands}) GROUP BY user_no"


def _of_bands(window: Window, edges: list[int]) -> str:
    """The FILTER that keeps the bands of `window`; band n lies between edges n − 1 and n."""
    kept = [f"band > {edges.index(window.shift)}"] if window.shift else []
    kept += [f"band <= {edges.index(window.shift + window.days)}"] if window.days else []
    return f" FILTER (WHERE {' AND '.join(kept)})" if kept else ""


def fold_key_sql(key: str, plan: Plan, rows: str, names: dict[str, str]) -> str:
    """One row a user: the folds over the rows of `key`. names: key -> the table of its codes' names (no, name)."""
    found = plan.keys[key]
    folds = "".join(f", {sql} AS {alias}" for sql, alias in found.folds.items())
    if found.named and key in names:
        rows = f"(SELECT k.*, n.name FROM {rows} AS k JOIN {names[key]} AS n ON k.key = n.no)"
    elif found.named:
        rows = f"(SELECT *, key AS name FROM {rows})"
    return f"SELECT user_no{folds} FROM {rows} GROUP BY user_no"


def exact_sql(plan: Plan, events: str) -> str:
    exacts = "".join(f", {sql} AS {alias}" for sql, alias in plan.exacts.items())
    return f"SELECT user_no{exacts} FROM {events} WHERE day < {AS_OF} GROUP BY user_no"


def final_sql(
    plan: Plan, *, users: str, folded: str, days: str | None, keys: dict[str, str], exact: str | None, everyone: bool
) -> str:
    """One row a user: user_no, user_id, as_of and every feature. `everyone`: users without an earlier event too."""
    finals = ",\n ".join(f"{sql} AS {name}" for name, sql in plan.finals.items())
    join = "LEFT JOIN" if everyone else "JOIN"
    joins = f"{join} {folded} AS d USING (user_no)"
    joins += f" LEFT JOIN {days} AS y USING (user_no)" if days else ""
    joins += "".join(f" LEFT JOIN {table} AS k_{key} USING (user_no)" for key, table in keys.items())
    joins += f" LEFT JOIN {exact} AS e USING (user_no)" if exact else ""
    return f"SELECT u.user_no, u.user_id, {AS_OF} AS as_of,\n {finals}\nFROM {users} AS u {joins}"
