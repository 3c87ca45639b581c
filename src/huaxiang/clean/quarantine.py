"""The quarantine: every rejected row with its raw values and its reason. Raw keeps everything, so each run judges afresh."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from huaxiang.clean.judge import Judged
from huaxiang.engine import Lake, Step
from huaxiang.engine.duck import quote
from huaxiang.tables import Column, raw_columns

NAME = "quarantine"
LINES = "raw.rejects"  # lines that collecting could make no row of
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


def count_set_aside(step: Step) -> dict[str, int]:
    """Lines of the sources that are no rows, by the reason why."""
    if not step.has(LINES):
        return {}
    lines = step.lake.engine.sql(step.table(LINES))
    query = f"SELECT reason, count(*) AS n FROM ({lines}) GROUP BY reason ORDER BY n DESC, reason"
    return {row["reason"]: row["n"] for row in step.lake.engine.rows(query)}


def set_aside(
    lake: Lake, text_of: Callable[[str], str | None], reason: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Lines that are no rows as dicts (source, file, line, reason, text, at), of one reason or of all.

    text_of: the vault's text of a reference; what is given back is masked, for the words of a line may be a person's
    """
    if not lake.has(LINES):
        return []
    only = f"WHERE reason = {quote(reason)}" if reason else ""
    query = (
        f"SELECT * FROM ({lake.engine.sql(lake.table(LINES))}) {only} ORDER BY source, file, line LIMIT {int(limit)}"
    )
    return [
        {name: row[name] for name in ("source", "file", "line", "reason")}
        | {"text": mask(text_of(row["ref"]) or ""), "at": row["at"]}
        for row in lake.engine.rows(query)
    ]


def mask(text: str) -> str:
    """The shape of a line: a digit is 0, a letter is x, a byte that could not be read is ?; marks stay."""
    unread = re.sub(r"\\x[0-9a-f]{2}", "?", text)
    return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "0", unread))
