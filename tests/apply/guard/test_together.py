"""What groups do together beyond chance, and what an order has unlike its owner: small tables, the answers by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from huaxiang.apply.guard.owner import unlike_sql
from huaxiang.apply.guard.rings import find_rings
from huaxiang.apply.guard.signals import _reviews_sql, refund_excess
from huaxiang.apply.guard.ties import KINDS, Ties
from huaxiang.apply.guard.together import Groups, copies_sql, count_coupon_users, count_made_together, find_groups
from huaxiang.apply.guard.window import Window
from huaxiang.engine import Engine

AS_OF = date(2025, 6, 1)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(memory_gb=0.3, threads=1) as opened:
        yield opened


def load(engine: Engine, rows: list[dict[str, object]], **types: pa.DataType) -> str:
    return engine.load(pa.Table.from_pylist(rows, pa.schema(list(types.items())))).get_name()


def groups_of(*members: list[int]) -> Groups:
    return Groups(np.array([user for one in members for user in one]), np.repeat(np.arange(len(members)), [len(one) for one in members]))  # fmt: skip


def copies(engine: Engine, bought: list[tuple[int, int, int]], group: list[int]) -> dict[int, int]:
    """user -> copies of their order. bought: user, item, day of May"""
    rows = [{"user_no": user, "order_key": at, "item_no": item, "day": date(2025, 5, day)} for at, (user, item, day) in enumerate(bought)]  # fmt: skip
    lines = load(engine, rows, user_no=pa.int32(), order_key=pa.int64(), item_no=pa.int32(), day=pa.date32())
    of = load(engine, [{"user_no": user, "grp": 0} for user in group], user_no=pa.int32(), grp=pa.int64())
    window = Window(AS_OF, lines, "", "", "", "", browses=False)
    return {row["user_no"]: row["copies"] for row in engine.rows(copies_sql(window, of))}


def test_a_group_that_buys_what_nobody_else_buys_copies_and_one_that_buys_milk_does_not(engine: Engine) -> None:
    crowd = [(user, 1, 3 + user % 6) for user in range(10, 410)]  # everybody buys item 1
    group = [(user, 1, 5) for user in range(4)] + [
        (user, 7, 4 + user) for user in range(3)
    ]  # days 4 to 6: one fortnight
    # item 7: 2 others in the fortnight; outside nobody of 400, so (4 − 1) × 0.5 / 401 = 0.0037 is usual, and 2 ln(2 / 0.0037) − 2 = 10.6.
    # The group bought item 1 in three spans and item 7 in three days and two fortnights or three: ln(9 / 0.01) = 6.8 at most.
    assert copies(engine, crowd + group, [0, 1, 2, 3]) == {0: 2, 1: 2, 2: 2}


def test_orders_a_month_apart_are_no_copies(engine: Engine) -> None:
    crowd = [(user, 1, 1 + user % 28) for user in range(10, 900)]
    assert copies(engine, [*crowd, (0, 7, 1), (1, 7, 22)], [0, 1]) == {}
    assert copies(engine, [*crowd, (0, 7, 8), (1, 7, 8), (2, 7, 14)], [0, 1, 2]) == {0: 2, 1: 2, 2: 2}


def test_coupons_of_new_accounts_are_a_farm_where_the_group_has_more_than_chance() -> None:
    used = np.zeros(100, dtype=bool)
    used[[0, 1, 2, 3, 50]] = True
    groups = groups_of([0, 1, 2, 3, 4], [50, 51])
    # 4 of 5, outside 1 of 95: 5 × 1.5 / 96 = 0.08 is usual, 4 ln(4 / 0.08) − 4 = 11.7 > ln 100 = 4.6; 1 of 2 with 2 × 4.5 / 99 = 0.09: 1.5
    assert count_coupon_users(groups, used)[[0, 4, 50, 51, 70]].tolist() == [4, 4, 0, 0, 0]
    assert count_coupon_users(groups_of([0, 1, 2, 3, 4]), np.ones(100, dtype=bool)).max() == 0  # everybody does


def test_accounts_made_within_days_of_one_another_are_counted_and_a_first_day_of_all_is_not() -> None:
    day = np.arange(2000.0)
    day[:4] = [100, 101, 103, 150]
    day[[7, 9]] = [300, 300]
    found = count_made_together(groups_of([0, 1, 2, 3], [7, 9]), day)
    assert found[:4].tolist() == [3, 3, 3, 0] and found[[7, 9, 20]].tolist() == [0, 0, 0]  # two may well meet by chance
    assert count_made_together(groups_of([0, 1, 2]), np.zeros(200)).max() == 0  # the day the shop began to record
    assert count_made_together(groups_of(), np.zeros(3)).tolist() == [0, 0, 0]


def test_a_locker_is_no_ring_and_its_strangers_do_not_chain() -> None:
    user, key = np.array([0, 1, 2, 3, 4, 5, 5, 6]), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    ties = Ties(8, user, key, np.array([KINDS.index("address"), KINDS.index("device")]), np.zeros(2, int))
    rings = find_rings(ties)
    assert len(rings) == 0
    groups = find_groups(ties, rings)
    assert sorted(tuple(groups.user[groups.group == at]) for at in range(2)) == [(0, 1, 2, 3, 4, 5), (5, 6)]


def test_an_address_that_a_ring_shares_is_counted_with_it() -> None:
    user, key = np.array([0, 1, 2, 3, 4, 5, 0, 1, 7]), np.array([0] * 6 + [1] * 3)
    rings = find_rings(Ties(8, user, key, np.array([KINDS.index("device"), KINDS.index("address")]), np.zeros(2, int)))
    assert rings.of.tolist() == [0] * 6 + [-1, -1] and rings.kinds[0][KINDS.index("address")] == 1


def test_refunds_count_by_how_sure_they_are_and_beside_what_the_shop_takes_back() -> None:
    # the shop: 8 + 3 of 100 + 10 + 3 orders, .097. One of one tells nothing; three of three something; eight of ten more.
    share, orders = np.array([0.0, 0.8, 1.0, np.nan]), np.array([100.0, 10, 3, 0])
    found = refund_excess(share, orders)
    assert found[0] == 0 and 0 < found[2] < found[1] < 0.8 and np.isnan(found[3])
    # Beta(8.49, 6.51), whose lower tenth is .399, less .097
    assert found[1] == pytest.approx(0.302, abs=0.005)
    assert refund_excess(np.full(50, 0.5), np.full(50, 10.0)).max() == 0  # everybody gives half back


def review(user: int, item: int, text: str) -> dict[str, object]:
    return {"event": "review", "user_no": user, "item_no": item, "day": date(2025, 5, 1 + user % 20), "rating": 5.0, "said": text, "letters": len(text)}  # fmt: skip


def test_words_that_are_written_of_everything_are_no_copies(engine: Engine) -> None:
    rows = [review(100 + n, n % 20, "very good, thank you") for n in range(100)]  # five times of each item
    rows += [review(300 + n, n % 20, f"my own words, number {n}") for n in range(200)]
    rows += [review(n, 3, "best pan of my life") for n in range(4)]
    acts = load(engine, rows, event=pa.string(), user_no=pa.int32(), item_no=pa.int32(), day=pa.date32(), rating=pa.float64(), said=pa.string(), letters=pa.int64())  # fmt: skip
    found = {row["user_no"]: row["copied_review_share"] for row in engine.rows(_reviews_sql(acts))}
    assert {user for user, share in found.items() if share > 0} == {0, 1, 2, 3}


def order(user: int, key: int, ts: datetime, amount: float, device: str = "ios") -> dict[str, object]:
    return {"user_no": user, "order_key": key, "event": "purchase", "ts": ts, "day": ts.date(), "known_day": ts.date(), "hour": ts.hour, "amount": amount, "device": device}  # fmt: skip


def test_a_thief_s_orders_are_told_by_device_address_amount_and_hour_and_a_move_by_one_sign(engine: Engine) -> None:
    start, night = datetime(2025, 3, 1, 12), datetime(2025, 5, 20, 3)
    rows = [order(user, 100 * user + n, start + timedelta(days=3 * n), 20) for user in (1, 2) for n in range(25)]
    rows += [order(1, 900, night, 80), order(1, 901, night + timedelta(minutes=20), 90)]
    rows += [order(2, 902, night + timedelta(hours=9), 25), order(3, 903, night, 20)]  # one moves house; one is new
    rows += [order(4, 1000 + n, start + timedelta(days=n), 10) for n in range(60)]
    events = load(engine, rows, user_no=pa.int32(), order_key=pa.int64(), event=pa.string(), ts=pa.timestamp("us"), day=pa.date32(), known_day=pa.date32(), hour=pa.int8(), amount=pa.float64(), device=pa.string())  # fmt: skip
    keys = [
        (1, "device", "own", start), (1, "address", "home", start), (1, "device", "thief's", night - timedelta(minutes=2)), (1, "address", "thief's", night),
        (2, "address", "old", start), (2, "address", "new", night + timedelta(hours=9)), (3, "address", "first", night), (3, "device", "first", night),
    ]  # fmt: skip
    of = load(engine, [dict(zip(("user_no", "kind", "key", "ts"), row, strict=True)) for row in keys], user_no=pa.int32(), kind=pa.string(), key=pa.string(), ts=pa.timestamp("us"))  # fmt: skip
    found = {row["order_key"]: row for row in engine.rows(unlike_sql(f"SELECT * FROM {events}", f"SELECT * FROM {of}", AS_OF))}  # fmt: skip
    for key in (900, 901):  # the first teaches nothing of the second
        assert (found[key]["new_device"], found[key]["new_address"], found[key]["dear_order"], found[key]["night_unlike"]) == (True, True, True, True)  # fmt: skip
        assert found[key]["jump"] == pytest.approx(4 if key == 900 else 4.5) and found[key]["new_payment"] is None
    assert (found[902]["new_address"], found[902]["new_device"], found[902]["dear_order"], found[902]["night_unlike"]) == (True, False, False, False)  # fmt: skip
    # signs: device, address, amount and hour; and a known device speaks for the owner who has a new address
    assert [found[key]["signs"] for key in (900, 901, 902, 903, 124)] == [4, 4, 0, 0, 0]
    assert [found[key]["unlike_orders"] for key in (900, 901, 902)] == [1, 2, 0]
    assert found[903]["new_address"] is None and found[903]["new_device"] is None  # nothing is known of the new one
    assert found[124]["new_device"] is False and found[124]["new_address"] is False
