"""The live profiles in the store: what is kept of each customer from the last build, and the profile that is made of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from huaxiang.features.live.tables import key_of
from huaxiang.profile.because import write_time
from huaxiang.store import Database, Writer

AT_ONCE = 500
LEFT_OUT = frozenset({"embedding", "user_no"})
STALE = "INSERT INTO stale (key, user_id, since) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING"
PROFILE = (
    "INSERT INTO profile (key, user_id, as_of, at, content) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (key) DO UPDATE SET user_id = excluded.user_id, as_of = excluded.as_of, at = excluded.at, content = excluded.content"
)
KEPT = "INSERT INTO kept (key, user_id, content) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET user_id = excluded.user_id, content = excluded.content"
DECLARED = "INSERT INTO declared (key, at, user_id, content) VALUES (?, ?, ?, ?) ON CONFLICT (key, at) DO UPDATE SET content = excluded.content"
FORESEEN = "INSERT INTO foreseen (key, user_id, content) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET user_id = excluded.user_id, content = excluded.content"
to_json = msgspec.json.Encoder(decimal_format="number").encode
_encode = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


def read_kept(database: Database, users: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the last build, the behaviour model and `identify` said of users; names: of the values kept, in their order."""
    found: dict[str, dict[str, Any]] = {user: {} for user in users}
    for some, marks in _chunks(users):
        for user, content in database.rows(f"SELECT user_id, content FROM kept WHERE key IN ({marks})", some):
            if user in found:
                found[user] = dict(zip(names, _unpack(content), strict=True))
        for user, content in database.rows(f"SELECT user_id, content FROM foreseen WHERE key IN ({marks})", some):
            if user in found:
                found[user] |= _unpack(content)
        for user, content in database.rows(
            f"SELECT user_id, content FROM declared WHERE key IN ({marks}) ORDER BY at", some
        ):
            if user in found:
                found[user] |= _unpack(content)
    return found


def pack_kept(user: str, values: Sequence[Any]) -> tuple[int, str, bytes]:
    return key_of(user), user, _encode([_plain(value) for value in values])


def put_declared(write: Writer, rows: Iterable[tuple[str, int, Mapping[str, Any]]]) -> None:
    """rows: user, when it was said (µs), columns of users"""
    write.run_many(
        DECLARED,
        [
            (key_of(user), at, user, _encode({name: _plain(value) for name, value in values.items()}))
            for user, at, values in rows
            if values
        ],
    )


def put_foreseen(write: Writer, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """rows: user → columns of the profile, and what predictors read"""
    write.run_many(FORESEEN, sorted((key_of(user), user, _encode(dict(values))) for user, values in rows.items()))


def put_stale(write: Writer, users: Iterable[str], since: int) -> None:
    write.run_many(STALE, [(key_of(user), user, since) for user in users])


def drop_users(write: Writer, users: Iterable[str]) -> None:
    """Customers that are no more: visitors that became users, or erased."""
    keys = [(key_of(user),) for user in users]
    for table in ("profile", "kept", "foreseen", "declared", "stale"):
        write.run_many(f"DELETE FROM {table} WHERE key = ?", keys)


def pack_profile(row: Mapping[str, Any], as_of: int, at: int) -> tuple[int, str, int, int, bytes]:
    """embedding stands in the table of the behaviour model; values as JSON has them"""
    user = row["user_id"]
    told = {
        name: write_time(value) if isinstance(value, datetime) else value
        for name, value in row.items()
        if name not in LEFT_OUT
    }
    return key_of(user), user, as_of, at, to_json(told)


def _plain(value: Any) -> Any:
    """A time as µs since 1970."""
    return (value - datetime(1970, 1, 1)) // timedelta(microseconds=1) if isinstance(value, datetime) else value


def number_of(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def now_us() -> int:
    return time.time_ns() // 1000


def _chunks(users: Sequence[str]) -> Iterable[tuple[list[int], str]]:
    for start in range(0, len(users), AT_ONCE):
        keys = [key_of(user) for user in users[start : start + AT_ONCE]]
        yield keys, ",".join("?" * len(keys))
