"""The states of all customers in a live store; each batch of events is applied once, whole or not at all.

    with LiveStore(path, fold, engine) as store:
        changed = store.apply(events, offset=17)          # the users whose state changed
        store.values("u1", as_of)                         # {feature: value}

A batch carries its offset in the log it comes from: states, links, prices and offset change in one transaction, so a batch that is
applied again after a crash changes nothing. With `flush=False` several batches are written together (`flush`, or when many
states wait): a crash then takes back to the last flush, and the log is read on from `applied()`.

A visitor's events are the visitor's own until a link says whose they are: then the visitor's state is merged into the user's. A link
that says so too late for that (ledger.py: disputed) makes the states of its users anew from all their events (rebuild.py).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from huaxiang.features.live.held import HELD, HeldStates, LiveValues
from huaxiang.features.live.ledger import BEGINNING, Dispute, Fact
from huaxiang.features.live.rebuild import gather, join_events, only, owned, without
from huaxiang.features.live.tables import key_of
from huaxiang.features.live.tail import happened_at, read_tail
from huaxiang.identity.links import ALIAS
from huaxiang.store import Writer

__all__ = ["Changed", "LiveStore", "LiveValues"]


@dataclass
class Changed:
    """What a batch changed. users: whose state is another; gone: visitors that became users"""

    users: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


class LiveStore(HeldStates):
    """The states of a fold, with events folded in and links learned; made as HeldStates."""

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
        with _no_collector(), self._whole():
            changed = self._apply(events, today)
            if offset is not None:
                self._pending[source] = offset
            if flush or len(self._dirty) > HELD:
                self.flush()
            self._let_go()
        return sorted(changed)

    def take(
        self,
        events: pa.Table,
        facts: Sequence[Fact],
        *,
        source: str,
        offset: int,
        also: Callable[[Writer, Changed], None] = lambda write, changed: None,
    ) -> Changed:
        """Folds a batch of the log in, with the links it brings, and keeps its events; written at once, with what `also` writes.

        offset: of the batch's last request; rising. Where it was applied before, nothing changes
        """
        if offset <= self.applied(source):
            return Changed()
        with _no_collector(), self._whole():
            self._notice_others()
            events = self._without_erased(events)
            self._tail.add(events, facts)
            learned = self.ledger.learn(facts)
            if "visitor" in self.fold.columns:  # what a visitor did reads otherwise once it is a user's
                for visitor, user in learned.joined.items():
                    learned.disputed[visitor] = Dispute({user}, BEGINNING)
                learned.joined.clear()
            final = self.ledger.finals(learned.joined.values())
            again = self._settle(learned.disputed)
            joined = self._join({old: final[user] for old, user in learned.joined.items() if final[user] != old})
            mine = owned(events, self.ledger)
            if again:
                mine = without(mine, again)
            users = self._apply(mine, None) | joined | again
            self._rebuild(sorted(again))
            gone = sorted(self._linked({*learned.joined, *learned.disputed}))
            self._gone.update(gone)
            self._pending[source] = offset
            made = Changed(sorted(users - self._gone), sorted(self._gone))

            def beside(write: Writer) -> None:
                self._tail.flush(write, offset)
                also(write, made)

            self.flush(beside)
            self._let_go()
        return made

    def _join(self, joined: dict[str, str]) -> set[str]:
        """The users whose state grew by a visitor's."""
        states = self._read([*joined, *joined.values()])
        changed = set[str]()
        for visitor, user in joined.items():
            if states[visitor].newest:
                states[user] = self._states[user] = self.fold.merge(states[user], states[visitor])
                changed.add(user)
            self._states.pop(visitor, None)
            self._dirty.discard(visitor)
        self._dirty |= changed
        return changed

    def _settle(self, disputed: dict[str, Dispute]) -> set[str]:
        """Finds the links of disputed visitors anew from all that is known; gives the users whose states must be made anew."""
        users = set[str]()
        for visitor, dispute in disputed.items():
            facts = self._past.read([visitor])[1] if dispute.since <= self._past.until else []
            held = gather(self.database, self._tail, [visitor])[visitor]
            facts += [Fact(visitor, user, since, known, rule) for since, user, known, rule in held.seen]
            self.ledger.replace(visitor, [*self.ledger.turns([visitor])[visitor], *facts])
            before = read_tail(self.database, [visitor])[visitor].events  # those of the batch in hand are nobody's yet
            late = dispute.since <= self._past.until or any(happened_at(one) >= dispute.since for one in before)
            if late:
                users |= dispute.users | {turn.user_id for turn in self.ledger.turns([visitor])[visitor]}
        return set(self.ledger.finals(users).values())

    def _linked(self, names: set[str]) -> set[str]:
        """Of ids with a link, those that are somebody else's now: all but the users of a ring of aliases."""
        return {name for name, final in self.ledger.finals(names).items() if final != name or not self._is_user(name)}

    def _is_user(self, name: str) -> bool:
        return any(turn.rule == ALIAS for turn in self.ledger.turns([name])[name])

    def _rebuild(self, users: Sequence[str]) -> None:
        """Makes states anew from all events that are known."""
        if not users:
            return
        visitors = [visitor for user in users for visitor in self.ledger.visitors_of(user)]
        owners = sorted({*users, *visitors})
        held = gather(self.database, self._tail, owners)
        events = self._without_erased(join_events(self._past.read(owners)[0], held.values()))
        whose, rows = self._arrivals.rows(only(owned(events, self.ledger), users), learn=False)
        for user in users:
            self._states[user] = self.fold.empty()
        for user, row in zip(whose, rows, strict=True):
            self.fold.add(self._states[user], row)
        empty = {user for user in users if not self._states[user].newest}  # all they had is somebody else's
        self._gone |= empty
        self._dirty = (self._dirty | set(users)) - empty

    def rebuild(self, users: Sequence[str]) -> None:
        """Makes the states of users anew from the past and the tail, and writes them."""
        with self._whole():
            self._rebuild(users)
            self.flush()

    def erase(
        self, user: str, *, upto: int, also: Callable[[Writer, Changed], None] = lambda write, changed: None
    ) -> Changed:
        """Forgets a user: state, events of the tail, links; what was received until `upto` (µs) counts no more, whenever it is read.

        also: writes more in the same transaction
        """
        with self._whole():
            self.flush()
            names = [user, *self.ledger.visitors_of(user)]
            changed = Changed([user], names[1:])
            with self.database.transaction() as write:
                for name in names:
                    write.run("DELETE FROM tail WHERE key = ?", (key_of(name),))
                    write.run("DELETE FROM state WHERE key = ?", (key_of(name),))
                    write.run("DELETE FROM registered WHERE user_id = ?", (name,))
                    write.run("DELETE FROM link WHERE user_id = ?", (name,))
                self.put_erased(write, dict.fromkeys(names, upto))
                self._pass_turn(write)
                also(write, changed)
            self._erased |= dict.fromkeys(names, upto)
            self._states.clear()
            self.ledger.discard()
        return changed

    def erased(self) -> list[str]:
        """Who was erased."""
        return sorted(self._erased)

    def counts(self, user: str, received_at: int) -> bool:
        """Whether what was received of a user at a time (µs) counts: they do not refuse, and were not erased since."""
        return user not in self.refused and received_at > self._erased.get(user, -1)

    def _without_erased(self, events: pa.Table) -> pa.Table:
        """Without what was received before its customer was erased, and what customers who refuse did."""
        erased, refused = self._erased, self.refused
        if not erased and not refused:
            return events
        names = zip(*(events.column(name).to_pylist() for name in ("user_id", "anonymous_id")), strict=True)
        received = events.column("received_at").cast(pa.int64()).to_pylist()
        keep = [
            all(name not in refused and (name not in erased or (at is not None and at > erased[name])) for name in both)
            for both, at in zip(names, received, strict=True)
        ]
        return events.filter(pa.array(keep, pa.bool_()))

    def _apply(self, events: pa.Table, today: int | None) -> set[str]:
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
        return changed


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
