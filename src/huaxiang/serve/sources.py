"""Who may send: each source has a name, a write key and a rate."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from huaxiang.errors import ShopError
from huaxiang.store import Database, Migration, migrate

PART = "sources"
MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE source (name TEXT PRIMARY KEY, write_key TEXT NOT NULL UNIQUE, created_at {integer} NOT NULL, closed_at {integer})",
        ),
    ),
)
LOOK_S = 2.0  # how soon a key that another process made or closed is known here


@dataclass(slots=True)
class Bucket:
    """A rate as a bucket of tokens: `rate` flow in each second, `rate` × 2 fit in."""

    rate: float
    level: float = 0.0
    at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.level = 2 * self.rate

    def take(self, n: int) -> float:
        """0.0 where `n` may pass; else the seconds to wait. What is larger than the bucket passes when it is full."""
        now = time.monotonic()
        self.level = min(2 * self.rate, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level >= min(n, 2 * self.rate):
            self.level -= n
            return 0.0
        return (min(n, 2 * self.rate) - self.level) / self.rate


class Sources:
    """The sources of a shop. rate: messages a second of each"""

    def __init__(self, database: Database, *, rate: float) -> None:
        self._database = database
        self._rate = rate
        self._names: dict[str, str] = {}
        self._looked = 0.0
        self._buckets: dict[str, Bucket] = {}
        migrate(database, PART, MIGRATIONS)
        self._look()

    def add(self, name: str, *, now: int) -> str:
        """The write key of a new source; raises ShopError where the name is taken or odd."""
        if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
            raise ShopError("serve.source_name", name=name)
        key = secrets.token_hex(16)
        with self._database.transaction() as write:
            if write.rows("SELECT 1 FROM source WHERE name = ?", (name,)):
                raise ShopError("serve.source_taken", name=name)
            write.run("INSERT INTO source VALUES (?, ?, ?, NULL)", (name, key, now))
        self._look()
        return key

    def close(self, name: str, *, now: int) -> None:
        """Its key is refused from now on; what it sent stays. Raises ShopError where there is no such source."""
        with self._database.transaction() as write:
            if not write.run("UPDATE source SET closed_at = ? WHERE name = ? AND closed_at IS NULL", (now, name)):
                raise ShopError("serve.no_source", name=name)
        self._look()

    def all(self) -> list[tuple[str, str]]:
        """(name, write key) of those that are open."""
        return self._database.rows("SELECT name, write_key FROM source WHERE closed_at IS NULL ORDER BY name")

    def find(self, key: str | None) -> str | None:
        """The source that a write key belongs to."""
        if key is None:
            return None
        if time.monotonic() - self._looked > LOOK_S:
            self._look()
        return self._names.get(key)

    def wait(self, name: str, messages: int) -> float:
        """Seconds that a source must wait with `messages` (0.0: they may pass)."""
        if name not in self._buckets:
            self._buckets[name] = Bucket(self._rate)
        return self._buckets[name].take(messages)

    def _look(self) -> None:
        self._names = {key: name for name, key in self.all()}
        self._looked = time.monotonic()
