"""The tables of the log."""

from __future__ import annotations

from huaxiang.store import Migration

PART = "log"
MIGRATIONS = (
    Migration(
        1,
        (
            # One row a request. received_at: microseconds since 1970; skipped: places in the body of messages that do not count;
            # ids: the hashes of the ids of those that do, one after the other.
            "CREATE TABLE request (id {serial}, source TEXT NOT NULL, received_at {integer} NOT NULL, messages {integer} NOT NULL, skipped {blob}, ids {blob}, body {blob} NOT NULL)",
            "CREATE INDEX request_received ON request (received_at)",
            # What broke the contract. offset_, place: where in the log (null: it never came that far); replayed_at: when it was sent through again.
            "CREATE TABLE refused (id {serial}, source TEXT NOT NULL, received_at {integer} NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL, body {blob} NOT NULL, replayed_at {integer}, offset_ {integer}, place {integer}, UNIQUE (offset_, place))",
            "CREATE INDEX refused_reason ON refused (reason, id)",
        ),
    ),
)
