"""What changed in the clean events since the last build, found without looking at the rows that did not.

Each id that events carry (their owner) has a count and a mark: the row hashes of its events, XORed. An owner whose count or mark
differs has changed. Where all that is new of it happened after everything its customer had, those rows are simply added
(*fresh*); else its customer is *stale*, and written anew. So are the customers on both sides of a link that moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from huaxiang.engine import Step
from huaxiang.identity.canonical import hashed_events
from huaxiang.identity.links import LINKS

Keep = Callable[[str], str]  # the result of a query as an engine table: its name


@dataclass(frozen=True)
class Changes:
    """Engine tables: `owners` (owner) that changed, `seen` (user_id, last_ts, …) as it was, `stale` (user_id).

    any_stale: whether there are any; since: no fresh row happened before it (None: there are none)
    """

    owners: str
    seen: str
    stale: str
    any_stale: bool
    since: datetime | None

    def rows(self, events: str) -> str:
        """SQL of the canonical events that are to be written: every one of a stale customer, of the others the fresh ones."""
        stale = f"SELECT e.* FROM ({events}) AS e SEMI JOIN {self.stale} USING (user_id)"
        if self.since is None:
            return stale
        # the moment is a filter of the scan; without it every column of every row would be unpacked
        fresh = _fresh("e.*", f"FROM ({events}) WHERE ts >= TIMESTAMP '{self.since}'", self.owners, self.seen)
        fresh = f"SELECT * FROM ({fresh}) ANTI JOIN {self.stale} USING (user_id)"
        return f"{stale} UNION ALL {fresh}" if self.any_stale else fresh


def find_changes(step: Step, events: str, seen: str, stale: str, keep: Keep) -> Changes:
    """The changes since the last build. events: SQL of the canonical events; stale: SQL of user_ids to be written anew anyway."""
    engine = step.lake.engine
    before = engine.sql(step.lake.table("ready.owners"))
    last = engine.value(f"SELECT max(last_ts) FROM {seen}")
    marked = "count(*) AS n, bit_xor(row_hash) AS mark"
    newer = f"count(*) FILTER (ts > TIMESTAMP '{last}') AS n_newer, bit_xor(row_hash) FILTER (ts > TIMESTAMP '{last}') AS mark_newer"
    now = (
        f"SELECT coalesce(user_id, anonymous_id) AS owner, {marked}, {newer} FROM ({hashed_events(step)}) GROUP BY ALL"
    )
    changed = keep(
        "SELECT owner, more, mark, more = coalesce(n_newer, 0) AND mark = coalesce(mark_newer, 0) AS newer FROM ("
        "SELECT owner, coalesce(a.n, 0) - coalesce(b.n, 0) AS more, xor(coalesce(a.mark, 0), coalesce(b.mark, 0)) AS mark, n_newer, mark_newer "
        f"FROM (FROM ({now}) WHERE owner IS NOT NULL) AS a "
        f"FULL JOIN (SELECT owner, sum(events)::BIGINT AS n, bit_xor(mark) AS mark FROM ({before}) GROUP BY owner) AS b USING (owner) "
        "WHERE a.n IS DISTINCT FROM b.n OR a.mark IS DISTINCT FROM b.mark)"
    )
    # Who has only events after the shop's last is known from this one look; the others are looked at row by row.
    others = keep(f"SELECT owner, more, mark FROM {changed} WHERE NOT newer")
    some = engine.value(f"SELECT count(*) FROM {others}") > 0
    fresh = keep(_fresh("e.owner, e.ts, e.row_hash", events if some else f"FROM ({events}) LIMIT 0", others, seen))
    loose = keep(
        f"SELECT owner FROM {others} AS c LEFT JOIN (SELECT owner, {marked} FROM {fresh} GROUP BY owner) AS f USING (owner) "
        "WHERE c.more <> coalesce(f.n, 0) OR c.mark <> coalesce(f.mark, 0)"
        f" UNION {_moved(step)}"
    )
    linked = " UNION ALL ".join(f"SELECT anonymous_id, user_id FROM ({links})" for links in _links(step))
    found = keep(
        f"SELECT owner AS user_id FROM {loose} UNION "
        f"SELECT user_id FROM ({linked}) WHERE anonymous_id IN (FROM {loose}) UNION {stale}"
    )
    since = f"(SELECT min(ts) FROM {fresh}), (SELECT min(TIMESTAMP '{last}') FROM {changed} WHERE newer)"
    any_stale = engine.value(f"SELECT count(*) FROM {found}") > 0
    return Changes(changed, seen, found, any_stale, engine.value(f"SELECT least({since})"))


def _fresh(columns: str, events: str, owners: str, seen: str) -> str:
    """SQL of the rows of changed owners that happened after everything their customer had."""
    return (
        f"SELECT {columns} FROM ({events}) AS e SEMI JOIN {owners} AS o ON e.owner = o.owner "
        f"LEFT JOIN {seen} AS s ON e.user_id = s.user_id WHERE (s.last_ts IS NULL OR e.ts > s.last_ts)"
    )


def _links(step: Step) -> tuple[str, str]:
    """SQL of the links now and as they were at the last build."""
    engine = step.lake.engine
    now = engine.sql(step.table(LINKS))
    return now, engine.sql(step.lake.table(LINKS)) if step.lake.has(LINKS) else f"SELECT * FROM ({now}) WHERE FALSE"


def _moved(step: Step) -> str:
    """SQL of the visitors whose links are not what they were."""
    now, before = _links(step)
    return f"SELECT anonymous_id AS owner FROM ((FROM ({now}) EXCEPT FROM ({before})) UNION ALL (FROM ({before}) EXCEPT FROM ({now})))"
