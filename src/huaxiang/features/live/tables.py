"""The tables of the live states, as migrations of a live store (SQLite or PostgreSQL)."""

from __future__ import annotations

import hashlib

from huaxiang.store import Migration

PART = "states"
MIGRATIONS = (
    Migration(
        1,
        (
            # The first six may be there, in a file that an earlier version kept without numbers.
            "CREATE TABLE IF NOT EXISTS state (key {integer} PRIMARY KEY, user_id TEXT NOT NULL, content {blob} NOT NULL)",
            "CREATE TABLE IF NOT EXISTS price_days (category TEXT NOT NULL, day {integer} NOT NULL, total DOUBLE PRECISION NOT NULL, n {integer} NOT NULL, PRIMARY KEY (category, day)){by_key}",
            "CREATE TABLE IF NOT EXISTS applied (source TEXT PRIMARY KEY, upto {integer} NOT NULL){by_key}",
            "CREATE TABLE IF NOT EXISTS registered (user_id TEXT PRIMARY KEY, day {integer} NOT NULL){by_key}",
            "CREATE TABLE IF NOT EXISTS fake (order_id TEXT, order_key {integer} NOT NULL, user_id TEXT NOT NULL)",
            "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL){by_key}",
            # Who a visitor turned out to be: from each `since` (µs) on until the next, the first also for all time before.
            "CREATE TABLE link (anonymous_id TEXT NOT NULL, since {integer} NOT NULL, user_id TEXT NOT NULL, known_at {integer} NOT NULL, rule TEXT NOT NULL, PRIMARY KEY (anonymous_id, since, user_id)){by_key}",
            "CREATE INDEX link_user ON link (user_id)",
            # The events of the log since the last build, by whose id they carry: one row an owner and batch.
            "CREATE TABLE tail (key {integer} NOT NULL, upto {integer} NOT NULL, owner TEXT NOT NULL, content {blob} NOT NULL, PRIMARY KEY (key, upto)){by_key}",
            # Users that were deleted: what was received until then (µs) counts no more.
            "CREATE TABLE erased (user_id TEXT PRIMARY KEY, upto {integer} NOT NULL){by_key}",
        ),
    ),
)


def key_of(user: str) -> int:
    """Two users have one key in less than one of 10^7 shops of a million; the store then says so rather than mix them."""
    return int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8).digest(), "big") >> 1
