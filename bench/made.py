"""Made tables: numbers between 0 and 1 that SQL draws from a row number and a seed, the same for the same row whatever the engine's threads; and a
lake to put them into."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from huaxiang.engine import Engine, Lake
from huaxiang.features.users import BUCKETS

AS_OF = "2025-03-01"  # of every made lake


@contextmanager
def open_made_lake() -> Iterator[tuple[Lake, Path]]:
    """A lake in a folder that goes at the end, and that folder."""
    with tempfile.TemporaryDirectory() as folder, Engine(memory_gb=2, threads=2, temp=Path(folder) / "tmp") as engine:
        yield Lake(Path(folder) / "lake", engine), Path(folder)


def draw_by(seed: int, row: str = "i") -> Callable[[int], str]:
    """SQL of a number of [0, 1) of each value of `row`; another for each salt."""
    return lambda salt: f"((hash({row} * 31 + {salt + seed * 1000}) % 1000000) / 1000000.0)"


def bucket_sql(user_id: str) -> str:
    """SQL of the bucket in which the lake looks for a user."""
    return f"(('0x' || substr(md5({user_id}), 1, 4))::INTEGER % {BUCKETS})::SMALLINT"


def items_sql(count: int, title: str, category: str, more: str = "") -> str:
    """`ready.items` of items p0, p1 …; title, category: SQL by i."""
    return f"SELECT i::INTEGER AS item_no, 'p' || i AS item_id, {title} AS title, {category} AS category{more} FROM range({count}) AS t(i)"
