"""Who belongs to each audience that is followed live, and what a change of profiles changes in that.

The worker asks for `diff` in the transaction that writes the profiles, and gives what it returns to `Outbox.put`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from huaxiang.serve.hooks.layout import MEMBER_MIGRATIONS, MEMBERS
from huaxiang.serve.hooks.outbox import Change
from huaxiang.store import Database, Writer, migrate

Found = Mapping[str, frozenset[str]]
AT_ONCE = 500  # users of one SELECT


class Members:
    """The members in the live store. versions: audience → version of its definition, of those that are followed"""

    def __init__(self, database: Database, versions: Mapping[str, str]) -> None:
        self.database = database
        self.versions = dict(versions)
        migrate(database, MEMBERS, MEMBER_MIGRATIONS)
        known: dict[str, str] = dict(database.rows("SELECT audience, version FROM followed"))
        self.fresh = frozenset(name for name in self.versions if name not in known)
        self.stale = frozenset(name for name, version in self.versions.items() if known.get(name, version) != version)

    def start(self, write: Writer, now: int, everybody: Iterable[Found]) -> list[Change]:
        """Finds the members of audiences that are new or defined anew, in the caller's transaction; gives what is to be told.

        Of a new audience nobody is told: its members were there before anybody asked. Of one defined anew those who entered and left are.
        everybody: the memberships of every profile, part by part; read only where there is something to find
        """
        gone = {name for (name,) in write.rows("SELECT audience FROM followed")} - set(self.versions)
        for name in gone:
            write.run("DELETE FROM member WHERE audience = ?", (name,))
            write.run("DELETE FROM followed WHERE audience = ?", (name,))
        changes: list[Change] = []
        if self.fresh | self.stale:
            for found in everybody:
                changes += self.diff(write, now, found, only=self.fresh | self.stale)
        write.run_many(
            "INSERT INTO followed VALUES (?, ?) ON CONFLICT (audience) DO UPDATE SET version = excluded.version",
            self.versions.items(),
        )
        return [one for one in changes if one.audience in self.stale]

    def diff(self, write: Writer, now: int, found: Found, *, only: frozenset[str] | None = None) -> list[Change]:
        """What changed for the users of `found`, written to the members in the caller's transaction. now: µs since 1970

        found: user → audiences it belongs to now; one without any is in it too. only: the audiences to look at
        """
        looked = frozenset(self.versions) if only is None else only
        before = self._of(write, list(found))
        changes: list[Change] = []
        for user, audiences in found.items():
            had = before.get(user, frozenset())
            changes += [Change(user, name, "left", now) for name in sorted((had - audiences) & looked)]
            changes += [Change(user, name, "entered", now) for name in sorted((audiences - had) & looked)]
        write.run_many(
            "DELETE FROM member WHERE user_id = ? AND audience = ?",
            [(one.user_id, one.audience) for one in changes if one.change == "left"],
        )
        write.run_many(
            "INSERT INTO member VALUES (?, ?, ?)",
            [(one.user_id, one.audience, now) for one in changes if one.change == "entered"],
        )
        return changes

    def of(self, user: str) -> dict[str, int]:
        """audience → since when (µs), of one user."""
        found = self.database.rows("SELECT audience, since FROM member WHERE user_id = ? ORDER BY audience", (user,))
        return {audience: int(since) for audience, since in found if audience in self.versions}

    def sizes(self) -> dict[str, int]:
        """audience → members now."""
        found = self.database.rows("SELECT audience, count(*) FROM member GROUP BY audience")
        return dict.fromkeys(self.versions, 0) | {name: int(n) for name, n in found if name in self.versions}

    @staticmethod
    def forget(write: Writer, users: Iterable[str]) -> None:
        """The users are members of nothing, and nobody is told."""
        write.run_many("DELETE FROM member WHERE user_id = ?", [(user,) for user in users])

    def _of(self, write: Writer, users: Sequence[str]) -> dict[str, frozenset[str]]:
        had: dict[str, set[str]] = {}
        for start in range(0, len(users), AT_ONCE):
            some = users[start : start + AT_ONCE]
            marks = ", ".join("?" * len(some))
            for user, audience in write.rows(f"SELECT user_id, audience FROM member WHERE user_id IN ({marks})", some):
                had.setdefault(user, set()).add(audience)
        return {user: frozenset(names) for user, names in had.items()}
