"""The states of all customers in one SQLite file; each batch of events is applied once, whole or not at all.

    with LiveStore(path, fold, arrivals, prices) as store:
        changed = store.apply(events, offset=17)          # the users whose state changed
        store.values("u1", as_of)                         # {feature: value}

A batch carries its offset in the log it comes from: state, prices and offset change in one transaction, so a batch that is
applied again after a crash changes nothing. With `flush=False` several batches are written together (`flush`, or when many
states wait): a crash then takes back to the last flush, and the log is read on from `applied()`.
"""

from __future__ import annotations

import gc
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from huaxiang.engine import Engine
from huaxiang.errors import DefinitionError, ShopError
from huaxiang.features.live.arrive import Arrivals
from huaxiang.features.live.fold import Fold
from huaxiang.features.live.prices import Prices
from huaxiang.features.live.state import State
from huaxiang.features.text import EPOCH

_TABLES = """
CREATE TABLE IF NOT EXISTS state (key INTEGER PRIMARY KEY, user_id TEXT NOT NULL, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS price_days (category TEXT, day INTEGER, total REAL NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (category, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS applied (source TEXT PRIMARY KEY, upto INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS registered (user_id TEXT PRIMARY KEY, day INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fake (order_id TEXT, order_key INTEGER NOT NULL, user_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
AT_ONCE = 500  # parameters of one SELECT
HELD = 10_000  # states of the users met last that stay in memory: about 200 MB


class LiveValues(dict[str, Any]):
    """Feature -> value; asking for one that is not kept live says so."""

    def __missing__(self, name: str) -> Any:
        raise DefinitionError("features.not_kept_live", name=name)


class LiveStore:
    """The states of a fold. zone: the shop's; items: SQL of ready.items in `engine` (None: nothing is known of items)."""

    def __init__(
        self, path: Path | str, fold: Fold, engine: Engine, *, zone: str = "UTC", items: str | None = None
    ) -> None:
        self.fold = fold
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _TABLES)
        self._check_plan()
        prices = Prices(self._file.execute("SELECT category, day, total, n FROM price_days"))
        self._prices = prices
        self._states: dict[str, State] = {}  # of the users met last
        self._dirty: set[str] = set()  # of them, those that are not written yet
        self._pending: dict[str, int] = {}  # source -> offset that goes with them
        self._version = -1
        self._arrivals = Arrivals(engine, fold, prices, zone=zone, items=items)
        self._arrivals.keep_out(self.kept_out())

    def __enter__(self) -> LiveStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
        self.close()

    def close(self) -> None:
        """Writes what waits, and lets go of the file."""
        self.flush()
        self._file.close()

    def apply(
        self,
        events: pa.Table,
        *,
        source: str = "",
        offset: int | None = None,
        today: int | None = None,
        flush: bool = True,
    ) -> list[str]:
        """Folds a batch in; gives the users whose state changed ([] where `offset` was applied before).

        offset: of the batch in the log `source`; rising
        today: the local day now; an event known only later waits in its user's state. Default: every event is known
        flush: write at once; else with later batches
        """
        if offset is not None and offset <= self.applied(source):
            return []
        with _no_collector():
            try:
                changed = self._apply(events, today)
            except BaseException:
                self._discard()  # a batch half folded must not be found again
                raise
            if offset is not None:
                self._pending[source] = offset
            if flush or len(self._dirty) > HELD:
                self.flush()
            for user in list(self._states)[: max(0, len(self._states) - max(HELD, len(self._dirty)))]:
                if user not in self._dirty:
                    del self._states[user]
        return changed

    def flush(self) -> None:
        """Writes what was applied and not written yet."""
        if not self._dirty and not self._pending:
            return
        try:
            with self._transaction():
                self._notice_others()
                self._write({user: self._states[user] for user in self._dirty})
                self._file.executemany("INSERT OR REPLACE INTO price_days VALUES (?, ?, ?, ?)", self._prices.changed())
                self._file.executemany("INSERT OR REPLACE INTO applied VALUES (?, ?)", list(self._pending.items()))
        except BaseException:
            self._discard()  # the file is as it was at the last flush
            raise
        self._dirty.clear()
        self._pending.clear()

    def applied(self, source: str = "") -> int:
        """The offset of the last batch applied from `source` (−1: none)."""
        if source in self._pending:
            return self._pending[source]
        found = self._file.execute("SELECT upto FROM applied WHERE source = ?", (source,)).fetchone()
        return int(found[0]) if found else -1

    def _apply(self, events: pa.Table, today: int | None) -> list[str]:
        users, rows = self._arrivals.rows(events)
        add, changed = self.fold.add, set[str]()
        states = self._read(users)
        for user, row in zip(users, rows, strict=True):
            if add(states[user], row, today=today):
                changed.add(user)
        for user, state in states.items():  # those met last stand last
            self._states.pop(user, None)
            self._states[user] = state
        self._dirty |= changed
        return sorted(changed)

    def _notice_others(self) -> None:
        """Lets go of states that another process may have written since; raises ShopError where some of ours wait to be written."""
        version = self._file.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return
        self._version = version
        if self._dirty:
            self._discard()
            raise ShopError("features.live_busy")
        self._states.clear()

    def _discard(self) -> None:
        """Forgets what is not written."""
        self._states.clear()
        self._dirty.clear()
        self._pending.clear()
        self._prices.replace(self._file.execute("SELECT category, day, total, n FROM price_days"))

    def state(self, user: str) -> State:
        """The state of one user; empty where nothing is known."""
        return self._read([user])[user]

    def values(self, user: str, as_of: date, *, registered: date | None = None) -> dict[str, Any]:
        """Every feature of one user as of the local midnight `as_of`. registered: default what `register` said of the user.

        A name that is not among them raises DefinitionError when it is asked for.
        """
        day = registered or self._registered(user)
        return LiveValues(self.fold.finish(self.state(user), as_of, registered=day))

    def register(self, days: Iterable[tuple[str, date]]) -> None:
        """Keeps the local days on which users registered; a refill does so for all that the last build knew."""
        with self._transaction():
            self._register(days)

    def _register(self, days: Iterable[tuple[str, date]]) -> None:
        rows = ((user, (day - EPOCH).days) for user, day in days)
        self._file.executemany("INSERT OR REPLACE INTO registered VALUES (?, ?)", rows)

    def _registered(self, user: str) -> date | None:
        found = self._file.execute("SELECT day FROM registered WHERE user_id = ?", (user,)).fetchone()
        return EPOCH + timedelta(days=found[0]) if found else None

    def kept_out(self) -> list[tuple[str | None, int, str]]:
        """order_id, order_key, user_id of the orders held fake at the last refill: their events change no state."""
        return list(self._file.execute("SELECT order_id, order_key, user_id FROM fake"))

    @contextmanager
    def replacing(
        self,
        prices: Iterable[tuple[str, int, float, int]],
        registered: Iterable[tuple[str, date]],
        fakes: Iterable[tuple[str | None, int, str]] = (),
    ) -> Iterator[Callable[[dict[str, State]], None]]:
        """Every state made anew, in one transaction: gives the function that writes some. What was applied is forgotten.

        prices: (category, day, total, n): the daily sums of the prices paid; registered: (user, local day);
        fakes: order_id, order_key, user_id of the orders held fake
        """
        self._discard()
        known = list(prices)
        with self._transaction():
            for table in ("state", "price_days", "applied", "registered", "fake"):
                self._file.execute(f"DELETE FROM {table}")
            self._file.execute("UPDATE about SET value = ? WHERE name = 'plan'", (str(self.fold.plan_hash),))
            self._file.executemany("INSERT INTO price_days VALUES (?, ?, ?, ?)", known)
            self._file.executemany("INSERT INTO fake VALUES (?, ?, ?)", fakes)
            self._register(registered)
            yield self._write
        self._prices.replace(known)
        self._arrivals.keep_out(self.kept_out())

    def sizes(self) -> list[int]:
        """Bytes of each state."""
        return [int(size) for (size,) in self._file.execute("SELECT length(content) FROM state")]

    def _check_plan(self) -> None:
        plan = str(self.fold.plan_hash)
        self._file.execute("INSERT OR IGNORE INTO about VALUES ('plan', ?)", (plan,))
        if self._file.execute("SELECT value FROM about WHERE name = 'plan'").fetchone()[0] != plan:
            self._file.close()
            raise DefinitionError("features.other_state")

    def _read(self, users: Iterable[str]) -> dict[str, State]:
        self._notice_others()
        wanted = dict.fromkeys(users)
        found = {user: self._states[user] for user in wanted if user in self._states}
        keys = [_key(user) for user in wanted if user not in found]
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            for user, content in self._file.execute(f"SELECT user_id, content FROM state WHERE key IN ({marks})", some):
                found[user] = self.fold.decode(content)
        return {user: found[user] if user in found else self.fold.empty() for user in wanted}

    def _write(self, states: dict[str, State]) -> None:
        rows = sorted((_key(user), user, self.fold.encode(state)) for user, state in states.items())
        self._file.executemany("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")


@contextmanager
def _no_collector() -> Iterator[None]:
    """States hold no cycles; looking for some among thousands of them takes longer than folding."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _key(user: str) -> int:
    """Two users have one key in less than one of 10^7 shops of a million; SQLite then says so rather than mix them."""
    return int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8).digest(), "big") >> 1
