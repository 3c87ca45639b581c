"""The raw tables as the contract has them now, whichever version collected their rows."""

from __future__ import annotations

from huaxiang.engine import Step
from huaxiang.tables import SQL, raw_columns

ERASED = "raw.erased"  # user_id, upto (µs): what was received of them until then counts no more
_WHOSE = {"relations": ("user_id", "other_id"), "events": ("user_id", "anonymous_id"), "identifiers": ("user_id", "anonymous_id"), "users": ("user_id",)}  # fmt: skip
_KNOWN = {"events": "coalesce(received_at, ts, collected_at)"}


def raw_sql(step: Step, table: str) -> str:
    """SQL of a raw table with every column of the contract: NULL in one that was not known yet when the table was made. Without what was
    received of customers before they were erased."""
    rows = step.table(f"raw.{table}")
    new = [column for column in raw_columns(table) if column.name not in rows.columns]
    found = step.lake.engine.sql(rows)
    added = "".join(f", NULL::{SQL[column.type]} AS {column.name}" for column in new)
    made = f"SELECT *{added} FROM ({found})" if new else found
    whose = _WHOSE.get(table, ())
    if not whose or not step.rows(ERASED):
        return made
    erased = step.lake.engine.sql(step.table(ERASED))
    known = f"epoch_us({_KNOWN.get(table, 'collected_at')})"
    gone = " OR ".join(f"r.{name} = e.user_id" for name in whose)
    return f"SELECT r.* EXCLUDE (_known) FROM (SELECT *, {known} AS _known FROM ({made})) AS r ANTI JOIN ({erased}) AS e ON ({gone}) AND r._known <= e.upto"


def renew_raw(step: Step, table: str) -> None:
    """Gives a raw table the columns that it lacks, so that new rows can bring them."""
    name = f"raw.{table}"
    if step.has(name) and len(step.table(name).columns) < len(raw_columns(table)):
        step.replace(name, raw_sql(step, table))
