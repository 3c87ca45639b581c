"""`row_hash` of clean.events: one whole number for all that later steps read of a row, so that a build finds what changed."""

from __future__ import annotations

from huaxiang.tables import EVENTS

# `extra` and the lineage but for `source` (which the ledger of links keeps) are read by no later step.
HASHED = (*(column.name for column in EVENTS.stored if column.name != "extra"), "source", "refund_of", "refunded")


def row_hash_sql() -> str:
    """SQL of `row_hash` over the columns of clean.events (63 bits: Delta has no unsigned numbers)."""
    return f"(hash({', '.join(HASHED)}) >> 1)::BIGINT"
