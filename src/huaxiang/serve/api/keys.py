"""API keys: each has a name and scopes, and is kept as its SHA-256.

A key is 32 random bytes: nobody guesses one, so a plain hash is enough (slow hashes are for words that people choose), and it is
found by its hash in one look-up, which says nothing by its time.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from huaxiang.errors import ShopError, StoreError
from huaxiang.serve.api.roles import SCOPES
from huaxiang.store import Database, Migration, migrate

log = logging.getLogger(__name__)

PART = "keys"
MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE api_key (name TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL, "
            "created_at {integer} NOT NULL, last_used TEXT, closed_at {integer})",
        ),
    ),
)
LOOK_S = 2.0  # how soon a key that another process made or closed is known here
PREFIX = "hxk_"  # so that scanners for leaked secrets know one


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret. created_at: µs since 1970; last_used: a day, UTC"""

    name: str
    scopes: frozenset[str]
    created_at: int = 0
    last_used: str | None = None


class Keys:
    """The keys of a shop. `watch` keeps them as the database has them; `find` never waits for it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Key] = {}
        self._used: set[tuple[str, str]] = set()  # (name, day) noted already
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        migrate(database, PART, MIGRATIONS)
        self._look()

    def add(self, name: str, scopes: Iterable[str], *, now: int) -> str:
        """The secret of a new key, which is told this once; raises ShopError where the name is taken or odd, or a scope unknown."""
        asked = sorted(set(scopes))
        if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
            raise ShopError("serve.key_name", name=name)
        if odd := [one for one in asked if one not in SCOPES] or ([] if asked else ["-"]):
            raise ShopError("serve.key_scope", scope=", ".join(odd), known=", ".join(SCOPES))
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._database.transaction() as write:
            if write.rows("SELECT 1 FROM api_key WHERE name = ?", (name,)):
                raise ShopError("serve.key_taken", name=name)
            write.run(
                "INSERT INTO api_key (name, hash, scopes, created_at) VALUES (?, ?, ?, ?)",
                (name, hash_key(secret), " ".join(asked), now),
            )
        self._look()
        return secret

    def close_key(self, name: str, *, now: int) -> None:
        """It is refused from now on; its looks stay in the audit. Raises ShopError where there is no such key."""
        with self._database.transaction() as write:
            if not write.run("UPDATE api_key SET closed_at = ? WHERE name = ? AND closed_at IS NULL", (now, name)):
                raise ShopError("serve.no_key", name=name)
        self._look()

    def all(self) -> list[Key]:
        """Those that are open, by name."""
        return sorted(self._read().values(), key=lambda key: key.name)

    def find(self, secret: str) -> Key | None:
        """The open key whose secret this is."""
        return self._known.get(hash_key(secret))

    def note_used(self, names: Collection[str]) -> None:
        """That these keys were used today."""
        day = datetime.now(UTC).date().isoformat()
        new = {(name, day) for name in names} - self._used
        if not new:
            return
        with self._database.transaction() as write:
            write.run_many(
                "UPDATE api_key SET last_used = ? WHERE name = ?", [(day, name) for name, day in sorted(new)]
            )
        self._used = {one for one in self._used if one[1] == day} | new

    def watch(self) -> None:
        """Looks the keys up again each LOOK_S in a thread of its own, until `close`."""
        self._thread = threading.Thread(target=self._run, name="huaxiang-keys", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._wake.wait(LOOK_S):
            try:
                self._look()
            except StoreError as error:  # those known go on; nothing is answered without its audit anyway
                log.warning("keys: %s", error)

    def _look(self) -> None:
        self._known = self._read()

    def _read(self) -> dict[str, Key]:
        rows = self._database.rows(
            "SELECT hash, name, scopes, created_at, last_used FROM api_key WHERE closed_at IS NULL"
        )
        return {
            hashed: Key(name, frozenset(scopes.split()), int(made), used) for hashed, name, scopes, made, used in rows
        }


def hash_key(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
