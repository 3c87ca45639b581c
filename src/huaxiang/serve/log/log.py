"""The log of a shop in its live store: one row a request, sealed, in the order of arrival.

A repeated message is found by its id (ids.py) before it is written; it stays in the request's body, marked as skipped.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huaxiang.serve.log.ids import RUN
from huaxiang.serve.log.layout import MIGRATIONS, PART
from huaxiang.serve.log.met import Met, MetOnDisk, MetTogether, NotMet
from huaxiang.serve.log.seal import Seal
from huaxiang.serve.log.squeeze import squeeze, unsqueeze
from huaxiang.serve.wire.message import Refused
from huaxiang.store import Database, Writer, migrate

DAY_US = 86_400_000_000
SLICE = 1_000  # requests that one purge deletes at most: what waits to be written waits no longer for it


@dataclass(slots=True)
class Request:
    """What one HTTP request brought, or one pull. ids: the hash of each message's id, None where it has none; skipped: places of
    messages that do not count; refused: what goes to the quarantine; then: what else changes in the transaction that writes it"""

    source: str
    received_at: int  # µs since 1970
    body: bytes
    ids: Sequence[bytes | None]
    refused: Sequence[Refused] = ()
    skipped: set[int] = field(default_factory=set)
    then: Callable[[Writer], None] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A request as it is read back. skipped: places of messages that do not count"""

    offset: int
    source: str
    received_at: int
    skipped: frozenset[int]
    body: bytes


class Log:
    """Appended to by one thread. ids: the folder of the index of ids (None: it is only read, beside the process that writes it); keep_days:
    how long they are remembered; at least one day; run: see ids.py. Raises TrustError where the log was sealed under another key"""

    def __init__(
        self, database: Database, seal: Seal, ids: Path | None, *, keep_days: float = 1.5, run: int = RUN
    ) -> None:
        self.database = database
        self._seal = seal
        self._keep_us = int(max(keep_days, 1.0) * DAY_US)
        migrate(database, PART, MIGRATIONS)
        # One process writes a file and keeps the index beside it; a PostgreSQL has many writers, which must know of each other's ids.
        for (body,) in database.rows("SELECT body FROM request ORDER BY id DESC LIMIT 1"):
            seal.open(body)  # raises TrustError: a second key in one log is noticed before it is used
        self._met: Met = NotMet()
        if database.kind == "postgres":
            self._met = MetTogether(database)
        elif ids is not None:
            self._met = MetOnDisk(database, ids, run, self._keep_us)

    def append(self, requests: Sequence[Request]) -> list[int]:
        """Writes requests in one transaction, durable at its end; gives how many messages of each were new.

        raises: StoreError; then nothing of them is kept
        """
        added: list[tuple[list[bytes], int, int]] = []
        with self.database.transaction() as write:
            if self.database.kind == "postgres":  # offsets become visible in their order, whoever writes
                write.rows("SELECT pg_advisory_xact_lock(7311)")
            sieved = self._sieve(write, requests)
            for request, (skipped, new) in zip(requests, sieved, strict=True):
                for one in request.refused:
                    self.refuse(write, request.source, request.received_at, one.stage, one.reason, one.content)
                if len(request.ids) > len(skipped):
                    added.append((new, self._insert(write, request, skipped, new), request.received_at))
                if request.then is not None:
                    request.then(write)
        for new, offset, at in added:
            self._met.add(new, offset=offset, at=at)
        return [len(request.ids) - len(skipped) for request, (skipped, _) in zip(requests, sieved, strict=True)]

    def _insert(self, write: Writer, request: Request, skipped: set[int], new: Sequence[bytes]) -> int:
        """The offset that the request has now."""
        return write.insert(
            "INSERT INTO request (source, received_at, messages, skipped, ids, body) VALUES (?, ?, ?, ?, ?, ?)",
            (
                request.source,
                request.received_at,
                len(request.ids) - len(skipped),
                _pack(skipped) if skipped else None,
                b"".join(new),
                self._seal.close(squeeze(request.body)),
            ),
        )

    def _sieve(self, write: Writer, requests: Sequence[Request]) -> list[tuple[set[int], list[bytes]]]:
        """For each request: the places of its messages that do not count, and its ids that are new."""
        first: dict[bytes, tuple[int, int]] = {}  # id → the request and the place where this transaction has it first
        sieved: list[tuple[set[int], list[bytes]]] = []
        for number, request in enumerate(requests):
            skipped = set(request.skipped)
            for place, one in enumerate(request.ids):
                if (
                    one is not None
                    and place not in skipped
                    and first.setdefault(one, (number, place)) != (number, place)
                ):
                    skipped.add(place)
            sieved.append((skipped, []))
        asked = list(first)
        met = self._met.find(write, asked, max((request.received_at for request in requests), default=0))
        for at, one in enumerate(asked):
            number, place = first[one]
            if at in met:
                sieved[number][0].add(place)
            else:
                sieved[number][1].append(one)
        return sieved

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

        stage: collect (it has not the shape), map (it breaks a table's promise) or file (a whole file that cannot be read); at: its offset
        and place, by which it is put there once
        """
        write.run(
            "INSERT INTO refused (source, received_at, stage, reason, body, offset_, place) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (offset_, place) DO NOTHING",
            (source, received_at, stage, reason, self._seal.close(content), *(at or (None, None))),
        )

    def open(self, sealed: bytes) -> bytes:
        """The body of a request or of a refused message; raises TrustError."""
        return self._seal.open(sealed)

    def read(self, after: int, *, most: int = 200, messages: int | None = None) -> list[Entry]:
        """The requests behind offset `after`, in order, `most` at a time, and no more than about so many messages of them."""
        if messages is not None:
            counts = self.database.rows("SELECT messages FROM request WHERE id > ? ORDER BY id LIMIT ?", (after, most))
            total = itertools.accumulate(count for (count,) in counts)
            most = sum(1 for _ in itertools.takewhile(lambda reached: reached < messages, total)) + 1
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
        return self._met.forget(now - self._keep_us)

    def purge(self, now: int, *, keep_days: float, upto: int) -> int:
        """Deletes some requests older than `keep_days`, none behind the offset `upto`; gives how many (fewer than SLICE: all that may go).

        Those of whose ids a repeat would still be asked stay, and the newest always: offsets go on from it.
        """
        before = now - max(int(keep_days * DAY_US), self._keep_us)
        with self.database.transaction() as write:
            return write.run(
                "DELETE FROM request WHERE id IN (SELECT id FROM request WHERE id <= ? AND received_at < ? "
                "AND id < (SELECT max(id) FROM request) ORDER BY id LIMIT ?)",
                (upto, before, SLICE),
            )


def _pack(places: set[int]) -> bytes:
    return struct.pack(f">{len(places)}I", *sorted(places))


def _unpack(packed: bytes | None) -> frozenset[int]:
    return frozenset() if packed is None else frozenset(struct.unpack(f">{len(packed) // 4}I", bytes(packed)))
