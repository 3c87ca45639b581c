"""The ledger of links: which visitor turned out to be which user, since when, and by what rule.

    anonymous_id, user_id, since (when the two were seen together), known_at (when we learned of it), rule, source

A visitor seen with several users (a shared computer) has a row each time the user changes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from huaxiang.engine import Engine, Step
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings

log = logging.getLogger(__name__)

LINKS = "identity.links"
ALIAS = (
    "alias"  # the rule of a link that says of an id, a visitor's or a user's, that it was an earlier one of that user
)
_MERGED = pa.schema([("user_id", pa.string()), ("final", pa.string()), ("merged_at", pa.timestamp("us"))])
# Identifiers that many people share say nothing of who is who.
SHARED_KINDS = ("ip", "wifi", "address", "city")
NO_LINKS = (
    "SELECT ''::VARCHAR AS anonymous_id, ''::VARCHAR AS user_id, TIMESTAMP '2000-01-01' AS since, "
    "TIMESTAMP '2000-01-01' AS known_at, ''::VARCHAR AS rule, ''::VARCHAR AS source WHERE false"
)


@dataclass(frozen=True)
class IdentityReport:
    """visitors: anonymous ids seen; joined: of them, linked to a user; shared: linked to several users in turn."""

    visitors: int = 0
    joined: int = 0
    shared: int = 0
    links: int = 0
    seconds: float = 0.0


def link_users(step: Step, settings: Settings, *, progress: Progress = SILENT) -> IdentityReport:
    """What joining found; writes `identity.links` from the clean events and identifiers."""
    start, engine = time.perf_counter(), step.lake.engine
    with progress.task("identity", "links"):
        events = engine.sql(step.table("clean.events"))
        seen = engine.value(f"SELECT count(*) FROM ({events}) WHERE anonymous_id IS NOT NULL")
        identifiers = engine.sql(step.table("clean.identifiers")) if step.rows("clean.identifiers") else None
        facts = ([_logins(events)] if seen else []) + (
            [_declared(identifiers), _shared(identifiers)] if identifiers else []
        )
        links = step.replace(LINKS, _turns(" UNION ALL ".join(facts)) if facts else NO_LINKS)
        report = _count(step, events, links) if seen or links else IdentityReport()
    seconds = round(time.perf_counter() - start, 2)
    step.note["identity"] = {
        "visitors": report.visitors,
        "joined": report.joined,
        "shared": report.shared,
        "links": links,
    }
    log.info(
        "identity: %d visitors in, %d joined, %d links out, %.1f s", report.visitors, report.joined, links, seconds
    )
    return IdentityReport(report.visitors, report.joined, report.shared, links, seconds)


def _logins(events: str) -> str:
    """Events that carry both ids. One row a visitor and user where the visitor has one user, every sighting where it has several."""
    both = f"SELECT anonymous_id, user_id, ts, received_at, source FROM ({events}) WHERE anonymous_id IS NOT NULL AND user_id IS NOT NULL"
    several = f"SELECT anonymous_id FROM ({both}) GROUP BY anonymous_id HAVING min(user_id) <> max(user_id)"
    first = "min(ts) AS since, arg_min(received_at, (ts, received_at)) AS known_at, 'login' AS rule, arg_min(source, (ts, source)) AS source"
    return (
        f"SELECT anonymous_id, user_id, {first} FROM ({both}) WHERE anonymous_id NOT IN ({several}) GROUP BY anonymous_id, user_id "
        f"UNION ALL SELECT anonymous_id, user_id, ts AS since, received_at AS known_at, 'login' AS rule, source "
        f"FROM ({both}) WHERE anonymous_id IN ({several})"
    )


def _declared(identifiers: str) -> str:
    """Identifier rows that name both ids."""
    return (
        "SELECT anonymous_id, user_id, coalesce(ts, collected_at) AS since, coalesce(ts, collected_at) AS known_at, "
        f"CASE lower(kind) WHEN '{ALIAS}' THEN '{ALIAS}' ELSE 'declared' END AS rule, source FROM ({identifiers}) WHERE anonymous_id IS NOT NULL AND user_id IS NOT NULL"
    )


def final_of(user: str, after: Callable[[str], str | None]) -> str:
    """The user that an id is an earlier one of: at the end of the chain of aliases; of a ring the first by name.

    after: the user that an id is said to be an earlier one of, by the last word (None: of nobody)
    """
    met = [user]
    while (new := after(met[-1])) is not None:
        if new in met:
            return min(met[met.index(new) :])
        met.append(new)
    return met[-1]


def find_merged(aliases: Iterable[tuple[str, str, datetime, datetime]]) -> pa.Table:
    """user_id, final, merged_at of ids that are another user's earlier ones. aliases: id, user, since, known_at of links of that rule"""
    last: dict[str, tuple[datetime, str, datetime]] = {}
    for old, new, since, known_at in aliases:
        last[old] = max(last.get(old, (since, new, known_at)), (since, new, known_at))
    rows = []
    for old in sorted(last):
        final = final_of(old, lambda name: last[name][1] if name in last else None)
        if final != old:
            rows.append({"user_id": old, "final": final, "merged_at": last[old][2]})
    return pa.Table.from_pylist(rows, _MERGED)


