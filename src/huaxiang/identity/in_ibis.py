"""Identity as Ibis expressions, for Spark: the ledger of links and the events under one user id, as links.py and canonical.py make them.

What is known to be someone's takes no part in the joins: on a cluster all rows with the same (or no) visitor meet on one executor.
"""

from __future__ import annotations

import ibis

from huaxiang.identity.links import ALIAS, SHARED_KINDS

LEDGER = ("anonymous_id", "user_id", "since", "known_at", "rule", "source")


def link_users(events: ibis.Table, identifiers: ibis.Table | None) -> ibis.Table:
    """The ledger (LEDGER) from clean events and identifiers: a row each time a visitor's user changes."""
    facts = _logins(events)
    if identifiers is not None:
        facts = facts.union(_declared(identifiers)).union(_shared(identifiers))
    order = [facts[name] for name in ("since", "user_id", "rule", "known_at", "source")]
    earlier = facts.user_id.lag().over(ibis.window(group_by=facts.anonymous_id, order_by=order))
    turned = facts.mutate(earlier=earlier)
    return turned.filter(turned.earlier.isnull() | (turned.earlier != turned.user_id)).select(*LEDGER)


def canonical_events(events: ibis.Table, links: ibis.Table | None, merged: ibis.Table | None = None) -> ibis.Table:
    """Every clean event once, `user_id` canonical, plus `known_at` and `visitor` (see canonical.py). merged: as links.find_merged"""
    events = events.mutate(received_at=events.received_at.coalesce(events.ts))
    theirs = events.filter(events.user_id.notnull()).mutate(known_at=events.received_at, visitor=False)
    nobodys = events.filter(events.user_id.isnull())
    if links is None:
        mine = nobodys.mutate(user_id=nobodys.anonymous_id, known_at=nobodys.received_at, visitor=True)
        return theirs.union(mine.select(*theirs.columns))
    holds = _holds(links)
    found = nobodys.left_join(
        holds,
        [
            nobodys.anonymous_id == holds.linked_id,
            holds.low.isnull() | (nobodys.ts >= holds.low),
            holds.high.isnull() | (nobodys.ts < holds.high),
        ],
    )
    mine = found.mutate(
        user_id=found.linked_user.coalesce(found.anonymous_id),
        known_at=ibis.greatest(found.received_at, found.linked_at.coalesce(found.received_at)),
        visitor=found.linked_user.isnull(),
    )
    every = theirs.union(mine.select(*theirs.columns))
    return every if merged is None else _with_merged(every, merged)


def _with_merged(events: ibis.Table, merged: ibis.Table) -> ibis.Table:
    """The events with earlier ids replaced. merged: as links.find_merged"""
    told = merged.select(old="user_id", new="final", merged_at="merged_at")
    moved = events.left_join(told, events.user_id == told.old)
    return moved.mutate(
        user_id=moved.new.coalesce(moved.user_id),
        known_at=ibis.greatest(moved.known_at, moved.merged_at.coalesce(moved.known_at)),
    ).select(*events.columns)


def _holds(links: ibis.Table) -> ibis.Table:
    """Each link from its moment to the next one's; the first also for all time before (low, high: NULL is no limit)."""
    turns = ibis.window(group_by=links.anonymous_id, order_by=[links.since, links.user_id])
    return links.select(
        linked_id=links.anonymous_id,
        linked_user=links.user_id,
        linked_at=links.known_at,
        low=ibis.ifelse(ibis.row_number().over(turns) == 0, ibis.null("timestamp"), links.since),
        high=links.since.lead().over(turns),
    )


def _logins(events: ibis.Table) -> ibis.Table:
    """Events that carry both ids: one row a visitor and user where the visitor has one user, every sighting where it has several."""
    both = events.filter(events.anonymous_id.notnull() & events.user_id.notnull())
    both = both.mutate(received_at=both.received_at.coalesce(both.ts))
    visitor = ibis.window(group_by=both.anonymous_id)
    both = both.select(
        "anonymous_id",
        "user_id",
        "source",
        since=both.ts,
        known_at=both.received_at,
        several=both.user_id.min().over(visitor) != both.user_id.max().over(visitor),
    )
    seen = both.filter(both.several)
    alone = both.filter(~both.several)
    first = alone.group_by("anonymous_id", "user_id").aggregate(
        known_at=alone.known_at.argmin(ibis.struct({"at": alone.since, "known": alone.known_at})),
        source=alone.source.argmin(ibis.struct({"at": alone.since, "source": alone.source})),
        since=alone.since.min(),
    )
    parts = (first.mutate(rule=ibis.literal("login")), seen.mutate(rule=ibis.literal("login")))
    return parts[0].select(*LEDGER).union(parts[1].select(*LEDGER))


def _declared(identifiers: ibis.Table) -> ibis.Table:
    """Identifier rows that name both ids."""
    rows = identifiers.filter(identifiers.anonymous_id.notnull() & identifiers.user_id.notnull())
    moment = rows.ts.coalesce(rows.collected_at)
    rule = ibis.ifelse(rows.kind.lower() == ALIAS, ibis.literal(ALIAS), ibis.literal("declared"))
    return rows.mutate(since=moment, known_at=moment, rule=rule).select(*LEDGER)


def _shared(identifiers: ibis.Table) -> ibis.Table:
    """A visitor and a user seen with the same identifier, where that identifier has one user only."""
    rows = identifiers.mutate(moment=identifiers.ts.coalesce(identifiers.collected_at))
    owned = rows.filter(rows.user_id.notnull() & rows.kind.lower().notin(SHARED_KINDS))
    owners = owned.group_by("kind", "value").aggregate(
        owner=owned.user_id.min(), other=owned.user_id.max(), owned_at=owned.moment.min()
    )
    owners = owners.filter(owners.owner == owners.other)
    met = rows.filter(rows.anonymous_id.notnull() & rows.user_id.isnull()).drop("user_id")
    found = met.join(owners, ["kind", "value"])
    since = ibis.greatest(found.moment, found.owned_at)
    return found.mutate(
        user_id=found.owner, since=since, known_at=since, rule=ibis.literal("shared_") + found.kind.lower()
    ).select(*LEDGER)
