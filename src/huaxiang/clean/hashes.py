"""`row_hash` of clean.events: one whole number for all that later steps read of a row, so that a build finds what changed."""

from __future__ import annotations

from collections.abc import Collection

from huaxiang.tables import EVENTS

# `extra` and the lineage but for `source` (which the ledger of links keeps) are read by no later step.
HASHED = (*(column.name for column in EVENTS.stored if column.name != "extra"), "source", "refund_of", "refunded")


def row_hash_sql(columns: Collection[str] = HASHED) -> str:
    """SQL of `row_hash` over those of `columns` that count (63 bits: Delta has no unsigned numbers)."""
    return f"(hash({', '.join(name for name in HASHED if name in columns)}) >> 1)::BIGINT"
