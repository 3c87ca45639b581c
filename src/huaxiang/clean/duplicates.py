"""Rows that say again what another row says: which to keep, and which go to quarantine.

Fifty million wide rows are never sorted: a grouping of 8-byte hashes finds the few keys seen twice, and only their rows are
compared exactly.
"""

from __future__ import annotations

import ibis

from huaxiang.engine import Engine
from huaxiang.tables import TABLES

# Of rows that say the same, the one we learned of first stays; the row id settles what is left, so that runs agree.
FIRST = "received_at NULLS LAST, collected_at NULLS LAST, row_id"


def repeated_ids(engine: Engine, passed: str) -> ibis.Table:
    """Verdicts on events whose id another event has: row_id, reason, detail.

    passed: SQL of the tidy rows that no row rule rejects
    """
    own = f"SELECT * FROM ({passed}) WHERE event_id IS NOT NULL AND event_id <> row_id"
    return engine.keep(_repeated(own, ("event_id",), ("event_id",), "duplicate_event_id"))


def repeated_rows(engine: Engine, passed: str, by: tuple[str, ...], without: ibis.Table | None) -> ibis.Table:
    """Verdicts on events alike in all columns of `by` (ts to the second): row_id, reason, detail.

    without: verdicts already made; their rows do not count
    """
    key = tuple("date_trunc('second', ts)" if name == "ts" else name for name in by)
    return engine.keep(_repeated(passed, key, key, "duplicate_row", without))


def cut_times(engine: Engine, passed: str, without: list[ibis.Table]) -> ibis.Table:
    """Verdicts on order lines that another export wrote again with the time cut to its minute: row_id, reason, detail.

    without: verdicts already made; their rows are not named as the one that is kept
    """
    key = ("user_id", "event", "order_id", "item_id", "quantity", "amount")
    same = " AND ".join(f"c.{name} = w.{name}" for name in key)
    lines = f"SELECT row_id, ts, {', '.join(key)} FROM ({passed}) WHERE order_id IS NOT NULL AND ts"
    gone = " ".join(f"ANTI JOIN {one.get_name()} USING (row_id)" for one in without)
    return engine.keep(
        f"SELECT c.row_id, 'duplicate_row' AS reason, 'kept ' || min(w.row_id) AS detail "
        f"FROM ({lines} = date_trunc('minute', ts)) c "
        f"JOIN (SELECT * FROM ({lines} <> date_trunc('minute', ts)) {gone}) w "
        f"ON {same} AND c.ts = date_trunc('minute', w.ts) GROUP BY c.row_id"
    )


def _repeated(
    rows: str, key: tuple[str, ...], exact: tuple[str, ...], code: str, without: ibis.Table | None = None
) -> str:
    hashed = f"hash({', '.join(key)})"
    twice = f"SELECT h FROM (SELECT {hashed} AS h FROM ({rows})) GROUP BY h HAVING count(*) > 1"
    gone = f"ANTI JOIN {without.get_name()} gone ON gone.row_id = c.row_id" if without is not None else ""
    among = ", ".join(f"{part} AS k{number}" for number, part in enumerate(exact))
    keys = ", ".join(f"k{number}" for number in range(len(exact)))
    found = f"SELECT row_id, received_at, collected_at, {among} FROM ({rows}) WHERE {hashed} IN ({twice})"
    return (
        "SELECT row_id, reason, detail FROM ("
        f"SELECT c.row_id, '{code}' AS reason, 'kept ' || first_value(c.row_id) OVER same AS detail, row_number() OVER same AS turn "
        f"FROM ({found}) c {gone} WINDOW same AS (PARTITION BY {keys} ORDER BY {FIRST})) WHERE turn > 1"
    )


# What makes two rows of a table versions of one thing, and which version stands.
SAME = {
    "users": ("user_id", "source"),
    "items": ("item_id", "source"),  # what one source lacks another may know: the build joins them
    "relations": ("user_id", "other_id", "kind"),
    "identifiers": ("kind", "value", "user_id", "anonymous_id", "ts"),
}
STANDS = {
    "users": "collected_at DESC NULLS LAST, {known} DESC, row_id",
    "items": "collected_at DESC NULLS LAST, {known} DESC, row_id",
    "relations": "since NULLS LAST, collected_at, row_id",
    "identifiers": "collected_at, row_id",
}


def older_versions(engine: Engine, table: str, passed: str) -> ibis.Table:
    """Verdicts on rows of which the table has a newer (or fuller) version: row_id, reason, detail.

    A row equal to the one kept is a duplicate_row, another is superseded.
    """
    columns = [column.name for column in TABLES[table].stored]
    known = " + ".join(f"({name} IS NOT NULL)::INT" for name in columns)
    order = STANDS[table].format(known=f"({known})")
    return engine.keep(
        "SELECT row_id, CASE WHEN content = kept THEN 'duplicate_row' ELSE 'superseded' END AS reason, "
        "'kept ' || kept_id AS detail FROM ("
        f"SELECT row_id, hash({', '.join(columns)}) AS content, first_value(hash({', '.join(columns)})) OVER same AS kept, "
        f"first_value(row_id) OVER same AS kept_id, row_number() OVER same AS turn FROM ({passed}) "
        f"WINDOW same AS (PARTITION BY {', '.join(SAME[table])} ORDER BY {order})) WHERE turn > 1"
    )
