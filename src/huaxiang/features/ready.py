"""`ready.events` and `ready.items`: the events as features read them.

One canonical user, the item's category and brand, the shop's local time, the session, and the price against the category's
mean *known before that day* are joined once here. Rows are sorted by bucket, user and time: a user's past lies together,
and a range of buckets is a slice of the files. Large shops are dealt into chunks of buckets first, so that memory is set by
the chunk and not by the shop.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from huaxiang.engine import Engine, Step
from huaxiang.engine.duck import quote
from huaxiang.errors import DefinitionError
from huaxiang.features.derived import event_code_sql, order_key_sql
from huaxiang.features.users import BUCKETS, write_users
from huaxiang.features.zones import local_day, local_sql
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings

log = logging.getLogger(__name__)

CHUNK_EVENTS = 4_000_000  # 4 M: about 0.8 GB while sorted; bench/build.py


@dataclass(frozen=True)
class Span:
    """What the events cover: their number, and the local days of the first and the last."""

    events: int
    users: int
    first: date
    last: date
    first_ts: datetime
    last_ts: datetime


def write_ready(step: Step, settings: Settings, events: str, *, progress: Progress = SILENT) -> Span:
    """Writes ready.users, ready.items and ready.events from the canonical events `events` (SQL); gives what they cover.

    raises: DefinitionError where there is no event at all
    """
    engine, start = step.lake.engine, time.perf_counter()
    seen = engine.keep(
        f"""SELECT user_id, bool_and(visitor) AS visitor, min(ts) AS first_ts, max(ts) AS last_ts, count(*) AS events,
            max(greatest(known_at, ts)) AS last_known FROM ({events}) WHERE user_id IS NOT NULL GROUP BY user_id"""
    )
    span = _measure(engine, seen.get_name(), settings.shop.timezone)
    users = write_users(step, settings, f"SELECT * EXCLUDE (last_known) FROM {seen.get_name()}")
    last_known = engine.value(f"SELECT max(last_known) FROM {seen.get_name()}")
    engine.drop(seen)
    items = _write_items(step, events)
    coded = engine.keep(f"SELECT * EXCLUDE (title, price) FROM ({engine.sql(step.table('ready.items'))})")
    people = engine.keep(f"SELECT user_id, user_no, bucket FROM ({engine.sql(step.table('ready.users'))})")
    zone = settings.shop.timezone
    local = {
        name: local_sql(column, zone, span.first_ts, last_known)
        for name, column in {"ts": "e.ts", "known": "greatest(e.known_at, e.ts)"}.items()
    }
    joined = _joined(events, coded.get_name(), people.get_name(), local)
    means = engine.keep(_price_means(events, coded.get_name(), local))
    _write_chunks(step, joined, means.get_name(), coded.get_name(), span, settings.features.session_gap_min, progress)
    for table in (means, people, coded):
        engine.drop(table)
    log.info("ready: %d users, %d items, %d events, %.1f s", users, items, span.events, time.perf_counter() - start)
    return span


def sessions_sql(rows: str, gap_min: int) -> str:
    """`rows` with session_start and session_gap_s (seconds since the session's event before).

    Events with one session id of the source are a session while no more than a day passes between them, events without
    one while no more than `gap_min` do. So which session an event belongs to does not hang on the order in which they arrive.
    """
    return f"""
        SELECT * EXCLUDE (ts_before),
            CASE WHEN session_start THEN 0.0 ELSE date_diff('microsecond', ts_before, ts) / 1e6 END AS session_gap_s
        FROM (SELECT *, ts_before IS NULL OR ts - ts_before > (CASE WHEN session_id IS NULL THEN to_minutes({gap_min}) ELSE INTERVAL 1 DAY END) AS session_start
              FROM (SELECT *, lag(ts) OVER (PARTITION BY user_no, session_id ORDER BY ts, event_id) AS ts_before FROM {rows}))"""


def _measure(engine: Engine, seen: str, zone: str) -> Span:
    found = engine.rows(
        f"SELECT sum(events)::BIGINT AS n, count(*) AS users, min(first_ts) AS first, max(last_ts) AS last FROM {seen}"
    )[0]
    if not found["n"]:
        raise DefinitionError("features.no_events")
    first, last = found["first"], found["last"]
    return Span(found["n"], found["users"], local_day(first, zone), local_day(last, zone), first, last)


def _write_items(step: Step, events: str) -> int:
    """Writes ready.items: one row an item, met in events or listed, with whole-number codes in the order of the names."""
    engine = step.lake.engine
    listed = "SELECT NULL::VARCHAR AS item_id, NULL::VARCHAR AS title, NULL::VARCHAR AS category, NULL::VARCHAR AS brand, NULL::DOUBLE AS price WHERE FALSE"
    if step.has("clean.items"):
        listed = f"""
            SELECT item_id, {", ".join(f"arg_min({name}, rank) FILTER (WHERE {name} IS NOT NULL) AS {name}" for name in ("title", "category", "brand", "price"))}
            FROM (SELECT *, row_number() OVER (PARTITION BY item_id ORDER BY coalesce(third_party, FALSE), collected_at DESC, row_id) AS rank
                  FROM ({engine.sql(step.table("clean.items"))})) GROUP BY item_id"""
    levels = "string_split(category, ' > ')"
    return step.replace(
        "ready.items",
        f"""
        SELECT *, {", ".join(f"CASE WHEN {name} IS NOT NULL THEN dense_rank() OVER (ORDER BY {name} NULLS LAST) END::INTEGER AS {name}_no" for name in ("category", "category_top", "category_2", "brand"))}
        FROM (SELECT (row_number() OVER (ORDER BY item_id) - 1)::INTEGER AS item_no, item_id, title, category,
                nullif(trim({levels}[1]), '') AS category_top, nullif(array_to_string({levels}[1:2], ' > '), '') AS category_2, brand, price
              FROM ({listed}) AS l FULL JOIN (SELECT DISTINCT item_id FROM ({events}) WHERE item_id IS NOT NULL) AS e USING (item_id)
              WHERE item_id IS NOT NULL)
        ORDER BY item_no""",
    )


def _joined(events: str, items: str, people: str, local: dict[str, str]) -> str:
    """The canonical events with user and item numbers and local time."""
    return f"""
        SELECT u.bucket, u.user_no, e.user_id, e.event_id, e.event, {event_code_sql()} AS event_no,
            e.ts, greatest(e.known_at, e.ts) AS known_at, {local["ts"]} AS local_ts, local_ts::DATE AS day, ({local["known"]})::DATE AS known_day,
            e.session_id, i.item_no, i.category_no, e.order_id,
            {order_key_sql("day")} AS order_key,
            e.quantity, e.price, e.amount, e.discount, e.coupon_id, e.campaign_id, e.text, e.rating, e.channel, e.device,
            e.refund_of, e.refunded, e.visitor
        FROM ({events}) AS e JOIN {people} AS u USING (user_id) LEFT JOIN {items} AS i ON e.item_id = i.item_id"""


def _price_means(events: str, items: str, local: dict[str, str]) -> str:
    """category_no, day, mean: of the category's purchase prices that were known before that local day."""
    bought = f"""
        SELECT i.category_no, e.price, ({local["ts"]})::DATE AS day, ({local["known"]})::DATE AS known_day
        FROM ({events}) AS e JOIN {items} AS i ON e.item_id = i.item_id
        WHERE e.event = 'purchase' AND e.price > 0 AND i.category_no IS NOT NULL AND e.user_id IS NOT NULL"""
    return f"""
        WITH b AS (SELECT category_no, day, known_day, sum(price) AS total, count(*) AS n FROM ({bought}) GROUP BY ALL),
             t AS (SELECT category_no, day, sum(total) AS total, sum(n) AS n
                   FROM (SELECT category_no, known_day AS day, total, n FROM b UNION ALL SELECT category_no, day, 0, 0 FROM b) GROUP BY ALL)
        SELECT category_no, day, sum(total) OVER past / nullif(sum(n) OVER past, 0) AS mean FROM t
        WINDOW past AS (PARTITION BY category_no ORDER BY day RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL 1 DAY PRECEDING)"""


def _write_chunks(
    step: Step, joined: str, means: str, items: str, span: Span, gap_min: int, progress: Progress
) -> None:
    engine = step.lake.engine
    chunks = -(-span.events // CHUNK_EVENTS)
    with progress.task("build", "ready.events", chunks * 2 if chunks > 1 else 1) as advance:
        if chunks == 1:
            step.replace("ready.events", _chunk(joined, means, items, gap_min))
            advance(1)
            return
        folder = step.lake.folder / "tmp" / "ready"
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            _deal(engine, joined, folder, chunks)
            advance(chunks)
            write = step.replace
            for chunk in range(chunks):
                dealt = f"SELECT * FROM read_parquet({quote(str(folder / f'chunk={chunk}' / '*.parquet'))}, hive_partitioning = false)"
                write("ready.events", _chunk(dealt, means, items, gap_min))
                write = step.append
                advance(1)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _deal(engine: Engine, joined: str, folder: Path, chunks: int) -> None:
    """Writes the rows into one folder a chunk of buckets."""
    engine.run(
        f"COPY (SELECT *, bucket * {chunks} // {BUCKETS} AS chunk FROM ({joined})) TO {quote(str(folder))} "
        "(FORMAT parquet, COMPRESSION lz4, PARTITION_BY (chunk), ROW_GROUP_SIZE 61440)"
    )


def _chunk(joined: str, means: str, items: str, gap_min: int) -> str:
    """One chunk as it is stored: sessions and price ratio added, sorted, the item's names joined last (they are wide)."""
    numbered = sessions_sql(f"({joined})", gap_min)
    return f"""
        SELECT s.bucket, s.user_no, s.user_id, s.event_id, s.event, s.event_no, s.ts, s.known_at, s.day, s.known_day,
            hour(s.local_ts)::TINYINT AS hour, isodow(s.day)::TINYINT AS weekday, s.session_id, s.session_start, s.session_gap_s,
            i.item_id, s.item_no, i.category, i.category_top, i.category_2, i.brand,
            s.category_no, i.category_top_no, i.category_2_no, i.brand_no, s.order_id, s.order_key, s.quantity, s.price,
            s.amount, s.discount, s.price / m.mean AS price_ratio, s.coupon_id, s.campaign_id, s.text, s.rating, s.channel, s.device,
            s.refund_of, s.refunded, s.visitor
        FROM (SELECT * FROM ({numbered}) ORDER BY bucket, user_no, ts, event_id) AS s
        LEFT JOIN {items} AS i ON s.item_no = i.item_no
        LEFT JOIN {means} AS m ON m.category_no = s.category_no AND m.day = s.day AND s.event = 'purchase' AND s.price > 0"""


def last_complete_day(span: Span) -> date:
    """The as-of day when none is given: the local day after the last event."""
    return span.last + timedelta(days=1)
