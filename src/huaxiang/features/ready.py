"""`ready.events`: the events as features read them, written whole; renew.py adds what came since.

One canonical user, the item's category and brand, the shop's local time, the session, and the price against the category's
mean *known before that day* are joined once here. Rows are sorted by bucket, user and time: a user's past lies together,
and a range of buckets is a slice of the files. Large shops are dealt into chunks of buckets first, so that memory is set by
the chunk and not by the shop.

What a later build needs to find what changed, and to go on from here, lies beside it:

    ready.owners       one row a user and id that their events carry: how many, a mark of their row hashes, first and last
    ready.prices       one row a category and day: the prices of the purchases that became known that day, added up
    ready.events_void  (part, user_no) of rows of ready.events that count no more; readers never see them (engine/lake.py)
    ready.fakes        rows of orders held fake, which ready.events does not hold (fakes.py)
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
from huaxiang.features.fakes import AROUND, KEPT_OUT, marked_sql
from huaxiang.features.items import LEVELS, items_sql, listing_sql
from huaxiang.features.users import BUCKETS, write_users
from huaxiang.features.zones import local_day, local_sql
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings

log = logging.getLogger(__name__)

CHUNK_EVENTS = 4_000_000  # 4 M: about 0.8 GB while sorted; bench/build.py
NO_VOID = "SELECT 0::SMALLINT AS part, 0::INTEGER AS user_no WHERE FALSE"
SEEN = "user_id, visitor, first_ts, last_ts, events"


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
    """Writes ready.users, ready.items, ready.events and ready.fakes from the canonical events `events` (SQL); gives what they cover.

    raises: DefinitionError where there is no event at all
    """
    engine, start = step.lake.engine, time.perf_counter()
    events = marked_sql(step, events, settings.shop.timezone)
    step.replace("ready.owners", owners_sql(f"({events})"))
    seen = engine.keep(seen_sql(engine.sql(step.table("ready.owners"))))
    span = measure_span(engine, seen.get_name(), settings.shop.timezone)
    users = write_users(step, settings, f"SELECT {SEEN} FROM {seen.get_name()}")
    local = local_times(engine, seen.get_name(), settings.shop.timezone)
    engine.drop(seen)
    met = f"SELECT DISTINCT item_id FROM ({events}) WHERE item_id IS NOT NULL AND user_id IS NOT NULL"
    items = step.replace("ready.items", items_sql(listing_sql(step), met))
    coded = engine.keep(coded_items(engine.sql(step.table("ready.items"))))
    people = engine.keep(f"SELECT user_id, user_no, bucket FROM ({engine.sql(step.table('ready.users'))})")
    joined = joined_sql(f"({events})", coded.get_name(), people.get_name(), local)
    prices = engine.keep(_prices(events, coded.get_name(), local))
    days = f"SELECT DISTINCT category_no, day FROM {prices.get_name()}"
    means = engine.keep(means_sql(f"SELECT category_no, known_day, total, n FROM {prices.get_name()}", days))
    step.replace("ready.prices", sum_prices(prices.get_name()))
    step.replace("ready.events_void", NO_VOID)
    gap_min, kept = settings.features.session_gap_min, f"SELECT * FROM ({joined}) WHERE NOT fake"
    _write_chunks(step, kept, means.get_name(), coded.get_name(), span, gap_min, progress)
    step.replace(KEPT_OUT, fakes_sql(joined, means.get_name(), coded.get_name(), gap_min))
    for table in (means, prices, people, coded):
        engine.drop(table)
    log.info("ready: %d users, %d items, %d events, %.1f s", users, items, span.events, time.perf_counter() - start)
    return span


def owners_sql(events: str) -> str:
    """SQL of ready.owners from canonical events (marked_sql). bare_ts: the last event without a session id of the source, but for fakes."""
    return f"""
        SELECT user_id, owner, count(*) AS events, bit_xor(row_hash) AS mark, bool_and(visitor) AS visitor, min(ts) AS first_ts,
            max(ts) AS last_ts, max(greatest(known_at, ts)) AS last_known, max(ts) FILTER (session_id IS NULL AND NOT fake) AS bare_ts
        FROM {events} WHERE user_id IS NOT NULL GROUP BY user_id, owner"""


def seen_sql(owners: str) -> str:
    """One row a user: what ready.owners says of all the ids their events carry."""
    return f"""
        SELECT user_id, bool_and(visitor) AS visitor, min(first_ts) AS first_ts, max(last_ts) AS last_ts,
            sum(events)::BIGINT AS events, max(last_known) AS last_known, max(bare_ts) AS bare_ts
        FROM ({owners}) GROUP BY user_id"""


def coded_items(items: str) -> str:
    """The columns of ready.items that events take over."""
    levels = ", ".join(f"{name}, {name}_no" for name in LEVELS)
    return f"SELECT item_no, item_id, {levels} FROM ({items})"


def local_times(engine: Engine, seen: str, zone: str) -> dict[str, str]:
    """SQL of the local time at which an event `e` happened (ts) and was known (known)."""
    first, last = engine.rows(f"SELECT min(first_ts) AS first, max(last_known) AS last FROM {seen}")[0].values()
    return {
        name: local_sql(column, zone, first, last)
        for name, column in {"ts": "e.ts", "known": "greatest(e.known_at, e.ts)"}.items()
    }


def sessions_sql(rows: str, gap_min: int, earlier: str = "", by: str = "user_no") -> str:
    """`rows` with session_start and session_gap_s (seconds since the session's event before, of one `by`).

    earlier: SQL of user_no, session_id and `earlier_ts`, the last event before those in `rows` ("": there are none)

    Events with one session id of the source are a session while no more than a day passes between them, events without
    one while no more than `gap_min` do. So which session an event belongs to does not hang on the order in which they arrive.
    """
    before = f"lag(ts) OVER (PARTITION BY {by}, session_id ORDER BY ts, event_id)"
    if earlier:
        rows = f"(SELECT r.*, b.earlier_ts FROM {rows} AS r LEFT JOIN ({earlier}) AS b ON r.user_no = b.user_no AND r.session_id IS NOT DISTINCT FROM b.session_id)"
        before = f"coalesce({before}, earlier_ts)"
    return f"""
        SELECT * EXCLUDE (ts_before),
            CASE WHEN session_start THEN 0.0 ELSE date_diff('microsecond', ts_before, ts) / 1e6 END AS session_gap_s
        FROM (SELECT *, ts_before IS NULL OR ts - ts_before > (CASE WHEN session_id IS NULL THEN to_minutes({gap_min}) ELSE INTERVAL 1 DAY END) AS session_start
              FROM (SELECT *, {before} AS ts_before FROM {rows}))"""


def measure_span(engine: Engine, seen: str, zone: str) -> Span:
    found = engine.rows(
        f"SELECT sum(events)::BIGINT AS n, count(*) AS users, min(first_ts) AS first, max(last_ts) AS last FROM {seen}"
    )[0]
    if not found["n"]:
        raise DefinitionError("features.no_events")
    first, last = found["first"], found["last"]
    return Span(found["n"], found["users"], local_day(first, zone), local_day(last, zone), first, last)


def joined_sql(events: str, items: str, people: str, local: dict[str, str]) -> str:
    """The canonical events (marked_sql) with user and item numbers and local time."""
    return f"""
        SELECT u.bucket, u.user_no, e.user_id, e.event_id, e.event, {event_code_sql()} AS event_no,
            e.ts, greatest(e.known_at, e.ts) AS known_at, {local["ts"]} AS local_ts, local_ts::DATE AS day, ({local["known"]})::DATE AS known_day,
            e.session_id, i.item_no, i.category_no, e.order_id,
            {order_key_sql("day")} AS order_key,
            e.quantity, e.price, e.amount, e.discount, e.coupon_id, e.campaign_id, e.text, e.rating, e.channel, e.device,
            e.refund_of, e.refunded, e.visitor, e.fake
        FROM {events} AS e JOIN {people} AS u USING (user_id) LEFT JOIN {items} AS i ON e.item_id = i.item_id"""


def _prices(events: str, items: str, local: dict[str, str]) -> str:
    """category_no, day, known_day, total, n: the prices of purchases, straight from the canonical events."""
    bought = f"""
        SELECT i.category_no, e.price, ({local["ts"]})::DATE AS day, ({local["known"]})::DATE AS known_day
        FROM ({events}) AS e JOIN {items} AS i ON e.item_id = i.item_id
        WHERE e.event = 'purchase' AND e.price > 0 AND i.category_no IS NOT NULL AND e.user_id IS NOT NULL AND NOT e.fake"""
    return (
        f"SELECT category_no, day, known_day, sum(price) AS total, count(*) AS n FROM ({bought}) "
        "GROUP BY category_no, day, known_day"
    )


def sum_prices(prices: str) -> str:
    """SQL of ready.prices: one row a category and day from `prices`, which has several; those without a purchase left out."""
    return (
        f"SELECT category_no, known_day, sum(total) AS total, sum(n)::BIGINT AS n FROM {prices} "
        "GROUP BY category_no, known_day HAVING sum(n) > 0"
    )


def means_sql(prices: str, days: str) -> str:
    """category_no, day, mean: of the category's purchase prices that were known before that local day.

    prices: SQL of category_no, known_day, total, n; days: SQL of the category_no and day that are asked for
    """
    return f"""
        WITH t AS (SELECT category_no, day, sum(total) AS total, sum(n) AS n
                   FROM (SELECT category_no, known_day AS day, total, n FROM ({prices}) UNION ALL SELECT category_no, day, 0, 0 FROM ({days}))
                   GROUP BY category_no, day)
        SELECT category_no, day, sum(total) OVER past / nullif(sum(n) OVER past, 0) AS mean FROM t
        WINDOW past AS (PARTITION BY category_no ORDER BY day RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL 1 DAY PRECEDING)"""


def _write_chunks(
    step: Step, joined: str, means: str, items: str, span: Span, gap_min: int, progress: Progress
) -> None:
    engine = step.lake.engine
    chunks = -(-span.events // CHUNK_EVENTS)
    with progress.task("build", "ready.events", chunks * 2 if chunks > 1 else 1) as advance:
        if chunks == 1:
            step.replace("ready.events", chunk_sql(joined, means, items, gap_min))
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
                write("ready.events", chunk_sql(dealt, means, items, gap_min))
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


def chunk_sql(joined: str, means: str, items: str, gap_min: int, *, part: int = 0, earlier: str = "") -> str:
    """One chunk as it is stored: sessions and price ratio added, sorted, the item's names joined last (they are wide).

    part: 0 what a full build wrote, then one for each build that added rows; earlier: as for `sessions_sql`
    """
    numbered = sessions_sql(f"({joined})", gap_min, earlier)
    return f"""
        SELECT s.bucket, s.user_no, s.user_id, s.event_id, s.event, s.event_no, s.ts, s.known_at, s.day, s.known_day,
            hour(s.local_ts)::TINYINT AS hour, isodow(s.day)::TINYINT AS weekday, s.session_id, s.session_start, s.session_gap_s,
            i.item_id, s.item_no, i.category, i.category_top, i.category_2, i.brand,
            s.category_no, i.category_top_no, i.category_2_no, i.brand_no, s.order_id, s.order_key, s.quantity, s.price,
            s.amount, s.discount, s.price / m.mean AS price_ratio, s.coupon_id, s.campaign_id, s.text, s.rating, s.channel, s.device,
            s.refund_of, s.refunded, s.visitor, {part}::SMALLINT AS part
        FROM (SELECT * FROM ({numbered}) ORDER BY bucket, user_no, ts, event_id) AS s
        LEFT JOIN {items} AS i ON s.item_no = i.item_no
        LEFT JOIN {means} AS m ON m.category_no = s.category_no AND m.day = s.day AND s.event = 'purchase' AND s.price > 0"""


def fakes_sql(joined: str, means: str, items: str, gap_min: int) -> str:
    """SQL of ready.fakes: the rows of `joined` that are fake, without what the events around them say."""
    rows = chunk_sql(f"SELECT * FROM ({joined}) WHERE fake", means, items, gap_min)
    return f"SELECT * EXCLUDE ({', '.join(AROUND)}) FROM ({rows})"


def last_complete_day(span: Span) -> date:
    """The as-of day when none is given: the local day after the last event."""
    return span.last + timedelta(days=1)
