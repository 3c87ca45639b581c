"""Which visitor is which user, since when: the live side of identity/canonical.py.

A visitor's link holds from its moment until the next one's, the first also for all time before. Only the facts at which the user
changes are kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from huaxiang.store import Database, Writer

AT_ONCE = 500
HELD = 200_000  # visitors met last whose links stay in memory
BEGINNING = -(1 << 62)


@dataclass(frozen=True, slots=True)
class Fact:
    """A visitor and a user seen together. since, known_at: µs since 1970"""

    anonymous_id: str
    user_id: str
    since: int
    known_at: int
    rule: str = "login"


@dataclass
class Dispute:
    """users: whose events some may be; since: events from then on (µs) may be another's than before"""

    users: set[str]
    since: int


@dataclass
class Learned:
    """What facts changed. joined: visitors that became users, with the user; disputed: visitors some of whose events may belong to
    another user than before"""

    joined: dict[str, str] = field(default_factory=dict)
    disputed: dict[str, Dispute] = field(default_factory=dict)


class Ledger:
    """The links of a live store. What was learned is written by `flush`, in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns: dict[str, list[Fact]] = {}
        self._dirty: set[str] = set()

    def learn(self, facts: Iterable[Fact]) -> Learned:
        """Takes facts in."""
        by_visitor: dict[str, list[Fact]] = {}
        for fact in facts:
            by_visitor.setdefault(fact.anonymous_id, []).append(fact)
        self._load(by_visitor)
        learned = Learned()
        for visitor, news in by_visitor.items():
            self._learn(visitor, sorted(news, key=lambda one: (one.since, one.user_id)), learned)
        return learned

    def _learn(self, visitor: str, news: Sequence[Fact], learned: Learned) -> None:
        turns = self._turns[visitor]
        if not turns:
            turns[:] = turns_of(news)
            self._dirty.add(visitor)
            users = {turn.user_id for turn in turns}
            if len(users) == 1:
                learned.joined[visitor] = turns[0].user_id
            else:
                learned.disputed[visitor] = Dispute(users, BEGINNING)
            return
        for fact in news:
            now = user_at(turns, fact.since)
            if now == fact.user_id and fact.since >= turns[0].since:
                continue
            first = turns[0].since
            turns[:] = turns_of([*turns, fact])
            self._dirty.add(visitor)
            if now != fact.user_id and now is not None:
                dispute = learned.disputed.setdefault(visitor, Dispute(set(), fact.since))
                dispute.users |= {now, fact.user_id}
                dispute.since = min(dispute.since, fact.since if fact.since >= first else BEGINNING)

    def replace(self, visitor: str, facts: Iterable[Fact]) -> None:
        """The links of a visitor, found anew from all that is known."""
        self._turns[visitor] = turns_of(facts)
        self._dirty.add(visitor)

    def restart(self, facts: Iterable[Fact]) -> None:
        """These facts and no others."""
        self.discard()
        for fact in facts:
            self._turns.setdefault(fact.anonymous_id, []).append(fact)
        for held in self._turns.values():
            held[:] = turns_of(held)
        self._dirty = set(self._turns)

    def users_at(self, sightings: Sequence[tuple[str, int]]) -> list[str | None]:
        """The user of each (visitor, time in µs); None: the visitor is nobody yet."""
        self._load({visitor for visitor, _ in sightings})
        return [user_at(self._turns[visitor], at) for visitor, at in sightings]

    def visitors_of(self, user: str) -> list[str]:
        """The visitors that were ever linked to a user."""
        found = {row[0] for row in self._database.rows("SELECT anonymous_id FROM link WHERE user_id = ?", (user,))}
        found |= {name for name in self._dirty if any(turn.user_id == user for turn in self._turns[name])}
        return sorted(found)

    def turns(self, visitors: Iterable[str]) -> Mapping[str, list[Fact]]:
        """The links of visitors, in their order."""
        wanted = list(visitors)
        self._load(wanted)
        return {visitor: self._turns[visitor] for visitor in wanted}

    def flush(self, write: Writer) -> None:
        """Writes what was learned."""
        if not self._dirty:
            return
        write.run_many("DELETE FROM link WHERE anonymous_id = ?", [(name,) for name in sorted(self._dirty)])
        rows = [
            (name, turn.since, turn.user_id, turn.known_at, turn.rule)
            for name in sorted(self._dirty)
            for turn in self._turns[name]
        ]
        write.run_many("INSERT INTO link (anonymous_id, since, user_id, known_at, rule) VALUES (?, ?, ?, ?, ?)", rows)

    def written(self) -> None:
        """What was learned is on disk."""
        self._dirty.clear()
        if len(self._turns) > HELD:
            self._turns.clear()

    def discard(self) -> None:
        """Forgets what is not written."""
        self._turns.clear()
        self._dirty.clear()

    def _load(self, visitors: Iterable[str]) -> None:
        lacking = [visitor for visitor in dict.fromkeys(visitors) if visitor not in self._turns]
        for start in range(0, len(lacking), AT_ONCE):
            some = lacking[start : start + AT_ONCE]
            for visitor in some:
                self._turns[visitor] = []
            marks = ",".join("?" * len(some))
            for row in self._database.rows(
                f"SELECT anonymous_id, user_id, since, known_at, rule FROM link WHERE anonymous_id IN ({marks}) ORDER BY since",
                some,
            ):
                self._turns[row[0]].append(Fact(*row))


def turns_of(facts: Iterable[Fact]) -> list[Fact]:
    """The facts of one visitor at which the user is another than before, in the order of time."""
    turns: list[Fact] = []
    for fact in sorted(facts, key=lambda one: (one.since, one.user_id, one.rule, one.known_at)):
        if not turns or turns[-1].user_id != fact.user_id:
            turns.append(fact)
    return turns


def user_at(turns: Sequence[Fact], at: int) -> str | None:
    """The user a visitor was at a time (µs): of the latest link at or before it, else of the first."""
    if not turns:
        return None
    place = bisect_right(turns, at, key=lambda turn: turn.since)
    return turns[max(place - 1, 0)].user_id
