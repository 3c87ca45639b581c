"""`ready.users`: one row a customer, what every source says of them merged, the source of each attribute kept.

The shop's own word goes before a third party's, an earlier [[collect]] entry before a later one, a value that was really
there before one that cleaning filled in.
"""

from __future__ import annotations

import hashlib

from huaxiang.engine import Step
from huaxiang.engine.duck import quote
from huaxiang.identity.links import LINKS, merged_table
from huaxiang.settings import Settings
from huaxiang.tables import SQL, USERS

BUCKETS = 1024
FILLED = 1_000_000_000  # added to the rank of a value that cleaning filled in

ATTRIBUTES = tuple(column.name for column in USERS.stored if column.name not in ("user_id", "extra"))

# Portable: two slices of the MD5 of the id; `bucket` shares out the work, `dice` draws samples and splits (0 … 65535).
BUCKET = f"(('0x' || substr(md5(user_id), 1, 4))::INTEGER % {BUCKETS})::SMALLINT"
DICE = "('0x' || substr(md5(user_id), 5, 4))::INTEGER"


def bucket_of(user_id: str) -> int:
    """The bucket of one user, as BUCKET computes it."""
    return int(hashlib.md5(user_id.encode(), usedforsecurity=False).hexdigest()[:4], 16) % BUCKETS


def write_users(step: Step, settings: Settings, seen: str, before: str = "") -> int:
    """Writes ready.users; gives its rows.

    seen: SQL of the users met in events (user_id, visitor, first_ts, last_ts, events)
    before: ready.users as it was; who has a number there keeps it, others are numbered after the last ("": none has)
    """
    engine = step.lake.engine
    ranked = engine.keep(_ranked(step, settings))
    rows = ranked.get_name()
    values = ",\n".join(
        f"arg_min({name}, {_rank(name)}) FILTER (WHERE {name} IS NOT NULL) AS {name}" for name in ATTRIBUTES
    )
    sources = ", ".join(
        f"{{'name': {quote(name)}, 'source': arg_min(source, {_rank(name)}) FILTER (WHERE {name} IS NOT NULL), "
        f"'filled': min({_rank(name)}) FILTER (WHERE {name} IS NOT NULL) >= {FILLED}}}"
        for name in ATTRIBUTES
    )
    merged = f"SELECT user_id, {values}, [{sources}] AS said FROM {rows} GROUP BY user_id"
    extra = f"""
        SELECT user_id, json_group_object(key, value)::VARCHAR AS extra, map(list(key), list(source)) AS extra_said
        FROM (SELECT user_id, key, arg_min(source, rank) AS source,
                     arg_min(json_extract(extra, '$."' || replace(key, '"', '\\"') || '"'), rank) AS value
              FROM (SELECT user_id, rank, source, extra, unnest(json_keys(extra)) AS key FROM {rows} WHERE json_type(extra) = 'OBJECT')
              GROUP BY user_id, key ORDER BY user_id, key)
        GROUP BY user_id"""
    number, kept = "(row_number() OVER (ORDER BY bucket, user_id) - 1)", ""
    if before:
        kept = f" LEFT JOIN (SELECT user_id, user_no AS number FROM ({before})) AS b USING (user_id)"
        after = f"(SELECT coalesce(max(user_no) + 1, 0) FROM ({before}))"
        number = (
            f"coalesce(number, row_number() OVER (PARTITION BY number IS NULL ORDER BY bucket, user_id) - 1 + {after})"
        )
    count = step.replace(
        "ready.users",
        f"""
        SELECT {number}::INTEGER AS user_no, * {"EXCLUDE (number)" if before else ""}
        FROM (SELECT user_id, {BUCKET} AS bucket, {DICE} AS dice,
                coalesce(s.visitor, FALSE) AND m.user_id IS NULL AS visitor,
                {", ".join(f"m.{name}" for name in ATTRIBUTES)}, x.extra,
                to_json(map_concat(
                    map_from_entries([(t.name, t.source) for t in coalesce(m.said, []) if t.source IS NOT NULL]),
                    coalesce(x.extra_said, map([]::VARCHAR[], []::VARCHAR[]))))::VARCHAR AS sources,
                [t.name for t in coalesce(m.said, []) if t.source IS NOT NULL AND t.filled] AS filled,
                s.first_ts, s.last_ts, coalesce(s.events, 0) AS events{", b.number" if before else ""}
              FROM ({merged}) AS m FULL JOIN ({seen}) AS s USING (user_id) LEFT JOIN ({extra}) AS x USING (user_id){kept})
        ORDER BY user_no""",
    )
    engine.drop(ranked)
    return count


def _rank(name: str) -> str:
    return f"rank + CASE WHEN list_contains(filled, {quote(name)}) THEN {FILLED} ELSE 0 END"


def _ranked(step: Step, settings: Settings) -> str:
    """Rows of clean.users with `rank`, the best first and no two alike within a user."""
    if not step.has("clean.users"):
        columns = ", ".join(f"NULL::{SQL[column.type]} AS {column.name}" for column in USERS.stored)
        return f"SELECT {columns}, NULL::VARCHAR AS source, []::VARCHAR[] AS filled, 0 AS rank WHERE FALSE"
    order = " ".join(f"WHEN {quote(source.name)} THEN {number}" for number, source in enumerate(settings.collect))
    place = f"CASE source {order} ELSE {len(settings.collect)} END" if order else "0"
    return f"""
        SELECT * EXCLUDE (third_party, filled), coalesce(filled, []::VARCHAR[]) AS filled,
            row_number() OVER (PARTITION BY user_id ORDER BY coalesce(third_party, FALSE), {place}, collected_at DESC, row_id) AS rank
        FROM ({_one_each(step)}) WHERE user_id IS NOT NULL"""


def _one_each(step: Step) -> str:
    """SQL of clean.users, each row with the user that its id is an earlier one of."""
    engine, rows = step.lake.engine, step.lake.engine.sql(step.table("clean.users"))
    if not step.rows(LINKS):
        return rows
    merged = merged_table(engine, engine.sql(step.table(LINKS)))
    if not merged:
        return rows
    return f"SELECT r.* REPLACE (coalesce(m.final, r.user_id) AS user_id) FROM ({rows}) AS r LEFT JOIN {merged} AS m ON r.user_id = m.user_id"
