"""The quarantine: every rejected row with its raw values and its reason. Raw keeps everything, so each run judges afresh."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from huaxiang.clean.judge import Judged
from huaxiang.engine import Lake, Step
from huaxiang.engine.duck import quote
from huaxiang.tables import Column, raw_columns

NAME = "quarantine"
COLUMNS = (
    Column("table", "string", "the table the row was meant for", "该行所属的表"),
    Column("row_id", "string", "the raw row's identity", "原始行标识"),
    Column("source", "string", "source that gave the row", "来源名称"),
    Column("reason", "string", "code of the rule that rejected it", "拒绝该行的规则代码"),
    Column("detail", "string", "the evidence", "依据"),
    Column("raw", "json", "the raw row (JSON)", "原始行（JSON）"),
    Column("at", "timestamp", "when it was judged", "判定时间", unit="UTC"),
)


def rejected_rows(judged: Judged, raw: str, now: datetime) -> str:
    """SQL of the quarantine rows of one table: table, row_id, source, reason, detail, raw (JSON), at."""
    values = ", ".join(f"{column.name} := r.{column.name}" for column in raw_columns(judged.table))
    return (
        f"SELECT '{judged.table}' AS \"table\", r.row_id, r.source, j.reason, j.detail, "
        f"to_json(struct_pack({values}))::VARCHAR AS raw, TIMESTAMP '{now}' AS at "
        f"FROM ({raw}) r JOIN ({judged.rejected}) j ON j.row_id = r.row_id"
    )


def count_released(step: Step) -> dict[str, int]:
    """Rows that were in quarantine after the last run and are not now, by their old reason."""
    if not step.lake.has(NAME) or NAME in step.lake.lost():
        return {}
    engine = step.lake.engine
    old, new = engine.sql(step.lake.table(NAME)), engine.sql(step.table(NAME))
    query = (
        f'SELECT o.reason, count(*) AS n FROM ({old}) o ANTI JOIN ({new}) n ON n."table" = o."table" AND n.row_id = o.row_id '
        "GROUP BY o.reason ORDER BY n DESC, o.reason"
    )
    return {row["reason"]: row["n"] for row in engine.rows(query)}


def quarantined(lake: Lake, reason: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Quarantined rows as dicts (table, row_id, source, reason, detail, raw, at), of one reason or of all."""
    only = f"WHERE reason = {quote(reason)}" if reason else ""
    query = f'SELECT * FROM ({lake.engine.sql(lake.table(NAME))}) {only} ORDER BY "table", reason, row_id LIMIT {int(limit)}'
    return lake.engine.rows(query)
