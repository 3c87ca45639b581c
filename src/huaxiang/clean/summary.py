"""A table's page of the quality report: both sides measured, and what was rejected, repaired, filled and drawn in."""

from __future__ import annotations

from huaxiang.clean.fill import Filled
from huaxiang.clean.measure import CHECKED_COLUMN, Side, measure, table_scores, time_range
from huaxiang.clean.quality import Check, ColumnQuality, Reason, Repair, Sides, TableQuality, TrimDone
from huaxiang.clean.quarantine import NAME
from huaxiang.clean.rules import Bounds
from huaxiang.engine import Step
from huaxiang.settings import CleanSettings
from huaxiang.tables import TABLES

REPEATS = ("duplicate_event_id", "duplicate_row", "superseded")


def summarise(
    step: Step,
    settings: CleanSettings,
    bounds: Bounds,
    table: str,
    tidy: str,
    *,
    trimmed: dict[str, int],
    filled: Filled,
    repairs: tuple[Repair, ...],
) -> TableQuality:
    """The page of `table`, whose clean rows and quarantine this step has written."""
    engine = step.lake.engine
    clean = engine.sql(step.table(f"clean.{table}"))
    rows_raw, rows_clean = step.rows(f"raw.{table}"), step.rows(f"clean.{table}")
    reasons = _reasons(step, table, rows_raw)
    repeated = sum(reason.rows for reason in reasons if reason.code in REPEATS)
    items = step.table("clean.items").get_name() if table == "events" and step.rows("clean.items") else None
    hours = settings.timely_hours
    before = measure(engine, table, tidy, rows_raw, bounds, hours=hours, items=items, repeated=repeated)
    after = measure(engine, table, clean, rows_clean, bounds, hours=hours, items=items, repeated=0)
    supplied = {
        column.name
        for column in TABLES[table].stored
        if column.required or before.columns[column.name].missing < rows_raw or before.bad.get(column.name)
    }
    holes = _count_filled(step, table) if filled.fills else {}
    columns = tuple(
        ColumnQuality(
            name=column.name,
            type=column.type,
            unit=column.unit,
            required=column.required,
            supplied=column.name in supplied,
            before=before.columns[column.name],
            after=after.columns[column.name],
            filled=holes.get(column.name, 0),
            fill=filled.fills.get(column.name),
            trimmed=trimmed.get(column.name, 0),
            trim=TrimDone(*filled.trims[column.name]) if column.name in filled.trims else None,
        )
        for column in TABLES[table].stored
    )
    return TableQuality(
        name=table,
        rows_raw=rows_raw,
        rows_clean=rows_clean,
        rows_quarantined=sum(reason.rows for reason in reasons),
        reasons=reasons,
        repairs=repairs,
        checks=_checks(before, after),
        scores=Sides(table_scores(table, before, supplied), table_scores(table, after, supplied)),
        columns=columns,
        time=time_range(engine, tidy, clean) if table == "events" and rows_clean else None,
    )


def _reasons(step: Step, table: str, rows_raw: int) -> tuple[Reason, ...]:
    quarantine = step.lake.engine.sql(step.table(NAME))
    query = f"SELECT reason, count(*) AS n FROM ({quarantine}) WHERE \"table\" = '{table}' GROUP BY reason ORDER BY n DESC, reason"
    return tuple(Reason(row["reason"], row["n"], row["n"] / rows_raw) for row in step.lake.engine.rows(query))


def _checks(before: Side, after: Side) -> tuple[Check, ...]:
    return tuple(
        Check(code, CHECKED_COLUMN[code], asked, broken, after.broken[code][1])
        for code, (asked, broken) in before.broken.items()
        if asked or after.broken[code][0]
    )


def _count_filled(step: Step, table: str) -> dict[str, int]:
    clean = step.lake.engine.sql(step.table(f"clean.{table}"))
    query = f"SELECT name, count(*) AS n FROM (SELECT unnest(filled) AS name FROM ({clean}) WHERE len(filled) > 0) GROUP BY name"
    return {row["name"]: row["n"] for row in step.lake.engine.rows(query)}
