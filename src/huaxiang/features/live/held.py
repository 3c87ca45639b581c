"""The states of all customers as they are held: the users met last in memory, all of them in a live store, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from huaxiang.engine import Engine
from huaxiang.errors import DefinitionError, ShopError
from huaxiang.features.live.arrive import Arrivals
from huaxiang.features.live.fold import Fold
from huaxiang.features.live.ledger import Fact, Ledger
from huaxiang.features.live.prices import Prices
from huaxiang.features.live.rebuild import NoPast, Past
from huaxiang.features.live.state import State
from huaxiang.features.live.tables import MIGRATIONS, PART, key_of
from huaxiang.features.live.tail import Tail
from huaxiang.features.text import EPOCH
from huaxiang.store import Database, Writer, migrate, open_database

AT_ONCE = 500  # parameters of one SELECT
HELD = 10_000  # states of the users met last that stay in memory: about 200 MB


class LiveValues(dict[str, Any]):
    """Feature -> value; asking for one that is not kept live says so."""

    def __missing__(self, name: str) -> Any:
        raise DefinitionError("features.not_kept_live", name=name)


class HeldStates:
    """The states of a fold. at: a SQLite file, or a store that is open already; zone: the shop's; items: SQL of ready.items in `engine`
    (None: nothing is known of items); past: the events before the tail, of some owners; renew: states of other definitions are about to be
    made anew, so they may be there; refused: users whose events are not folded, since they do not agree; erased: who was erased and when (µs), as the
    lake remembers it"""

    def __init__(
        self,
        at: Path | str | Database,
        fold: Fold,
        engine: Engine,
        *,
        zone: str = "UTC",
        items: str | None = None,
        past: Past | None = None,
        renew: bool = False,
        refused: Iterable[str] = (),
        erased: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.fold = fold
        self._own = isinstance(at, Path | str)
        self.database = open_database(at, durable=False) if isinstance(at, Path | str) else at
        migrate(self.database, PART, MIGRATIONS)
        self._past = past or NoPast()
        self._turn = self._check_plan(renew=renew)
        self._prices = Prices(self._known_prices())
        self.ledger = Ledger(self.database)
        self._tail = Tail()
        self._states: dict[str, State] = {}  # of the users met last
        self._dirty: set[str] = set()  # of them, those that are not written yet
        self._gone: set[str] = set()  # visitors whose state is to be deleted
        self._pending: dict[str, int] = {}  # source -> offset that goes with them
        self.refused = frozenset(refused)
        self._erased = self._know_erased(erased)
        self._arrivals = Arrivals(engine, fold, self._prices, zone=zone, items=items)
        self._arrivals.keep_out(self.kept_out())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
        self.close()

    def close(self) -> None:
        """Writes what waits, and lets go of a file of its own."""
        self.flush()
        if self._own:
            self.database.close()

    # ---- writing --------------------------------------------------------------------------------------------------

    def flush(self, also: Callable[[Writer], None] = lambda write: None) -> None:
        """Writes what was applied and not written yet. also: writes more in the same transaction"""
        if not self._dirty and not self._pending and not self._gone:
            return
        try:
            with self.database.transaction() as write:
                self._pass_turn(write)
                self._write(write, {user: self._states[user] for user in self._dirty})
                write.run_many("DELETE FROM state WHERE key = ?", [(key_of(user),) for user in sorted(self._gone)])
                write.run_many(_PRICE, self._prices.changed())
                write.run_many(_APPLIED, list(self._pending.items()))
                self.ledger.flush(write)
                also(write)
        except BaseException:
            self._discard()  # the store is as it was at the last flush
            raise
        self.ledger.written()
        self._dirty.clear()
        self._gone.clear()
        self._pending.clear()

    def applied(self, source: str = "") -> int:
        """The offset of the last batch applied from `source` (−1: none)."""
        if source in self._pending:
            return self._pending[source]
        found = self.database.rows("SELECT upto FROM applied WHERE source = ?", (source,))
        return int(found[0][0]) if found else -1

    # ---- values out -----------------------------------------------------------------------------------------------

    def state(self, user: str) -> State:
        """The state of one user; empty where nothing is known."""
        return self._read([user])[user]

    def states(self, users: Iterable[str]) -> dict[str, State]:
        """The states of users; empty where nothing is known."""
        return self._read(users)

    def values(self, user: str, as_of: date, *, registered: date | None = None) -> dict[str, Any]:
        """Every feature of one user as of the local midnight `as_of`. registered: default what `register` said of the user.

        A name that is not among them raises DefinitionError when it is asked for.
        """
        day = registered or self.registered([user]).get(user)
        return LiveValues(self.fold.finish(self.state(user), as_of, registered=day))

    def register(self, days: Iterable[tuple[str, date]]) -> None:
        """Keeps the local days on which users registered; a refill does so for all that the last build knew."""
        with self.database.transaction() as write:
            self.put_registered(write, days)

    @staticmethod
    def put_registered(write: Writer, days: Iterable[tuple[str, date]]) -> None:
        """As `register`, in the caller's transaction."""
        sql = (
            "INSERT INTO registered (user_id, day) VALUES (?, ?) ON CONFLICT (user_id) DO UPDATE SET day = excluded.day"
        )
        write.run_many(sql, ((user, (day - EPOCH).days) for user, day in days))

    def registered(self, users: Sequence[str]) -> dict[str, date]:
        """The local day on which users registered, of those of whom it is known."""
        found: dict[str, date] = {}
        for start in range(0, len(users), AT_ONCE):
            some = users[start : start + AT_ONCE]
            sql = f"SELECT user_id, day FROM registered WHERE user_id IN ({','.join('?' * len(some))})"
            found |= {user: EPOCH + timedelta(days=day) for user, day in self.database.rows(sql, some)}
        return found

    @staticmethod
    def put_erased(write: Writer, erased: Mapping[str, int]) -> None:
        """Writes who was erased, and when."""
        sql = (
            "INSERT INTO erased (user_id, upto) VALUES (?, ?) ON CONFLICT (user_id) DO UPDATE SET upto = excluded.upto"
        )
        write.run_many(sql, sorted(erased.items()))

    def _know_erased(self, told: Mapping[str, int]) -> dict[str, int]:
        """Who was erased: a store that was lost is told again."""
        known = dict[str, int](self.database.rows("SELECT user_id, upto FROM erased"))
        if new := {user: upto for user, upto in told.items() if upto > known.get(user, -1)}:
            with self.database.transaction() as write:
                self.put_erased(write, new)
        return known | new

    def kept_out(self) -> list[tuple[str | None, int, str]]:
        """order_id, order_key, user_id of the orders held fake at the last refill: their events change no state."""
        return self.database.rows("SELECT order_id, order_key, user_id FROM fake")

    # ---- all anew -------------------------------------------------------------------------------------------------

    @contextmanager
    def replacing(
        self,
        prices: Iterable[tuple[str, int, float, int]],
        registered: Iterable[tuple[str, date]],
        fakes: Iterable[tuple[str | None, int, str]] = (),
        *,
        links: Iterable[Fact] = (),
        applied: tuple[str, int] | None = None,
        also: Callable[[Writer], None] = lambda write: None,
    ) -> Iterator[Callable[[dict[str, State]], None]]:
        """Every state made anew, in one transaction: gives the function that writes some. What was applied is forgotten.

        prices: (category, day, total, n): the daily sums of the prices paid; registered: (user, local day);
        fakes: order_id, order_key, user_id of the orders held fake; links: the ledger; applied: source and offset that the new states
        know
        """
        self._discard()
        known = list(prices)
        with self.database.transaction() as write:
            for table in ("state", "price_days", "applied", "registered", "fake", "link"):
                write.run(f"DELETE FROM {table}")
            write.run("UPDATE about SET value = ? WHERE name = 'plan'", (str(self.fold.plan_hash),))
            write.run_many(_PRICE, known)
            write.run_many("INSERT INTO fake (order_id, order_key, user_id) VALUES (?, ?, ?)", fakes)
            self.put_registered(write, registered)
            self.ledger.restart(links)
            self.ledger.flush(write)
            if applied is not None:
                write.run(_APPLIED, applied)
                write.run("DELETE FROM tail")  # the log is read on from there, and fills it again
            self._pass_turn(write)
            also(write)
            yield lambda states: self._write(write, states)
        self.ledger.written()
        self._prices.replace(known)
        self._arrivals.keep_out(self.kept_out())

    def sizes(self) -> list[int]:
        """Bytes of each state."""
        return [int(size) for (size,) in self.database.rows("SELECT length(content) FROM state")]

    # ---- how ------------------------------------------------------------------------------------------------------

    def _check_plan(self, *, renew: bool) -> int:
        """The turn of writing that the store is at."""
        plan = str(self.fold.plan_hash)
        with self.database.transaction() as write:
            for name, value in (("plan", plan), ("turn", "0")):
                write.run("INSERT INTO about (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, value))
            found = dict[str, str](write.rows("SELECT name, value FROM about"))
        if found["plan"] != plan and not renew:
            if self._own:
                self.database.close()
            raise DefinitionError("features.other_state")
        return int(found["turn"])

    def _pass_turn(self, write: Writer) -> None:
        """Whoever writes takes the next turn; raises ShopError where another process has taken it."""
        sql = "UPDATE about SET value = ? WHERE name = 'turn' AND value = ?"
        if not write.run(sql, (str(self._turn + 1), str(self._turn))):
            raise ShopError("features.live_busy")
        self._turn += 1

    def _notice_others(self) -> None:
        """Lets go of states that another process may have written since; raises ShopError where some of ours wait to be written."""
        turn = int(self.database.rows("SELECT value FROM about WHERE name = 'turn'")[0][0])
        if turn == self._turn:
            return
        self._turn = turn
        waiting = bool(self._dirty)
        self._discard()
        if waiting:
            raise ShopError("features.live_busy")

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """A batch half folded must not be found again."""
        try:
            yield
        except BaseException:
            self._discard()
            raise

    def _let_go(self) -> None:
        for user in list(self._states)[: max(0, len(self._states) - max(HELD, len(self._dirty)))]:
            if user not in self._dirty:
                del self._states[user]

    def _discard(self) -> None:
        """Forgets what is not written."""
        self._states.clear()
        self._dirty.clear()
        self._gone.clear()
        self._pending.clear()
        self._tail = Tail()
        self.ledger.discard()
        self._prices.replace(self._known_prices())
        self._turn = int(self.database.rows("SELECT value FROM about WHERE name = 'turn'")[0][0])

    def _known_prices(self) -> list[tuple[str, int, float, int]]:
        return self.database.rows("SELECT category, day, total, n FROM price_days")

    def _read(self, users: Iterable[str]) -> dict[str, State]:
        self._notice_others()
        wanted = dict.fromkeys(users)
        found = {user: self._states[user] for user in wanted if user in self._states}
        keys = [key_of(user) for user in wanted if user not in found]
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            for user, content in self.database.rows(f"SELECT user_id, content FROM state WHERE key IN ({marks})", some):
                found[user] = self.fold.decode(content)
        return {user: found[user] if user in found else self.fold.empty() for user in wanted}

    def _write(self, write: Writer, states: dict[str, State]) -> None:
        rows = sorted((key_of(user), user, self.fold.encode(state)) for user, state in states.items())
        write.run_many(_STATE, rows)


_STATE = "INSERT INTO state (key, user_id, content) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET user_id = excluded.user_id, content = excluded.content"
_PRICE = "INSERT INTO price_days (category, day, total, n) VALUES (?, ?, ?, ?) ON CONFLICT (category, day) DO UPDATE SET total = excluded.total, n = excluded.n"
_APPLIED = "INSERT INTO applied (source, upto) VALUES (?, ?) ON CONFLICT (source) DO UPDATE SET upto = excluded.upto"
