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

    since: the first moment of a fresh row (None: there are none)
    """

    owners: str
    seen: str
    stale: str
    since: datetime | None

    def rows(self, events: str) -> str:
        """SQL of the canonical events that are to be written: every one of a stale customer, of the others the fresh ones."""
        stale = f"SELECT e.* FROM ({events}) AS e SEMI JOIN {self.stale} USING (user_id)"
        if self.since is None:
            return stale
        fresh = _fresh("e.*", events, self.owners, self.seen)
        return f"{stale} UNION ALL SELECT * FROM ({fresh} AND e.ts >= TIMESTAMP '{self.since}') ANTI JOIN {self.stale} USING (user_id)"


def find_changes(step: Step, events: str, seen: str, stale: str, keep: Keep) -> Changes:
    """The changes since the last build. events: SQL of the canonical events; stale: SQL of user_ids to be written anew anyway."""
    engine = step.lake.engine
    before = engine.sql(step.lake.table("ready.owners"))
    now = f"SELECT coalesce(user_id, anonymous_id) AS owner, count(*) AS n, bit_xor(row_hash) AS mark FROM ({hashed_events(step)}) GROUP BY ALL"
    changed = keep(
        f"SELECT owner, coalesce(a.n, 0) - coalesce(b.n, 0) AS more, xor(coalesce(a.mark, 0), coalesce(b.mark, 0)) AS mark "
        f"FROM (FROM ({now}) WHERE owner IS NOT NULL) AS a "
        f"FULL JOIN (SELECT owner, sum(events)::BIGINT AS n, bit_xor(mark) AS mark FROM ({before}) GROUP BY owner) AS b USING (owner) "
        "WHERE a.n IS DISTINCT FROM b.n OR a.mark IS DISTINCT FROM b.mark"
    )
    fresh = keep(_fresh("e.owner, e.ts, e.row_hash", events, changed, seen))
    loose = keep(
        f"SELECT owner FROM {changed} AS c LEFT JOIN "
        f"(SELECT owner, count(*) AS n, bit_xor(row_hash) AS mark FROM {fresh} GROUP BY owner) AS f USING (owner) "
        "WHERE c.more <> coalesce(f.n, 0) OR c.mark <> coalesce(f.mark, 0)"
        f" UNION {_moved(step)}"
    )
    linked = " UNION ALL ".join(f"SELECT anonymous_id, user_id FROM ({links})" for links in _links(step))
    found = keep(
        f"SELECT owner AS user_id FROM {loose} UNION "
        f"SELECT user_id FROM ({linked}) WHERE anonymous_id IN (FROM {loose}) UNION {stale}"
    )
    return Changes(changed, seen, found, engine.value(f"SELECT min(ts) FROM {fresh}"))


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
