"""The ready tables brought up to date: only what new or changed events touch is written.

New events of a customer whose past stands are appended to ready.events as a part of their own; a customer whose past changed
is written anew in that part, and the old rows are void. The past is not only a customer's own: a category of an item, and the
mean price of a category on a day, are read by others too, so whoever met them becomes stale with them. So does whoever has an order
that is held fake since, or no more.

When void rows are VOID_SHARE of the table or there are more than PARTS parts, everything that counts is written anew, sorted
(10 M rows: about a fifth of a full build). When more than STALE_SHARE of the events belong to stale customers, a full build
is no dearer, and is made instead.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from huaxiang.engine import Step
from huaxiang.features.changes import Changes, Keep, find_changes
from huaxiang.features.fakes import KEPT_OUT, marked_sql, moved_sql
from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.items import LEVELS, items_sql, listing_sql
from huaxiang.features.ready import (
    CHUNK_EVENTS,
    NO_VOID,
    SEEN,
    Span,
    chunk_sql,
    coded_items,
    fakes_sql,
    joined_sql,
    local_times,
    means_sql,
    measure_span,
    owners_sql,
    seen_sql,
    sum_prices,
    write_ready,
)
from huaxiang.features.users import BUCKETS, write_users
from huaxiang.features.zones import local_day
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings

log = logging.getLogger(__name__)

FORMAT = 2  # raise when the meaning of a ready table changes: the next build is then a full one
PARTS = 32
VOID_SHARE = 0.2
STALE_SHARE = 0.4
NEEDED = (
    "ready.events",
    "ready.events_void",
    KEPT_OUT,
    "ready.users",
    "ready.items",
    "ready.owners",
    "ready.prices",
    "identity.links",
)
# What of a row features do not read: a change of it leaves the training rows as they are.
UNREAD = ("refund_of", "refunded", "known_at", "part", "price_ratio")


@dataclass(frozen=True)
class Renewal:
    """What became of the ready tables.

    full: why they were written whole ("": they were not), a key of words/features.toml
    touched: customers with rows written; rows: rows written; gone: customers there are no more
    restated: engine table of user_no, since: whose past, as known before a day after `since`, is another than at the last build
    """

    span: Span
    full: str = ""
    touched: int = 0
    rows: int = 0
    gone: int = 0
    restated: str = ""


def renew_ready(
    step: Step, settings: Settings, events: str, *, full: bool = False, progress: Progress = SILENT
) -> Renewal:
    """Writes ready.users, ready.items and ready.events from the canonical events `events` (SQL): what changed, or all.

    raises: DefinitionError where there is no event at all
    """
    start = time.perf_counter()
    note = basis(settings)
    why = "asked" if full else _why_full(step, note)
    if not why:
        found = _Update(step, settings, events).run()
        if isinstance(found, Renewal):
            log.info(
                "ready: incremental, %d users touched, %d events written, %.1f s",
                found.touched, found.rows, time.perf_counter() - start,
            )  # fmt: skip
            return found
        why = found
    log.info("ready: written whole (%s)", why)
    span = write_ready(step, settings, events, progress=progress)
    step.note["ready"] = note | {"parts": 1}
    return Renewal(span, why, span.users, span.events)


def basis(settings: Settings) -> dict[str, Any]:
    """What the ready tables hang on beside the clean tables."""
    from huaxiang import __version__

    return {
        "version": f"{__version__} {FORMAT}",
        "timezone": settings.shop.timezone,
        "session_gap_min": settings.features.session_gap_min,
    }


def _why_full(step: Step, note: dict[str, Any]) -> str:
    """Why the ready tables cannot be brought up to date ("": they can)."""
    before = step.lake.note("build").get("ready")
    if before is None or not all(step.lake.has(name) for name in NEEDED):
        return "first"
    return next((name for name, value in note.items() if before.get(name) != value), "")


class _Update:
    """One update; `keep` makes engine tables that are dropped at its end."""

    def __init__(self, step: Step, settings: Settings, events: str) -> None:
        self.step, self.settings, self.events = step, settings, events
        self.engine = step.lake.engine
        self.old = {name: self.engine.sql(step.lake.table(name)) for name in NEEDED}
        self.parts = int(step.lake.note("build")["ready"]["parts"])
        self.stack = ExitStack()
        self.keep: Keep = self._keep

    def _keep(self, sql: str) -> str:
        table = self.engine.store(sql)
        self.stack.callback(self.engine.drop, table)
        return table

    def now(self, name: str) -> str:
        return self.engine.sql(self.step.table(name))

    def count(self, sql: str) -> int:
        return int(self.engine.value(f"SELECT count(*) FROM {sql}") or 0)

    def run(self) -> Renewal | str:
        """The renewal, or why it must be a full one; nothing is written then."""
        with self.stack:
            listing = self.keep(listing_sql(self.step))
            self.seen = self.keep(seen_sql(self.old["ready.owners"]))
            anyway = f"{self._met_changed_items(listing)} UNION {moved_sql(self.step)}"
            changes = find_changes(self.step, self.events, self.seen, anyway, self.keep)
            if self._are_many(changes.stale):
                return "much"
            rows = self._rows(changes)
            met = f"SELECT item_id FROM ({self.old['ready.items']}) UNION SELECT item_id FROM {rows} WHERE item_id IS NOT NULL"
            items = self.keep(items_sql(listing, met, self.old["ready.items"]))
            local = self._local(rows)
            prices = self._price_changes(rows, items, local, changes.stale)
            if affected := self._met_changed_prices(prices, changes.stale):
                stale = self.keep(f"FROM {changes.stale} UNION FROM {affected}")
                changes = replace(changes, stale=stale, any_stale=True)
                if self._are_many(changes.stale):
                    return "much"
                rows = self._rows(changes)
            return self._write(changes, rows, items, prices, local)

    def _rows(self, changes: Changes) -> str:
        return self.keep(marked_sql(self.step, changes.rows(self.events), self.settings.shop.timezone))

    # ---- who is touched -------------------------------------------------------------------------------------------

    def _met_changed_items(self, listing: str) -> str:
        """SQL of the user_ids with an event on an item whose category or brand is another now."""
        changed = self.keep(
            f"SELECT item_no FROM ({self.old['ready.items']}) AS i LEFT JOIN {listing} AS l USING (item_id) "
            "WHERE i.category IS DISTINCT FROM l.category OR i.brand IS DISTINCT FROM l.brand"
        )
        if not self.count(changed):
            return "SELECT NULL::VARCHAR AS user_id WHERE FALSE"
        met = f"SELECT user_id, item_no FROM ({self.old['ready.events']}) UNION ALL SELECT user_id, item_no FROM ({self.old[KEPT_OUT]})"
        return f"SELECT DISTINCT user_id FROM ({met}) SEMI JOIN {changed} USING (item_no)"

    def _numbers(self, stale: str) -> str:
        """Table of the numbers that stale customers have in the old rows."""
        return self.keep(f"SELECT user_no FROM ({self.old['ready.users']}) SEMI JOIN {stale} USING (user_id)")

    def _price_changes(self, rows: str, items: str, local: dict[str, str], stale: str) -> str:
        """Table of category_no, known_day, total, n: what is to be added to ready.prices; days that stand are left out."""
        new = f"""
            SELECT i.category_no, ({local["known"]})::DATE AS known_day, e.price, 1 AS sign
            FROM {rows} AS e JOIN {items} AS i ON e.item_id = i.item_id
            WHERE e.event = 'purchase' AND e.price > 0 AND i.category_no IS NOT NULL AND NOT e.fake"""
        old = f"SELECT category_no, known_day, price, -1 AS sign FROM ({self.old['ready.events']}) SEMI JOIN {self._numbers(stale)} USING (user_no) WHERE event_no = {EVENT_CODES['purchase']} AND price > 0 AND category_no IS NOT NULL"
        # the hashes tell the same prices in another order, which add up to the same but for the last digits, from others
        return self.keep(
            f"SELECT category_no, known_day, sum(sign * price) AS total, sum(sign)::BIGINT AS n FROM ({new} UNION ALL {old}) "
            "GROUP BY category_no, known_day HAVING sum(sign) <> 0 OR sum(sign * (hash(price) >> 1)::HUGEINT) <> 0"
        )

    def _met_changed_prices(self, prices: str, stale: str) -> str:
        """Table of the further user_ids with a purchase that is compared with a mean that changed ("": there are none)."""
        last = self.engine.value(f"SELECT max(last_ts) FROM {self.seen}")
        first = self.engine.value(f"SELECT min(known_day) FROM {prices}")
        if first is None or first >= local_day(last, self.settings.shop.timezone):
            return ""
        found = self.keep(
            f"SELECT DISTINCT user_id FROM ({self.old['ready.events']}) AS e "
            f"JOIN (SELECT category_no, min(known_day) AS since FROM {prices} GROUP BY category_no) AS p USING (category_no) "
            f"WHERE e.event_no = {EVENT_CODES['purchase']} AND e.price > 0 AND e.day > p.since AND e.user_id NOT IN (FROM {stale})"
        )
        return found if self.count(found) else ""

    def _are_many(self, stale: str) -> bool:
        found = self.engine.rows(
            f"SELECT sum(events)::DOUBLE AS every, coalesce(sum(events) FILTER (user_id IN (FROM {stale})), 0)::DOUBLE AS stale FROM {self.seen}"
        )[0]
        return bool(found["stale"] > STALE_SHARE * found["every"])

    def _local(self, rows: str) -> dict[str, str]:
        both = f"SELECT first_ts, last_known FROM {self.seen} UNION ALL SELECT min(ts), max(greatest(known_at, ts)) FROM {rows}"
        return local_times(self.engine, f"({both})", self.settings.shop.timezone)

    # ---- writing --------------------------------------------------------------------------------------------------

    def _write(self, changes: Changes, rows: str, items: str, prices: str, local: dict[str, str]) -> Renewal:
        step, stale = self.step, changes.stale
        owners = f"SELECT * FROM ({self.old['ready.owners']}) ANTI JOIN {stale} USING (user_id) UNION ALL BY NAME ({owners_sql(rows)})"
        step.replace(
            "ready.owners",
            "SELECT user_id, owner, sum(events)::BIGINT AS events, bit_xor(mark) AS mark, bool_and(visitor) AS visitor, min(first_ts) AS first_ts, "
            f"max(last_ts) AS last_ts, max(last_known) AS last_known, max(bare_ts) AS bare_ts FROM ({owners}) GROUP BY user_id, owner",
        )
        seen = self.keep(seen_sql(self.now("ready.owners")))
        span = measure_span(self.engine, seen, self.settings.shop.timezone)
        write_users(step, self.settings, f"SELECT {SEEN} FROM {seen}", self.old["ready.users"])
        people = self.keep(f"SELECT user_id, user_no, bucket FROM ({self.now('ready.users')})")
        old_nos = self._numbers(stale)
        step.replace(
            "ready.prices",
            sum_prices(
                f"(FROM ({self.old['ready.prices']}) UNION ALL BY NAME SELECT category_no, known_day, total, n FROM {prices})"
            ),
        )
        written = self._append(changes, rows, items, people, old_nos, local)
        step.replace("ready.items", self._without_gone(items, changes))
        restated = self._restated(people, stale, old_nos, written)
        touched = self.count(
            f"(SELECT user_id FROM {rows} UNION SELECT user_id FROM {self.seen} SEMI JOIN {stale} USING (user_id))"
        )
        count = span.events - step.rows(KEPT_OUT)
        if self.parts > PARTS or step.rows("ready.events") - count > VOID_SHARE * count:
            self._compact(span)
        step.note["ready"] = basis(self.settings) | {"parts": self.parts}
        gone = self.count(f"({self.old['ready.users']}) ANTI JOIN {people} USING (user_id)")
        return Renewal(span, "", touched, written, gone, restated)

    def _append(self, changes: Changes, rows: str, items: str, people: str, old_nos: str, local: dict[str, str]) -> int:
        """Makes the old rows of stale customers void and adds `rows` as a part, or to ready.fakes; gives the rows added to ready.events."""
        step, stale = self.step, changes.stale
        if self.count(old_nos):
            step.append(
                "ready.events_void",
                f"SELECT DISTINCT part, user_no FROM ({self.old['ready.events']}) SEMI JOIN {old_nos} USING (user_no)",
            )
        fakes = f"SELECT * FROM ({self.old[KEPT_OUT]}) ANTI JOIN {stale} USING (user_id)"
        if not self.count(rows):
            step.replace(KEPT_OUT, fakes)
            return 0
        coded = self.keep(coded_items(f"FROM {items}"))
        joined = self.keep(joined_sql(rows, coded, people, local))
        days = f"SELECT DISTINCT category_no, day FROM {joined} WHERE event = 'purchase' AND price > 0 AND category_no IS NOT NULL"
        means = self.keep(means_sql(self.now("ready.prices"), days))
        earlier = (
            f"SELECT p.user_no, NULL::VARCHAR AS session_id, s.bare_ts AS earlier_ts FROM {self.seen} AS s JOIN {people} AS p USING (user_id) "
            f"ANTI JOIN {stale} AS t ON s.user_id = t.user_id WHERE s.bare_ts IS NOT NULL"
        )
        going_on = f"SELECT DISTINCT user_no, session_id FROM {joined} ANTI JOIN {stale} USING (user_id) WHERE session_id IS NOT NULL"
        if self.count(f"({going_on})"):
            earlier += (
                f" UNION ALL SELECT user_no, session_id, max(ts) FROM ({self.old['ready.events']}) "
                f"SEMI JOIN ({going_on}) USING (user_no, session_id) GROUP BY user_no, session_id"
            )
        gap_min = self.settings.features.session_gap_min
        step.replace(KEPT_OUT, f"{fakes} UNION ALL BY NAME ({fakes_sql(f'FROM {joined}', means, coded, gap_min)})")
        kept = f"FROM {joined} WHERE NOT fake"
        written = step.append("ready.events", chunk_sql(kept, means, coded, gap_min, part=self.parts, earlier=earlier))
        self.parts += 1
        return written

    def _without_gone(self, items: str, changes: Changes) -> str:
        """SQL of ready.items: an item that is neither listed nor met in an event any more is left out."""
        lost = f"SELECT item_id FROM ({self.old['ready.items']}) AS o JOIN {items} AS i USING (item_id) WHERE o.listed AND NOT i.listed"
        if not self.count(changes.stale) and not self.count(f"({lost})"):
            return f"FROM {items} ORDER BY item_no"
        met = f"SELECT item_no FROM ({self.now('ready.events')}) UNION SELECT item_no FROM ({self.now(KEPT_OUT)})"
        return f"FROM {items} WHERE listed OR item_no IN ({met}) ORDER BY item_no"

    def _restated(self, people: str, stale: str, old_nos: str, written: int) -> str:
        """See Renewal. Of a stale customer only what really differs counts."""
        rows = self.now("ready.events")
        skipped = {*UNREAD, *(f"{level}_no" for level in LEVELS), "item_no"}
        read = [name for name in self.step.table("ready.events").columns if name not in skipped]
        hashed = f"user_no, known_day, hash({', '.join(read)}, round(price_ratio, 9)) AS mark"
        part = self.parts - 1 if written else -1
        fresh = f"SELECT user_no, known_day FROM ({rows}) WHERE part = {part} AND user_no NOT IN (FROM {old_nos})"
        old = f"SELECT {hashed} FROM ({self.old['ready.events']}) SEMI JOIN {old_nos} USING (user_no)"
        new = f"SELECT {hashed} FROM ({rows}) SEMI JOIN {old_nos} USING (user_no) WHERE part = {part}"
        differing = (
            f" UNION ALL SELECT user_no, known_day FROM ((({old}) EXCEPT ALL ({new})) UNION ALL (({new}) EXCEPT ALL ({old})))"
            if self.count(old_nos)
            else ""
        )
        registered = (
            f"SELECT n.user_no, DATE '0001-01-01' FROM ({self.now('ready.users')}) AS n JOIN ({self.old['ready.users']}) AS o USING (user_id) "
            "WHERE n.registered_at IS DISTINCT FROM o.registered_at"
        )
        return self.engine.store(
            f"SELECT user_no, min(known_day) AS since FROM ({fresh}{differing} UNION ALL {registered}) GROUP BY user_no"
        )

    def _compact(self, span: Span) -> None:
        """Writes the rows of ready.events that count anew, sorted."""
        rows = self.now("ready.events")
        chunks = -(-span.events // CHUNK_EVENTS)
        write = self.step.replace
        for chunk in range(chunks):
            low, high = BUCKETS * chunk // chunks, BUCKETS * (chunk + 1) // chunks
            write(
                "ready.events",
                f"SELECT * REPLACE (0::SMALLINT AS part) FROM ({rows}) WHERE bucket >= {low} AND bucket < {high} ORDER BY bucket, user_no, ts, event_id",
            )
            write = self.step.append
        self.step.replace("ready.events_void", NO_VOID)
        self.parts = 1
        log.info("ready: %d events written anew, sorted", span.events)
