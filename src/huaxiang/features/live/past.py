"""The past, from ready.events, as the rows a fold reads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from huaxiang.engine import Engine
from huaxiang.features.live.fold import Fold
from huaxiang.features.text import day_number

_MADE = {
    "day_no": day_number("day"),
    "known_no": day_number("known_day"),
    "day": day_number("day"),
    "ts": "epoch_us(ts)",
}


def past_sql(fold: Fold, ready_events: str, as_of: date, kept: str = "TRUE", *, by_user: bool = False) -> str:
    """SQL of user_id and fold.columns for the events of `ready_events` (SQL) that were known before `as_of`, in the order in
    which they became known (by_user: one user after the other)."""
    columns = ", ".join(f"{_MADE.get(name, name)} AS {name}_" for name in fold.columns)
    return (
        f"SELECT user_id, {columns} FROM ({ready_events}) WHERE known_day < DATE '{as_of}' AND ({kept}) "
        f"ORDER BY {'user_no, ' if by_user else ''}known_at, ts, event_id"
    )


def past_rows(engine: Engine, sql: str) -> Iterator[tuple[str, list[Any]]]:
    """User and row of each event that `past_sql` gives."""
    for batch in engine.batches(sql):
        columns = [column.to_pylist() for column in batch.columns]
        for user, *row in zip(*columns, strict=True):
            yield user, row
