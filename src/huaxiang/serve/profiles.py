"""Profiles as the API reads them: one, many, or by a condition."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol

import ibis
import msgspec

from huaxiang.apply.market.language import Reader
from huaxiang.engine.duck import quote
from huaxiang.engine.lake import MANIFEST
from huaxiang.features.users import bucket_of
from huaxiang.profile.because import finite, write_time
from huaxiang.shop import Shop
from huaxiang.shop.opened import SETTINGS

Row = Mapping[str, Any]
KEPT_BYTES = 128 * 1024 * 1024  # of single rows at hand
LEFT_OUT = ("embedding", "user_no", "bucket")  # of no use to a reader; the explained document has the vector
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Profiles(Protocol):
    """A row holds user_id, as_of, lifecycle, value_tier, tags, every trait, and each outcome's column and `_confidence`; values are as JSON has
    them. It may hold `updated_at` (when the row was made), `sources` (attribute → who says so) and `filled` (attributes that were guessed).
    """

    def peek(self, user: str) -> Row | None:
        """The row of a pseudonym, where it is at hand without waiting (None: ask `one`, in a thread)."""

    def one(self, user: str) -> Row | None:
        """The row of a pseudonym, or of the customer that this visitor turned out to be (None: there is none)."""

    def many(self, users: Sequence[str]) -> dict[str, Row]:
        """pseudonym → row, as `one` finds it; those unknown are left out."""

    def reads(self, where: str) -> tuple[str, ...]:
        """The columns that a condition reads; raises DefinitionError where it cannot be read."""

    def columns(self) -> tuple[str, ...]:
        """What rows hold, in the order of the table; raises ShopError where there are no profiles yet."""

    def find(self, where: str, *, columns: Sequence[str], limit: int, after: str = "") -> list[Row]:
        """user_id and `columns` of those for whom a condition holds ("": everybody), by pseudonym, from `after` on; raises DefinitionError."""

    def count(self, where: str) -> int: ...

    def recent(self, user: str) -> list[Row]:
        """The events of a pseudonym that the last build does not know: columns of `events`, ts without a zone."""


class BatchProfiles:
    """The profiles of the last build, read from the lake by an engine of its own: one question at a time.

    table: what conditions are asked of (default: the lake's table)
    """

    def __init__(self, shop: Shop, *, table: Callable[[Shop], ibis.Table] | None = None) -> None:
        self._table = table
        self._folder = shop.folder
        self._shop: Shop | None = None
        self._settings_at: tuple[int, ...] = ()
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[tuple[int, ...], bytes]] = OrderedDict()  # with the version of the build
        self._bytes = 0
        self._lake = shop.lake  # for the manifest alone: a file, no engine
        self._manifest = str(shop.lake.folder / MANIFEST)
        self._stamp: tuple[int, ...] = ()
        self._version: tuple[int, ...] = ()

    def close(self) -> None:
        with self._lock:
            if self._shop is not None:
                self._shop.close()
            self._shop = None

    def peek(self, user: str) -> Row | None:
        if stamp_of(self._manifest) != self._stamp:
            self._look()
        found = self._kept.get(user)
        return None if found is None or found[0] != self._version else _decode(found[1])

    def one(self, user: str) -> Row | None:
        return self.many([user]).get(user)

    def many(self, users: Sequence[str]) -> dict[str, Row]:
        found = {user: row for user in users if (row := self.peek(user)) is not None}
        missing = [user for user in dict.fromkeys(users) if user not in found and is_pseudonym(user)]
        if not missing:
            return found
        with self._lock:
            version, rows = self._version, self._read(missing)  # a build that comes meanwhile makes them old, not wrong
            if joined := self._joined([user for user in missing if user not in rows]):
                others = self._read(sorted(set(joined.values())))
                rows |= {user: others[other] for user, other in joined.items() if other in others}
            for user, row in rows.items():
                self._keep(user, version, msgspec.json.encode(row))
        return found | rows

    def reads(self, where: str) -> tuple[str, ...]:
        with self._lock:
            condition = self._reader().read(where, name="where")
            calls = {call.function for call in condition.sets.values()}
        return condition.traits + (("tags",) if "tagged" in calls else ()) + (("top_categories",) if "likes" in calls else ())  # fmt: skip

    def columns(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(name for name in self._open().lake.table("profiles").columns if name not in LEFT_OUT)

    def find(self, where: str, *, columns: Sequence[str], limit: int, after: str = "") -> list[Row]:
        with self._lock:
            found = self._members(where)
            if after:
                found = found.filter(found.user_id > after)
            picked = found.select("user_id", *(name for name in columns if name != "user_id"))
            ordered = picked.order_by("user_id").limit(limit)
            return [_ready(row) for row in self._open().engine.rows(ordered)]

    def count(self, where: str) -> int:
        with self._lock:
            engine = self._open().engine
            return int(engine.value(f"SELECT count(*) FROM ({engine.sql(self._members(where))})"))

    def recent(self, user: str) -> list[Row]:
        return []

    # ---- behind the lock -------------------------------------------------------------------------------------------

    def _members(self, where: str) -> Any:
        reader = self._reader()
        return reader.members(reader.read(where, name="where")) if where.strip() else reader.profiles

    def _reader(self) -> Reader:
        shop = self._open()
        others = {name: one.when for name, one in shop.settings.audiences.items()}
        reader = Reader(shop.lake, others, shop.settings.profile)
        if self._table is not None:
            reader.profiles = self._table(shop)
        return reader

    def _open(self) -> Shop:
        """The shop by its settings of now."""
        at = stamp_of(str(self._folder / SETTINGS))
        if self._shop is None or at != self._settings_at:
            fresh = Shop.open(self._folder)
            if self._shop is not None:
                self._shop.close()
            self._shop, self._settings_at = fresh, at
        return self._shop

    def _read(self, users: Sequence[str]) -> dict[str, Row]:
        shop = self._open()
        engine, lake = shop.engine, shop.lake
        listed = ", ".join(map(quote, users))
        rows = engine.rows(f"SELECT * FROM ({engine.sql(lake.table('profiles'))}) WHERE user_id IN ({listed})")
        told: dict[str, Row] = {}
        if rows and lake.has("ready.users"):
            people, buckets = lake.table("ready.users"), sorted({str(bucket_of(user)) for user in users})
            where = f"user_id IN ({listed}) AND bucket IN ({', '.join(buckets)})"
            sql = f"SELECT user_id, sources, filled FROM ({engine.sql(people)}) WHERE {where}"
            told = {row["user_id"]: row for row in engine.rows(sql)}
        made = str(lake.note("profile").get("finished_at", "")).replace("+00:00", "Z")
        return {
            row["user_id"]: _ready(row) | _said(told.get(row["user_id"], {})) | {"updated_at": made} for row in rows
        }

    def _joined(self, visitors: Sequence[str]) -> dict[str, str]:
        """Visitor → the customer they turned out to be."""
        shop = self._open()
        if not visitors or not shop.lake.rows("identity.links"):
            return {}
        links = shop.engine.sql(shop.lake.table("identity.links"))
        listed = ", ".join(map(quote, visitors))
        rows = shop.engine.rows(
            f"SELECT anonymous_id, max_by(user_id, since) AS user_id FROM ({links}) WHERE anonymous_id IN ({listed}) GROUP BY 1"
        )
        return {row["anonymous_id"]: row["user_id"] for row in rows}

    def _keep(self, user: str, version: tuple[int, ...], row: bytes) -> None:
        before = self._kept.pop(user, None)
        self._bytes += len(row) - (0 if before is None else len(before[1]))
        self._kept[user] = version, row
        while self._bytes > KEPT_BYTES and self._kept:
            self._bytes -= len(self._kept.popitem(last=False)[1][1])

    def _look(self) -> None:
        """Forgets the rows at hand where `profiles` or the links were written anew."""
        stamp, tables = stamp_of(self._manifest), self._lake.manifest().tables
        names = ("profiles", "identity.links")
        version = tuple(tables[name].version if name in tables else -1 for name in names)
        if version != self._version:
            self._kept, self._bytes = OrderedDict(), 0
        self._stamp, self._version = stamp, version


def stamp_of(path: str) -> tuple[int, ...]:
    """Another one whenever the file has been written since (() where there is none): asked for with every profile, so no Path."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path costs three times the call
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def is_pseudonym(text: str) -> bool:
    """Whether a text could be one: 12 letters and digits."""
    return len(text) == 12 and text.isascii() and text.isalnum()


def _ready(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with values as JSON has them."""
    return {name: _plain(value) for name, value in row.items() if name not in LEFT_OUT}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return write_time(value)
    if isinstance(value, date):
        return value.isoformat()
    return finite(value)


def _said(person: Mapping[str, Any]) -> dict[str, Any]:
    """Who says what of a customer, and what was guessed."""
    sources = msgspec.json.decode(person["sources"]) if person.get("sources") else {}
    return {"sources": sources if isinstance(sources, dict) else {}, "filled": list(person.get("filled") or ())}
