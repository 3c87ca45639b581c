"""The clean events under one user id each."""

from __future__ import annotations

import ibis

from huaxiang.clean.hashes import row_hash_sql
from huaxiang.engine import Step
from huaxiang.identity.links import LINKS, merged_table


def canonical_events(step: Step) -> ibis.Table:
    """Every clean event once: the columns of clean.events with `user_id` canonical, plus `owner`, `known_at` and `visitor`.

    user_id: the event's own; else the user whose login on that visitor is the latest at or before the event, else the first
    after it; else the visitor's own anonymous id (`visitor` true)
    Either of them, where it is an earlier id of another user (links.py: ALIAS), that user.
    owner: the id the event itself carries, user_id or else anonymous_id
    known_at: when the event was known under this user_id: received_at, or the moment the link was learned where that is later
    """
    engine = step.lake.engine
    events = hashed_events(step)
    if not step.rows(LINKS):
        return engine.view(
            "SELECT * REPLACE (coalesce(user_id, anonymous_id) AS user_id), received_at AS known_at, "
            "user_id IS NULL AS visitor, coalesce(user_id, anonymous_id) AS owner "
            f"FROM ({events})"
        )
    # Each link holds from its moment to the next one's; the first also for all time before.
    order = "PARTITION BY anonymous_id ORDER BY since, user_id"
    holds = (
        "SELECT anonymous_id, user_id, known_at, "
        f"CASE WHEN row_number() OVER ({order}) = 1 THEN TIMESTAMP '-infinity' ELSE since END AS low, "
        f"coalesce(lead(since) OVER ({order}), TIMESTAMP 'infinity') AS high FROM ({engine.sql(step.table(LINKS))})"
    )
    mine = (
        "SELECT e.* REPLACE (coalesce(e.user_id, l.user_id, e.anonymous_id) AS user_id), "
        "CASE WHEN e.user_id IS NULL THEN greatest(e.received_at, coalesce(l.known_at, e.received_at)) ELSE e.received_at END AS known_at, "
        "e.user_id IS NULL AND l.user_id IS NULL AS visitor, coalesce(e.user_id, e.anonymous_id) AS owner "
        f"FROM ({events}) e LEFT JOIN ({holds}) l "
        "ON e.user_id IS NULL AND e.anonymous_id = l.anonymous_id AND e.ts >= l.low AND e.ts < l.high"
    )
    merged = merged_table(engine, engine.sql(step.table(LINKS)))
    if not merged:
        return engine.view(mine)
    return engine.view(
        "SELECT o.* REPLACE (coalesce(m.final, o.user_id) AS user_id, greatest(o.known_at, coalesce(m.merged_at, o.known_at)) AS known_at) "
        f"FROM ({mine}) AS o LEFT JOIN {merged} AS m ON o.user_id = m.user_id"
    )


def hashed_events(step: Step) -> str:
    """SQL of clean.events with `row_hash`, which an older version of huaxiang did not store."""
    events = step.table("clean.events")
    sql = step.lake.engine.sql(events)
    stored = "row_hash" in events.columns
    return sql if stored else f"SELECT *, {row_hash_sql(events.columns)} AS row_hash FROM ({sql})"
