"""The tables of the live profiles, beside those of the live states (features/live/tables.py)."""

from __future__ import annotations

from huaxiang.store import Migration

PART = "profiles"
MIGRATIONS = (
    Migration(
        1,
        (
            # as_of: the local day (days since 1970); at: when it was made (µs); content: JSON, a row of `profiles`
            "CREATE TABLE profile (key {integer} PRIMARY KEY, user_id TEXT NOT NULL, as_of {integer} NOT NULL, at {integer} NOT NULL, content {blob} NOT NULL)",
            "CREATE INDEX profile_at ON profile (at, key)",
            "CREATE INDEX profile_as_of ON profile (as_of)",
            # What the last build knew and no event changes, as MessagePack; declared: what `identify` said since
            "CREATE TABLE kept (key {integer} PRIMARY KEY, user_id TEXT NOT NULL, content {blob})",
            "CREATE TABLE declared (key {integer} NOT NULL, at {integer} NOT NULL, user_id TEXT NOT NULL, content {blob} NOT NULL, PRIMARY KEY (key, at)){by_key}",
            "CREATE TABLE foreseen (key {integer} PRIMARY KEY, user_id TEXT NOT NULL, content {blob} NOT NULL)",
            # Customers whose state changed after their profile was made. since: µs
            "CREATE TABLE stale (key {integer} PRIMARY KEY, user_id TEXT NOT NULL, since {integer} NOT NULL)",
            "CREATE TABLE made (name TEXT PRIMARY KEY, value TEXT NOT NULL){by_key}",
        ),
    ),
)
