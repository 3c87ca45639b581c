"""The log of a shop in its live store: one row a request, sealed, in the order of arrival.

A repeated message is found by its id (ids.py) before it is written; it stays in the request's body, marked as skipped.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huaxiang.serve.log.ids import DIGEST, RUN, Ids
from huaxiang.serve.log.layout import MIGRATIONS, PART
from huaxiang.serve.log.seal import Seal
from huaxiang.serve.log.squeeze import squeeze, unsqueeze
from huaxiang.serve.wire.message import Refused
from huaxiang.store import Database, Writer, migrate

DAY_US = 86_400_000_000
AT_ONCE = 5_000  # requests of one read at the start


@dataclass(slots=True)
class Request:
    """What one HTTP request brought. ids: the hash of each message's id, None where it has none; skipped: places of messages that
    do not count; refused: what goes to the quarantine"""

    source: str
    received_at: int  # µs since 1970
    body: bytes
    ids: Sequence[bytes | None]
    refused: Sequence[Refused] = ()
    skipped: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Entry:
    """A request as it is read back. skipped: places of messages that do not count"""

    offset: int
    source: str
    received_at: int
    skipped: frozenset[int]
    body: bytes


class Log:
    """Appended to by one thread. ids: the folder of the index of ids; keep_days: how long they are remembered; at least one day; run: see ids.py"""

    def __init__(self, database: Database, seal: Seal, ids: Path, *, keep_days: float = 1.5, run: int = RUN) -> None:
        self.database = database
        self._seal = seal
        self._keep_us = int(max(keep_days, 1.0) * DAY_US)
        migrate(database, PART, MIGRATIONS)
        self._ids = Ids(ids, run=run)
        self._catch_up()

    def append(self, requests: Sequence[Request]) -> list[int]:
        """Writes requests in one transaction, durable at its end; gives how many messages of each were new.

        raises: StoreError; then nothing of them is kept
        """
        sieved = self._sieve(requests)
        added: list[tuple[list[bytes], int, int]] = []
        with self.database.transaction() as write:
            if self.database.kind == "postgres":  # offsets become visible in their order, whoever writes
                write.rows("SELECT pg_advisory_xact_lock(7311)")
            for request, (skipped, new) in zip(requests, sieved, strict=True):
                for one in request.refused:
                    self.refuse(write, request.source, request.received_at, "collect", one.reason, one.content)
                if len(request.ids) > len(skipped):
                    values = (
                        request.source,
                        request.received_at,
                        len(request.ids) - len(skipped),
                        _pack(skipped) if skipped else None,
                        b"".join(new),
                        self._seal.close(squeeze(request.body)),
                    )
                    sql = "INSERT INTO request (source, received_at, messages, skipped, ids, body) VALUES (?, ?, ?, ?, ?, ?)"
                    added.append((new, write.insert(sql, values), request.received_at))
        for new, offset, at in added:
            self._ids.add(new, offset=offset, at=at)
        return [len(request.ids) - len(skipped) for request, (skipped, _) in zip(requests, sieved, strict=True)]

    def _sieve(self, requests: Sequence[Request]) -> list[tuple[set[int], list[bytes]]]:
        """Of each request the places of messages that do not count, and the ids that are new. All ids are looked up at once."""
        asked: list[bytes] = []
        where: list[tuple[int, int]] = []  # of each of them: its request, its place
        skips = [set(request.skipped) for request in requests]
        now: set[bytes] = set()
        for number, request in enumerate(requests):
            skipped = skips[number]
            for place, one in enumerate(request.ids):
                if one is None or place in skipped:
                    continue
                if one in now:
                    skipped.add(place)
                else:
                    now.add(one)
                    asked.append(one)
                    where.append((number, place))
        met = self._ids.find(asked)
        new: list[list[bytes]] = [[] for _ in requests]
        for at, (one, (number, place)) in enumerate(zip(asked, where, strict=True)):
            if at in met:
                skips[number].add(place)
            else:
                new[number].append(one)
        return list(zip(skips, new, strict=True))

    def refuse(
        self,
        write: Writer,
        source: str,
        received_at: int,
        stage: str,
        reason: str,
        content: bytes,
        at: tuple[int, int] | None = None,
    ) -> None:
        """Puts one message into the quarantine.

        stage: collect (it has not the shape) or map (it breaks a table's promise); at: its offset and place, by which it is put there once
        """
        write.run(
            "INSERT INTO refused (source, received_at, stage, reason, body, offset_, place) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (offset_, place) DO NOTHING",
            (source, received_at, stage, reason, self._seal.close(content), *(at or (None, None))),
        )

    def read(self, after: int, *, most: int = 200) -> list[Entry]:
        """The requests behind offset `after`, in order, `most` at a time."""
        found = self.database.rows(
            "SELECT id, source, received_at, skipped, body FROM request WHERE id > ? ORDER BY id LIMIT ?",
            (after, most),
        )
        return [
            Entry(number, source, received, _unpack(skipped), unsqueeze(self._seal.open(body)))
            for number, source, received, skipped, body in found
        ]

    def last(self) -> int:
        """The offset of the newest request (0: there is none)."""
        return int(self.database.rows("SELECT coalesce(max(id), 0) FROM request")[0][0])

    def refusals(self) -> dict[tuple[str, str, str], int]:
        """(source, stage, reason) → messages in the quarantine that were not sent through again."""
        found = self.database.rows(
            "SELECT source, stage, reason, count(*) FROM refused WHERE replayed_at IS NULL GROUP BY source, stage, reason"
        )
        return {(source, stage, reason): count for source, stage, reason, count in found}

    def forget_ids(self, now: int) -> int:
        """Lets go of ids that need not be remembered any more; by the thread that appends. now: µs since 1970"""
        return self._ids.forget(now - self._keep_us)

    def _catch_up(self) -> None:
        """The ids that the index does not know yet."""
        if self._ids.upto > self.last():  # somebody put another database in its place
            self._ids.clear()
        after, since = self._ids.upto, time.time_ns() // 1000 - self._keep_us
        while True:
            found = self.database.rows(
                "SELECT id, received_at, ids FROM request WHERE id > ? AND received_at >= ? ORDER BY id LIMIT ?",
                (after, since, AT_ONCE),
            )
            for offset, received, packed in found:
                packed = bytes(packed)
                ids = [packed[start : start + DIGEST] for start in range(0, len(packed), DIGEST)]
                self._ids.add(ids, offset=offset, at=received)
            if len(found) < AT_ONCE:
                return
            after = found[-1][0]


def _pack(places: set[int]) -> bytes:
    return struct.pack(f">{len(places)}I", *sorted(places))


def _unpack(packed: bytes | None) -> frozenset[int]:
    return frozenset() if packed is None else frozenset(struct.unpack(f">{len(packed) // 4}I", bytes(packed)))
