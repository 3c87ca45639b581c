"""All that is known of some customers, put together again: the events before the tail, the tail, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from huaxiang.features.live.ledger import Fact, Ledger
from huaxiang.features.live.tail import SCHEMA, Held, Tail, events_of, read_tail
from huaxiang.store import Database


class Past(Protocol):
    """What was known before the tail began. until: µs; nothing that happened later is in it"""

    @property
    def until(self) -> int: ...

    def read(self, owners: Sequence[str]) -> tuple[pa.Table, list[Fact]]:
        """The events (columns of the contract) that carry these ids, and the links of those that are visitors."""


class NoPast:
    """Nothing was known before."""

    until = -1

    def read(self, owners: Sequence[str]) -> tuple[pa.Table, list[Fact]]:
        return SCHEMA.empty_table(), []


def gather(database: Database, fresh: Tail, owners: Sequence[str]) -> dict[str, Held]:
    """What the tail holds of owners, the batch in hand included."""
    found = read_tail(database, owners)
    for owner in owners:
        if owner in fresh.held:
            found[owner].events.extend(fresh.held[owner].events)
            found[owner].seen.extend(fresh.held[owner].seen)
    return found


def join_events(past: pa.Table, held: Iterable[Held]) -> pa.Table:
    """Past and tail; an event that stands in both once."""
    tail = events_of(held)
    old = past.select(SCHEMA.names).cast(SCHEMA)
    old = old.filter(pc.invert(pc.is_in(old.column("event_id"), value_set=tail.column("event_id").combine_chunks())))
    return pa.concat_tables([old, tail])


def owned(events: pa.Table, ledger: Ledger) -> pa.Table:
    """The events with the user that each visitor turned out to be."""
    user, visitor = events.column("user_id"), events.column("anonymous_id")
    alone = pc.and_(pc.is_null(user), pc.is_valid(visitor))
    places = pc.indices_nonzero(alone).to_pylist()
    if not places:
        return events
    chosen = pa.array(places)
    times = events.column("ts").cast(pa.int64()).take(chosen).to_pylist()
    found = ledger.users_at(list(zip(visitor.take(chosen).to_pylist(), times, strict=True)))
    if not any(found):
        return events
    users = user.to_pylist()
    for place, one in zip(places, found, strict=True):
        users[place] = one
    return events.set_column(events.column_names.index("user_id"), "user_id", pa.array(users, pa.string()))


def only(events: pa.Table, users: Iterable[str]) -> pa.Table:
    """The events of these users (visitors go by their own id)."""
    return events.filter(_of(events, users))


def without(events: pa.Table, users: Iterable[str]) -> pa.Table:
    """The events of all but these users."""
    return events.filter(pc.invert(_of(events, users)))


def _of(events: pa.Table, users: Iterable[str]) -> pa.ChunkedArray:
    whose = pc.coalesce(events.column("user_id"), events.column("anonymous_id"))
    return pc.is_in(whose, value_set=pa.array(sorted(users), pa.string()))
