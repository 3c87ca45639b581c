"""Rows → requests of the log. What cannot be a message goes to the quarantine with its reason; nothing stops the rest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from huaxiang.serve.log import Committer, make_request
from huaxiang.serve.pull.positions import Position, Positions
from huaxiang.serve.pull.shape import Shape, UnfitError
from huaxiang.serve.wire.message import Refused, encode, read_batch
from huaxiang.store import Writer

ROWS = 1_000  # of one request
BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was pulled. made: the id that it gets where it brings none; content: its columns, or JSON; fault: why it could not be
    read; at: when, where it does not say"""

    made: str
    content: Mapping[str, Any] | bytes
    fault: str = ""
    at: datetime | None = None


@dataclass
class Counts:
    """Since the start. rows: pulled; messages: new ones on disk; behind: what is known to wait (None: unknown)"""

    rows: int = 0
    messages: int = 0
    errors: int = 0
    behind: int | None = None
    refused: dict[str, int] = field(default_factory=dict)


class Sender:
    """Sends what one pull fetches."""

    def __init__(self, name: str, shape: Shape, positions: Positions, committer: Committer) -> None:
        self.name, self.counts = name, Counts()
        self._shape, self._positions, self._committer = shape, positions, committer

    def positions(self) -> dict[str, Position]:
        return self._positions.of(self.name)

    def send(self, rows: Sequence[Row], positions: Mapping[str, Position], *, failed: Refused | None = None) -> None:
        """On disk when it returns, the positions with it; raises StoreError (then none of both is).

        failed: a whole file that could not be read
        """
        now = time.time_ns() // 1000
        messages, refused = self._to_messages(rows)
        body = b'{"batch":[' + b",".join(content for content, _ in messages) + b"]}"
        batch, misshapen = read_batch(body)
        refused += [replace(one, content=_as_came(*messages[one.index])) for one in misshapen]
        gone = {one.index for one in misshapen}
        good = [one for at, one in enumerate(messages) if at not in gone]
        if failed is not None:
            refused.append(failed)

        def move(write: Writer) -> None:
            self._positions.write(write, self.name, positions, now)

        request = make_request(self.name, now, body, batch, refused, move, lambda at: _as_came(*good[at]))
        self.counts.messages += self._committer.put(request)
        self.counts.rows += len(rows)
        for one in request.refused:
            self.counts.refused[one.reason] = self.counts.refused.get(one.reason, 0) + 1

    def _to_messages(self, rows: Sequence[Row]) -> tuple[list[tuple[bytes, Row | None]], list[Refused]]:
        """Each message and the row that it alone came from; and what is none."""
        messages: list[tuple[bytes, Row | None]] = []
        refused: list[Refused] = []
        for place, row in enumerate(rows):
            try:
                if row.fault:
                    raise UnfitError(row.fault)
                made = [_encode(one) for one in self._shape.messages(row.content, row.made, row.at)]
                messages += [(one, row if len(made) == 1 else None) for one in made]
            except UnfitError as unfit:
                refused.append(Refused(place, unfit.reason, _as_came(b"", row)))
        return messages, refused


def _encode(message: dict[str, Any]) -> bytes:
    try:
        return encode(message)
    except (ValueError, OverflowError, TypeError, RecursionError) as error:  # half characters, numbers beyond 64 bits
        raise UnfitError("shape") from error


def _as_came(message: bytes, row: Row | None) -> bytes:
    """What the quarantine keeps: the row, so that it can be read anew once the settings are mended; of several messages in one, the message."""
    content = message if row is None else row.content
    if isinstance(content, bytes):
        return content
    try:
        return encode(dict(content))
    except (ValueError, OverflowError, TypeError, RecursionError):
        return repr(dict(content)).encode("utf-8", "backslashreplace")
