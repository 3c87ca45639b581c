"""The tables of hooks and of live membership. Times are microseconds since 1970; users are pseudonyms."""

from __future__ import annotations

from huaxiang.store import Migration

HOOKS, MEMBERS = "hooks", "members"

HOOK_MIGRATIONS = (
    Migration(
        1,
        (
            # One row a change and hook. batch: the first id of those that went out together; they do so at every try.
            "CREATE TABLE outbox (id {serial}, hook TEXT NOT NULL, audience TEXT NOT NULL, user_id TEXT NOT NULL, change TEXT NOT NULL, at {integer} NOT NULL, batch {integer}, attempts {integer} NOT NULL DEFAULT 0, delivered_at {integer}, dead_at {integer}, error TEXT)",
            "CREATE INDEX outbox_waiting ON outbox (hook, id) WHERE delivered_at IS NULL AND dead_at IS NULL",
            "CREATE INDEX outbox_dead ON outbox (hook, id) WHERE dead_at IS NOT NULL",
            "CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL",
            "CREATE INDEX outbox_user ON outbox (user_id, audience)",
            # How a receiver does. holder, held_until: the process that delivers to it now.
            "CREATE TABLE hook (name TEXT PRIMARY KEY, attempts {integer} NOT NULL DEFAULT 0, next_at {integer} NOT NULL DEFAULT 0, failing_since {integer}, error TEXT, closed_at {integer}, holder TEXT, held_until {integer} NOT NULL DEFAULT 0)",
        ),
    ),
)

MEMBER_MIGRATIONS = (
    Migration(
        1,
        (
            "CREATE TABLE member (user_id TEXT NOT NULL, audience TEXT NOT NULL, since {integer} NOT NULL, PRIMARY KEY (user_id, audience)){by_key}",
            # The definition by which `member` was found last.
            "CREATE TABLE followed (audience TEXT PRIMARY KEY, version TEXT NOT NULL)",
        ),
    ),
)
