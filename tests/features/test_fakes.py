"""Orders held fake are left out alike wherever purchases are read, with an order id and without."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from huaxiang.apply.predict.value import read_buys
from huaxiang.apply.recommend.past import PURCHASE, Shelf, count_fakes, read_past
from huaxiang.engine import Engine, Lake
from huaxiang.features.fakes import FAKES, is_fake_sql

DAY = date(2025, 6, 3)
# customer, order id, order key; keys of orders without an id are those of the day
ROWS = [("a", "o1", 11), ("a", None, 7), ("b", None, 7), ("b", "o2", 22), ("c", None, None)]
FAKE = [("a", "o1", 11), ("a", None, 7)]
LEFT = ["b", "b", "c"]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.3, threads=1) as engine:
        found = Lake(tmp_path / "lake", engine)
        at = datetime(2025, 6, 3, 10)
        rows = [
            {"user_id": user, "user_no": ord(user), "bucket": 0, "event_id": f"e{n}", "event": "purchase", "event_no": PURCHASE, "item_no": 1, "day": DAY, "known_day": DAY,
             "ts": at, "order_id": order, "order_key": key, "amount": 5.0, "quantity": 1.0, "visitor": False}
            for n, (user, order, key) in enumerate(ROWS)
        ]  # fmt: skip
        with found.step("build") as step:
            step.replace("ready.events", pa.Table.from_pylist(rows))
            step.note["as_of"] = "2025-06-10"
        yield found


def hold(lake: Lake, fakes: list[tuple[str, str | None, int]]) -> None:
    held = pa.table(
        {"user_id": [row[0] for row in fakes], "order_id": [row[1] for row in fakes], "order_key": [row[2] for row in fakes]},
        schema=pa.schema([("user_id", pa.string()), ("order_id", pa.string()), ("order_key", pa.int64())]),
    )  # fmt: skip
    with lake.step("guard") as step:
        step.replace(FAKES, held)


def bought(lake: Lake) -> tuple[list[str], list[str]]:
    """Who bought, a purchase each, as recommendations and as lifetime value read it."""
    none = np.zeros(1, np.int64)
    shelf = Shelf(("i",), ("i",), none, none, none, np.ones(1), np.ones(1, bool), np.ones(1, np.int64))
    past, lines = read_past(lake, shelf), read_buys(lake, without=None)
    counted = lake.engine.rows(f"SELECT user_id FROM ({lake.engine.sql(lake.table('ready.events'))}) WHERE NOT {is_fake_sql(lake)} ORDER BY 1")  # fmt: skip
    assert lines.lines == len(counted) and lines.left_out == len(ROWS) - len(counted)
    return [past.users[at] for at in past.user], [row["user_id"] for row in counted]


def test_an_order_without_an_id_is_fake_for_its_customer_alone(lake: Lake) -> None:
    everything = [row[0] for row in ROWS]
    assert bought(lake) == (everything, everything) and count_fakes(lake) == {"orders": 0, "events": 0}
    hold(lake, FAKE)
    assert bought(lake) == (LEFT, LEFT) and count_fakes(lake) == {"orders": 2, "events": 2}
    hold(lake, [])
    assert bought(lake) == (everything, everything)
