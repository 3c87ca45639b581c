"""What is to be told, from the transaction in which it became true until a receiver took it, or it was given up.

A hook's changes go out in their order, in batches that stay the same at every try. What nobody takes for a day is set aside ("dead"),
and so is a batch that the receiver refuses time and again; `retry` sends what was set aside after all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from huaxiang.serve.hooks.declared import Hook
from huaxiang.serve.hooks.layout import HOOK_MIGRATIONS, HOOKS
from huaxiang.store import Database, Writer, migrate

BATCH = 500  # changes of one request
SECOND_US = 1_000_000
GIVE_UP_US = 24 * 3600 * SECOND_US
REFUSED = (400, 413, 422)  # this content is what the receiver will not have
REFUSED_TRIES = 5
HELD_US = 60 * SECOND_US  # after which another process may deliver: longer than a request takes
KEEP_US, KEEP_DEAD_US = 7 * 24 * 3600 * SECOND_US, 30 * 24 * 3600 * SECOND_US
WAITS = "delivered_at IS NULL AND dead_at IS NULL"


@dataclass(frozen=True, slots=True)
class Change:
    """One customer entered or left one audience. at: µs since 1970"""

    user_id: str
    audience: str
    change: Literal["entered", "left"]
    at: int


@dataclass(frozen=True)
class Delivery:
    """A batch of a hook. changes: (id, what), in order; attempts: tries before this one; hook_attempts: those since it last took one"""

    hook: str
    batch: int
    changes: tuple[tuple[int, Change], ...]
    attempts: int
    hook_attempts: int

    @property
    def number(self) -> str:
        """By which a receiver knows it again. Not by the batch alone: a power cut may undo the last of them, and their numbers are used anew."""
        return f"{self.hook}.{self.batch}.{self.changes[0][1].at}"

    @property
    def reach(self) -> tuple[Any, ...]:
        return self.hook, self.batch, self.changes[0][0], self.changes[-1][0]


@dataclass(frozen=True)
class State:
    """How a hook does. Times in µs since 1970"""

    waiting: int = 0
    delivered: int = 0
    dead: int = 0
    next_at: int = 0
    failing_since: int | None = None
    closed_at: int | None = None
    error: str = ""


_MINE = f"hook = ? AND batch = ? AND id BETWEEN ? AND ? AND {WAITS}"


class Outbox:
    """The outbox in the live store. hooks: those declared now"""

    def __init__(self, database: Database, hooks: Sequence[Hook]) -> None:
        self.database = database
        self.hooks = {hook.name: hook for hook in hooks}
        migrate(database, HOOKS, HOOK_MIGRATIONS)
        with database.transaction() as write:
            write.run_many(
                "INSERT INTO hook (name) VALUES (?) ON CONFLICT (name) DO NOTHING", [(name,) for name in self.hooks]
            )

    def put(self, write: Writer, changes: Iterable[Change]) -> int:
        """Writes what each hook is to be told, within the caller's transaction; gives the rows written."""
        changes = list(changes)
        if not changes or not self.hooks:
            return 0
        closed = {name for (name,) in write.rows("SELECT name FROM hook WHERE closed_at IS NOT NULL")}
        rows = [
            (hook.name, one.audience, one.user_id, one.change, one.at)
            for one in changes
            for hook in self.hooks.values()
            if hook.follows(one.audience) and hook.name not in closed
        ]
        write.run_many("INSERT INTO outbox (hook, audience, user_id, change, at) VALUES (?, ?, ?, ?, ?)", rows)
        return len(rows)

    def take(self, hook: str, holder: str, now: int) -> Delivery | None:
        """The batch that is due, held for `holder` until it is told how it went; None where nothing is, or another holds it."""
        if not self.database.rows(f"SELECT 1 FROM outbox WHERE hook = ? AND {WAITS} LIMIT 1", (hook,)):
            return None
        with self.database.transaction() as write:
            mine = write.run(
                "UPDATE hook SET holder = ?, held_until = ? "
                "WHERE name = ? AND closed_at IS NULL AND next_at <= ? AND (holder = ? OR held_until < ?)",
                (holder, now + HELD_US, hook, now, holder, now),
            )
            if not mine:
                return None
            ((tries,),) = write.rows("SELECT attempts FROM hook WHERE name = ?", (hook,))
            found = write.rows(
                f"SELECT id, batch, attempts, user_id, audience, change, at FROM outbox WHERE hook = ? AND {WAITS} ORDER BY id LIMIT ?",
                (hook, BATCH),
            )
            if not found:
                return None
            first, batch, attempts = found[0][0], found[0][1], found[0][2]
            found = [row for row in found if row[1] == batch]
            if batch is None:
                batch = first
                write.run_many("UPDATE outbox SET batch = ? WHERE id = ?", [(batch, row[0]) for row in found])
        changes = tuple((int(row[0]), Change(*row[3:])) for row in found)
        return Delivery(hook, int(batch), changes, int(attempts), int(tries))

    def delivered(self, delivery: Delivery, now: int) -> None:
        with self.database.transaction() as write:
            write.run(
                f"UPDATE outbox SET delivered_at = ?, attempts = attempts + 1, error = NULL WHERE {_MINE}",
                (now, *delivery.reach),
            )
            write.run(
                "UPDATE hook SET attempts = 0, next_at = 0, failing_since = NULL, error = NULL, held_until = 0 WHERE name = ?",
                (delivery.hook,),
            )

    def failed(self, delivery: Delivery, now: int, *, status: int, detail: str, next_at: int) -> int:
        """Notes a try that failed; gives the changes set aside for it. status: HTTP (0: nobody answered)"""
        name, set_aside = delivery.hook, "UPDATE outbox SET dead_at = ?"
        with self.database.transaction() as write:
            write.run(f"UPDATE outbox SET attempts = attempts + 1, error = ? WHERE {_MINE}", (detail, *delivery.reach))
            if status == 410:
                write.run(
                    "UPDATE hook SET closed_at = ?, error = ?, held_until = 0 WHERE name = ?", (now, detail, name)
                )
                return write.run(f"{set_aside}, error = ? WHERE hook = ? AND {WAITS}", (now, detail, name))
            if status in REFUSED and delivery.attempts + 1 >= REFUSED_TRIES:
                write.run("UPDATE hook SET attempts = 0, next_at = 0, error = ?, held_until = 0 WHERE name = ?", (detail, name))  # fmt: skip
                return write.run(f"{set_aside} WHERE {_MINE}", (now, *delivery.reach))
            write.run(
                "UPDATE hook SET attempts = attempts + 1, next_at = ?, failing_since = coalesce(failing_since, ?), error = ?, held_until = 0 WHERE name = ?",
                (next_at, now, detail, name),
            )
            long = write.rows("SELECT 1 FROM hook WHERE name = ? AND failing_since <= ?", (name, now - GIVE_UP_US))
            if not long:
                return 0
            old = f"hook = ? AND (at <= ? OR batch = ?) AND {WAITS}"  # a batch stays whole
            return write.run(
                f"{set_aside}, error = ? WHERE {old}", (now, detail, name, now - GIVE_UP_US, delivery.batch)
            )

    def retry(self, hook: str) -> tuple[int, int]:
        """Opens a closed hook, and lets what was set aside wait again; gives how many, and how many were dropped since a later
        change of the same customer and audience was told already."""
        later = (
            "SELECT 1 FROM outbox AS l WHERE l.user_id = outbox.user_id AND l.audience = outbox.audience AND l.hook = outbox.hook "
            "AND l.id > outbox.id AND l.delivered_at IS NOT NULL"
        )
        with self.database.transaction() as write:
            write.run(
                "UPDATE hook SET closed_at = NULL, attempts = 0, next_at = 0, failing_since = NULL, error = NULL WHERE name = ?",
                (hook,),
            )
            overtaken = write.run(f"DELETE FROM outbox WHERE hook = ? AND dead_at IS NOT NULL AND EXISTS ({later})", (hook,))  # fmt: skip
            again = write.run(
                "UPDATE outbox SET dead_at = NULL, attempts = 0, batch = CASE WHEN attempts > 0 THEN batch END WHERE hook = ? AND dead_at IS NOT NULL",
                (hook,),
            )
        return again, overtaken

    def states(self) -> dict[str, State]:
        """How each hook does, by name; those with rows that are declared no longer too."""
        counts = {
            name: (int(waiting), int(delivered), int(dead))
            for name, waiting, delivered, dead in self.database.rows(
                f"SELECT hook, sum(CASE WHEN {WAITS} THEN 1 ELSE 0 END), sum(CASE WHEN delivered_at IS NOT NULL THEN 1 ELSE 0 END), "
                "sum(CASE WHEN dead_at IS NOT NULL THEN 1 ELSE 0 END) FROM outbox GROUP BY hook"
            )
        }
        kept = self.database.rows("SELECT name, next_at, failing_since, closed_at, error FROM hook")
        told = {
            name: State(*counts.get(name, (0, 0, 0)), next_at, since, closed, error or "")
            for name, next_at, since, closed, error in kept
        }
        return {name: told[name] for name in [*self.hooks, *sorted(set(counts) - set(self.hooks))]}

    def dead(self, *, most: int = 100) -> list[tuple[str, Change, int, str]]:
        """(hook, change, when it was set aside, why), the newest first."""
        found = self.database.rows(
            "SELECT hook, user_id, audience, change, at, dead_at, error FROM outbox WHERE dead_at IS NOT NULL ORDER BY dead_at DESC, id DESC LIMIT ?",
            (most,),
        )
        return [(row[0], Change(*row[1:5]), int(row[5]), row[6] or "") for row in found]

    def waiting(self, hook: str) -> int:
        return int(self.database.rows(f"SELECT count(*) FROM outbox WHERE hook = ? AND {WAITS}", (hook,))[0][0])

    def tidy(self, now: int) -> int:
        """Lets go of what was told a week ago, or set aside a month ago; gives the rows."""
        with self.database.transaction() as write:
            return write.run("DELETE FROM outbox WHERE delivered_at < ?", (now - KEEP_US,)) + write.run(
                "DELETE FROM outbox WHERE dead_at < ?", (now - KEEP_DEAD_US,)
            )

    @staticmethod
    def forget(write: Writer, users: Iterable[str]) -> None:
        """Every trace of some customers: what waits to be told of them is not told."""
        write.run_many("DELETE FROM outbox WHERE user_id = ?", [(user,) for user in users])
