"""The events of the log since the last build, by the id they carry: what a customer did last, and what states are rebuilt from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa

from huaxiang.features.live.ledger import Fact
from huaxiang.features.live.tables import key_of
from huaxiang.store import Database, Writer
from huaxiang.tables import EVENTS, arrow_schema

SCHEMA = arrow_schema(EVENTS.stored)
_NAMES = SCHEMA.names
_USER, _VISITOR, _TS = (_NAMES.index(name) for name in ("user_id", "anonymous_id", "ts"))
_TIMES = [place for place, one in enumerate(SCHEMA) if pa.types.is_timestamp(one.type)]
AT_ONCE = 500
_encoder = msgspec.msgpack.Encoder()


class Held(msgspec.Struct, array_like=True):
    """events: rows of SCHEMA, times as µs; seen: (since, user, known_at) where a visitor was seen with a user"""

    events: list[list[Any]] = []
    seen: list[tuple[int, str, int]] = []


_decoder = msgspec.msgpack.Decoder(Held)


@dataclass
class Tail:
    """Rows of one batch, by owner; written in the caller's transaction."""

    held: dict[str, Held] = field(default_factory=dict)

    def add(self, rows: pa.Table, facts: Iterable[Fact]) -> None:
        """rows: of SCHEMA"""
        held = self.held
        columns = [column.to_pylist() for column in as_micros(rows).columns]
        for row in zip(*columns, strict=True):
            owner = row[_USER] or row[_VISITOR]
            if owner not in held:
                held[owner] = Held([], [])
            held[owner].events.append(list(row))
        for fact in facts:
            found = held.setdefault(fact.anonymous_id, Held([], []))
            found.seen.append((fact.since, fact.user_id, fact.known_at))

    def flush(self, write: Writer, upto: int) -> None:
        rows = sorted((key_of(owner), upto, owner, _encoder.encode(one)) for owner, one in self.held.items())
        write.run_many(
            "INSERT INTO tail (key, upto, owner, content) VALUES (?, ?, ?, ?) ON CONFLICT (key, upto) DO NOTHING", rows
        )
        self.held.clear()


def read_tail(database: Database, owners: Sequence[str], *, after: int = -1) -> dict[str, Held]:
    """What the tail holds of each owner, behind the offset `after`, in the order of arrival."""
    found = {owner: Held([], []) for owner in owners}
    for start in range(0, len(owners), AT_ONCE):
        keys = [key_of(owner) for owner in owners[start : start + AT_ONCE]]
        marks = ",".join("?" * len(keys))
        sql = f"SELECT owner, content FROM tail WHERE key IN ({marks}) AND upto > ? ORDER BY upto"
        for owner, content in database.rows(sql, [*keys, after]):
            if owner in found:
                one = _decoder.decode(content)
                found[owner].events.extend(one.events)
                found[owner].seen.extend(one.seen)
    return found


def events_of(held: Iterable[Held]) -> pa.Table:
    """The events as a table of the contract."""
    rows = [row for one in held for row in one.events]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(SCHEMA)
    arrays = [
        pa.array(values, pa.int64()).cast(one.type) if place in _TIMES else pa.array(values, one.type)
        for place, (values, one) in enumerate(zip(columns, SCHEMA, strict=True))
    ]
    return pa.table(arrays, schema=SCHEMA)


def happened_at(row: Sequence[Any]) -> int:
    """The time (µs) of an event of the tail."""
    return int(row[_TS])


def as_micros(rows: pa.Table) -> pa.Table:
    """The table with its times as µs since 1970."""
    made = rows.select(_NAMES)
    for place in _TIMES:
        made = made.set_column(place, _NAMES[place], made.column(place).cast(pa.timestamp("us")).cast(pa.int64()))
    return made
