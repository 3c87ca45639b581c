"""The raw tables as the contract has them now, whichever version collected their rows."""

from __future__ import annotations

from huaxiang.engine import Step
from huaxiang.tables import SQL, raw_columns


def raw_sql(step: Step, table: str) -> str:
    """SQL of a raw table with every column of the contract: NULL in one that was not known yet when the table was made."""
    rows = step.table(f"raw.{table}")
    new = [column for column in raw_columns(table) if column.name not in rows.columns]
    found = step.lake.engine.sql(rows)
    added = "".join(f", NULL::{SQL[column.type]} AS {column.name}" for column in new)
    return f"SELECT *{added} FROM ({found})" if new else found


def renew_raw(step: Step, table: str) -> None:
    """Gives a raw table the columns that it lacks, so that new rows can bring them."""
    name = f"raw.{table}"
    if step.has(name) and len(step.table(name).columns) < len(raw_columns(table)):
        step.replace(name, raw_sql(step, table))
