"""What the engine calls its tables is never what Ibis calls a part of a query: that part would be read in the table's place."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from huaxiang.engine import Engine


@pytest.mark.parametrize("before", range(8))
def test_a_part_that_stands_twice_in_a_query_hides_no_table(tmp_path: Path, before: int) -> None:
    """Who bought the item of kind 7 (users 1 and 2) and did not return it (2 did): user 1."""
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path) as engine:
        for _ in range(before):  # tables made before: as many names are taken
            engine.load(pa.table({"z": [1]}))
        users = engine.load(pa.table({"user": [1, 2, 3]}))
        events = engine.load(pa.table({"user": [1, 2, 3, 2], "item": [5, 5, 6, 5], "event": [10, 10, 10, 12]}))
        items = engine.load(pa.table({"item": [5, 6], "kind": [7, 8]}))
        named = items.filter(items.kind == 7)

        def did(event: int):
            done = events.filter(events.event == event)
            done = done.filter(done.item.isin(named.item))
            return users.user.isin(done.filter(done.user.notnull()).user).fill_null(False)

        assert engine.rows(users.filter(did(10) & ~did(12))) == [{"user": 1}]
