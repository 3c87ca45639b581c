"""Who is tied to whom, from identifiers, declared relations and days of sudden demand, as known at the moment asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from huaxiang.apply.guard.ties import KINDS, read_ties
from huaxiang.apply.guard.window import Sources, Window, bursts_sql
from huaxiang.engine import Engine

BEFORE, AFTER = datetime(2025, 5, 1), datetime(2025, 6, 2)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(memory_gb=0.3, threads=1) as opened:
        yield opened


def stored(engine: Engine, rows: list[dict[str, object]], types: dict[str, pa.DataType]) -> str:
    return f"SELECT * FROM {engine.load(pa.Table.from_pylist(rows, pa.schema(types.items()))).get_name()}"


def make_window(engine: Engine, *, users: int) -> Window:
    """A window in which users u0 … were seen and nothing was bought."""
    lines = engine.store("SELECT 1 AS user_no, 1 AS item_no, DATE '2025-05-01' AS day WHERE false")
    members = engine.store(f"SELECT n::INTEGER AS user_no, 'u' || n AS user_id FROM range({users}) t(n)")
    return Window(
        date(2025, 6, 1), lines, "", "", members, engine.store(bursts_sql(lines, date(2025, 6, 1))), browses=False
    )


def held(engine: Engine, sources: Sources, *, users: int) -> set[tuple[str, tuple[int, ...]]]:
    """Each key as its kind and those who have it."""
    ties = read_ties(engine, sources, make_window(engine, users=users))
    return {(KINDS[ties.kind[key]], tuple(ties.user[ties.key == key].tolist())) for key in range(ties.keys)}


def test_identifiers_of_users_and_of_visitors_who_turned_out_to_be_users(engine: Engine) -> None:
    types = {"kind": pa.string(), "value": pa.string(), "user_id": pa.string(), "anonymous_id": pa.string(), "ts": pa.timestamp("us")}  # fmt: skip
    identifiers = stored(engine, [
        {"kind": "device", "value": "d", "user_id": "u0", "ts": BEFORE},
        {"kind": "device", "value": "d", "user_id": "u0", "ts": None},  # the same again
        {"kind": "device", "value": "d", "anonymous_id": "a", "ts": BEFORE},
        {"kind": "device", "value": "d", "user_id": "u2", "ts": AFTER},  # not known yet
        {"kind": "bank_card", "value": "d", "user_id": "u3", "ts": BEFORE},  # another kind is another key, and one holder is none
        {"kind": "收货地址", "value": "x", "user_id": "u1", "ts": BEFORE},
        {"kind": "收货地址", "value": "x", "user_id": "u3", "ts": BEFORE},
    ], types)  # fmt: skip
    links = (
        f"SELECT 'a' AS anonymous_id, 'u1' AS user_id, TIMESTAMP '{BEFORE}' AS since, TIMESTAMP '{BEFORE}' AS known_at"
    )
    found = held(engine, Sources("", "", identifiers, "", links), users=4)
    assert found == {("device", (0, 1)), ("address", (1, 3))}


def test_relations_of_what_is_shared_count_once_and_friends_do_not(engine: Engine) -> None:
    types = {"user_id": pa.string(), "other_id": pa.string(), "kind": pa.string(), "since": pa.timestamp("us")}
    relations = stored(engine, [
        {"user_id": "u0", "other_id": "u1", "kind": "shared_payment", "since": BEFORE},
        {"user_id": "u1", "other_id": "u0", "kind": "shared_payment", "since": None},
        {"user_id": "u1", "other_id": "u2", "kind": "friend", "since": BEFORE},
        {"user_id": "u1", "other_id": "u2", "kind": "shared_device", "since": AFTER},
        {"user_id": "u2", "other_id": "u2", "kind": "shared_device", "since": BEFORE},
        {"user_id": "u2", "other_id": "gone", "kind": "shared_address", "since": BEFORE},
    ], types)  # fmt: skip
    assert held(engine, Sources("", "", "", relations), users=3) == {("payment", (0, 1))}


def test_a_burst_is_a_day_far_above_the_item_s_usual_day(engine: Engine) -> None:
    # "new" is bought by six on one of ten days: usual (6 − 6) / 9 = 0, and 6 ≥ 6 × 0.5. "milk" by six every day: 6 < 6 × 6.5.
    rows = [{"user_no": n, "item_no": 1, "day": date(2025, 5, day)} for day in range(1, 11) for n in range(6)]
    rows += [{"user_no": n, "item_no": 2, "day": date(2025, 5, 3)} for n in range(6)]
    lines = engine.store(stored(engine, rows, {"user_no": pa.int32(), "item_no": pa.int32(), "day": pa.date32()}))
    assert engine.rows(bursts_sql(lines, date(2025, 6, 1))) == [
        {"item_no": 2, "day": date(2025, 5, 3), "buyers": 6, "ago": 28}
    ]