def merged_table(engine: Engine, links: str) -> str:
    """As find_merged, from the ledger (SQL): an engine table's name ("": nobody is)."""
    sql = f"SELECT anonymous_id, user_id, since, known_at FROM ({links}) WHERE rule = '{ALIAS}'"
    found = find_merged(tuple(row.values()) for row in engine.rows(sql))
    if not found.num_rows:
        return ""
    loaded = engine.load(found)
    name = engine.store(f"SELECT * FROM {loaded.get_name()}")
    engine.drop(loaded)
    return name


def _shared(identifiers: str) -> str:
    """A visitor and a user seen with the same identifier, where that identifier has one user only."""
    kinds = ", ".join(f"'{kind}'" for kind in SHARED_KINDS)
    at = "coalesce(ts, collected_at)"
    owners = (
        f"SELECT kind, value, min(user_id) AS user_id, min({at}) AS moment FROM ({identifiers}) "
        f"WHERE user_id IS NOT NULL AND lower(kind) NOT IN ({kinds}) GROUP BY kind, value HAVING min(user_id) = max(user_id)"
    )
    return (
        "SELECT i.anonymous_id, o.user_id, greatest(i.moment, o.moment) AS since, greatest(i.moment, o.moment) AS known_at, "
        f"'shared_' || lower(kind) AS rule, i.source FROM (SELECT *, {at} AS moment FROM ({identifiers})) i JOIN ({owners}) o USING (kind, value) "
        "WHERE i.anonymous_id IS NOT NULL AND i.user_id IS NULL"
    )


def _turns(facts: str) -> str:
    """The facts at which a visitor's user is another than before."""
    order = "PARTITION BY anonymous_id ORDER BY since, user_id, rule, known_at, source"
    return (
        "SELECT anonymous_id, user_id, since, known_at, rule, source FROM ("
        f"SELECT *, lag(user_id) OVER ({order}) AS earlier FROM ({facts})) WHERE earlier IS DISTINCT FROM user_id"
    )


def _count(step: Step, events: str, links: int) -> IdentityReport:
    engine = step.lake.engine
    ledger = engine.sql(step.table(LINKS))
    visitors = engine.value(f"SELECT count(DISTINCT anonymous_id) FROM ({events})")
    found = engine.rows(
        f"SELECT count(*) AS joined, count(*) FILTER (users > 1) AS shared FROM "
        f"(SELECT anonymous_id, count(DISTINCT user_id) AS users FROM ({ledger}) GROUP BY anonymous_id)"
    )[0]
    return IdentityReport(visitors, found["joined"], found["shared"], links)
