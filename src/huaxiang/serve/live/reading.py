"""The live profiles as the API reads them; where there is none yet, those of the last build.

Conditions are asked of the last build's table with the rows that changed since in their places: an engine's table that takes in what
is new at each question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from huaxiang.features.live.ledger import Ledger
from huaxiang.features.live.rebuild import only, owned
from huaxiang.features.live.tables import key_of
from huaxiang.features.live.tail import events_of, read_tail
from huaxiang.profile.because import write_time
from huaxiang.serve.live.rows import AT_ONCE
from huaxiang.serve.profiles import BatchProfiles, Row
from huaxiang.store import Database

if TYPE_CHECKING:
    from huaxiang.serve.live.worker import Worker

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_ONE = "SELECT user_id, at, content FROM profile WHERE key = ?"


class LiveProfiles:
    """Implements Profiles. worker: told whose profile is asked for while it waits to be made anew"""

    def __init__(self, database: Database, batch: BatchProfiles, worker: Worker | None = None) -> None:
        self.database = database
        self._batch, self._worker = batch, worker
        self._quick = database.kind == "sqlite"  # a file answers at once; a server is asked in a thread

    def peek(self, user: str) -> Row | None:
        return self._read(user) if self._quick else None

    def one(self, user: str) -> Row | None:
        found = self._read(user) or self._read(self._joined([user]).get(user, ""))
        if found is not None or self._knows(user):
            return found
        return self._batch.one(user)

    def many(self, users: Sequence[str]) -> dict[str, Row]:
        found = self._read_many(users)
        joined = self._joined([user for user in users if user not in found])
        others = self._read_many(sorted(set(joined.values())))
        found |= {user: others[other] for user, other in joined.items() if other in others}
        missing = [user for user in users if user not in found and not self._knows(user)]
        return {**found, **self._batch.many(missing)} if missing else found

    def reads(self, where: str) -> tuple[str, ...]:
        return self._batch.reads(where)

    def columns(self) -> tuple[str, ...]:
        return self._batch.columns()

    def find(self, where: str, *, columns: Sequence[str], limit: int, after: str = "") -> list[Row]:
        return self._batch.find(where, columns=columns, limit=limit, after=after)

    def count(self, where: str) -> int:
        return self._batch.count(where)

    def recent(self, user: str) -> list[Row]:
        ledger = Ledger(self.database)
        owners = sorted({user, *ledger.visitors_of(user)})
        held = events_of(read_tail(self.database, owners).values())
        return list(only(owned(held, ledger), [user]).to_pylist()) if held.num_rows else []

    def _read(self, user: str) -> Row | None:
        rows = self.database.rows(_ONE, (key_of(user),))
        if not rows or rows[0][0] != user:
            return None
        self._ask([user])
        return _row(rows[0][2], rows[0][1])

    def _read_many(self, users: Sequence[str]) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for start in range(0, len(users), AT_ONCE):
            keys = [key_of(user) for user in users[start : start + AT_ONCE]]
            marks = ",".join("?" * len(keys))
            sql = f"SELECT user_id, at, content FROM profile WHERE key IN ({marks})"
            found |= {user: _row(content, at) for user, at, content in self.database.rows(sql, keys)}
        self._ask(list(found))
        return {user: found[user] for user in users if user in found}

    def _ask(self, users: Sequence[str]) -> None:
        """Profiles that wait to be made anew are made next."""
        if self._worker is not None and (waiting := [user for user in users if user in self._worker.queue]):
            self._worker.want(waiting)

    def _joined(self, visitors: Sequence[str]) -> dict[str, str]:
        """Visitor → the customer they turned out to be last."""
        found: dict[str, str] = {}
        for start in range(0, len(visitors), AT_ONCE):
            some = list(visitors[start : start + AT_ONCE])
            sql = f"SELECT anonymous_id, user_id FROM link WHERE anonymous_id IN ({','.join('?' * len(some))}) ORDER BY since"
            found |= dict[str, str](self.database.rows(sql, some))
        return found

    def _knows(self, user: str) -> bool:
        """Whether the live side has the last word of a customer: states are there, or they were erased."""
        if self.database.rows("SELECT 1 FROM erased WHERE user_id = ?", (user,)):
            return True
        return bool(self.database.rows("SELECT 1 FROM made WHERE name = 'build'"))


def _row(content: bytes, at: int) -> Mapping[str, Any]:
    row = _decode(content)
    row["sources"], row["filled"] = _decode(row.get("sources") or "{}"), row.get("filled") or []
    row["updated_at"] = write_time(datetime.fromtimestamp(at / 1e6, UTC).replace(tzinfo=None))
    return row
