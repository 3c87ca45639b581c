"""What the ranker knows of customers and items at a day: features as of it, items as they were, contrasts of both; and pasts kept at hand."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from huaxiang import Shop
from huaxiang.apply.recommend import reader
from huaxiang.apply.recommend.exam import WITH, WITHOUT, choose_order
from huaxiang.apply.recommend.known import CHOSEN, known_at, read_known
from huaxiang.apply.recommend.learn import Look, look_back, score_by
from huaxiang.apply.recommend.past import PURCHASE, Past, Shelf, day_of, read_past, read_shelf
from huaxiang.apply.recommend.reader import Reader
from huaxiang.apply.recommend.sources import candidates, learn_sources
from huaxiang.apply.recommend.table import Candidates, table_of
from huaxiang.apply.recommend.versions import shelves_at
from huaxiang.engine import Engine, Lake
from huaxiang.models.next_item.base import strongest

# ---- customers as of a day ---------------------------------------------------------------------------------------------

ORDERS = [  # customer, item, day of January 2025, price
    ("ann", "i1", 1, 10.0), ("ann", "i2", 11, 30.0), ("bob", "i1", 5, 10.0), ("bob", "i1", 15, 10.0),
]  # fmt: skip
LATER = [("ann", "i3", 21, 500.0), ("ann", "i3", 25, 500.0), ("cid", "i3", 22, 500.0)]


def make_shop(folder: Path, orders: list[tuple[str, str, int, float]]) -> Shop:
    folder.mkdir()
    with (folder / "orders.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["order_id", "user_id", "item_id", "category", "quantity", "price", "order_time"])
        for number, (user, item, day, price) in enumerate(orders):
            writer.writerow([f"o{number}", user, item, f"K{item}", 1, price, f"2025-01-{day:02} 12:00:00"])
    shop = Shop.init(folder / "shop", [str(folder / "orders.csv")])
    for step in (shop.collect, shop.clean, shop.build):
        step()  # type: ignore[operator]
    return shop


def said(shop: Shop, name: str, day: str) -> dict[str, float]:
    row = known_at(shop.lake, shop.settings, [shop.pseudonyms().of(name)], [day_of(day)])[0][0]
    return dict(zip(CHOSEN, row.tolist(), strict=True))


def test_features_as_of_a_past_day_know_nothing_of_what_came_after(tmp_path: Path) -> None:
    """On January 21 Ann had bought for 10 and for 30, the last time ten days before."""
    with make_shop(tmp_path / "a", ORDERS) as short, make_shop(tmp_path / "b", ORDERS + LATER) as long:
        ann = said(short, "ann", "2025-01-21")
        assert ann == pytest.approx(said(long, "ann", "2025-01-21"), nan_ok=True)
        told = {name: ann[name] for name in ("recency_days", "orders_total", "spend_90d", "price_mean_90d", "gap_days_mean")}  # fmt: skip
        assert told == pytest.approx(
            {"recency_days": 10, "orders_total": 2, "spend_90d": 40, "price_mean_90d": 20, "gap_days_mean": 10}
        )
        assert said(long, "ann", "2025-01-26")["spend_90d"] == pytest.approx(1_040)
        assert np.isnan(list(said(long, "cid", "2025-01-21").values())).all(), "not met before that day"


def test_today_the_shops_own_table_says_the_same(tmp_path: Path) -> None:
    with make_shop(tmp_path / "a", ORDERS + LATER) as shop:
        users = [shop.pseudonyms().of(name) for name in ("bob", "ann", "nobody")]
        today = day_of(str(shop.lake.note("build")["as_of"]))
        now, then = read_known(shop.lake, users), known_at(shop.lake, shop.settings, users, [today])[0]
        assert np.array_equal(now, then, equal_nan=True)
        assert now[0, CHOSEN.index("recency_days")] == 11 and np.isnan(now[2]).all()  # as of the 26th


def test_a_look_back_takes_the_profile_of_its_day_and_never_todays() -> None:
    """25 customers who buy item 0 on day 10 and item 1 on day 22."""
    rows = [(user, item, day) for user in range(25) for item, day in ((0, 10), (1, 22))]
    past, shelf = past_of(rows), shelf_of([0, 0], [10.0, 40.0])
    today = replace(past, profile=np.full((25, len(CHOSEN)), 7.0, np.float32))
    place = table_columns().index("profile_spend_90d")
    none = look_back(today, shelf, 20, window=7, seed=1)
    assert len(none.table.user) and np.isnan(none.table.values[:, place]).all()
    then = look_back(today, shelf, 20, window=7, seed=1, profile=np.full((25, len(CHOSEN)), 3.0, np.float32))
    assert (then.table.values[:, place] == 3.0).all()


def past_of(rows: list[tuple[int, int, int]]) -> Past:
    user, item, day = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    users = tuple(f"u{place:02}" for place in range(int(user.max()) + 1))
    none = np.full(len(user), -1, np.int64)
    return Past(users, user, item, np.full(len(user), PURCHASE), day, day, none, day * 86_400)


def shelf_of(category: list[int], price: list[float], brand: list[int] | None = None) -> Shelf:
    count = len(category)
    names, none = tuple(f"i{place}" for place in range(count)), np.full(count, -1, np.int64)
    brands = none if brand is None else np.array(brand)
    return Shelf(names, names, np.array(category), none, brands, np.array(price), np.ones(count, bool), np.arange(count))  # fmt: skip


def table_columns() -> tuple[str, ...]:
    past, shelf = past_of([(0, 0, 1)]), shelf_of([0], [1.0])
    known = replace(past, profile=np.zeros((1, len(CHOSEN)), np.float32))
    learned = learn_sources(known, shelf, 2)
    return table_of(candidates(learned, known, shelf), learned, known, shelf).columns


def test_an_item_is_held_against_the_customers_price_category_and_brand() -> None:
    """She bought items 0 and 1 (category 0, brands 0 and 1) and item 2 (category 1, brand 1) on one day, at 20 by the mean, says her profile."""
    past = past_of([(0, 0, 9), (0, 1, 9), (0, 2, 9)])
    shelf = shelf_of([0, 0, 1], [10.0, 20.0, 40.0], [0, 1, 1])
    profile = np.full((1, len(CHOSEN)), np.nan, np.float32)
    profile[0, CHOSEN.index("price_mean_90d")] = 20.0
    known = replace(past, profile=profile)
    learned = learn_sources(known, shelf, 10)
    table = table_of(candidates(learned, known, shelf), learned, known, shelf)
    told = {name: table.values[:, table.columns.index(f"profile_{name}")] for name in ("price_gap", "top_category", "brand_taste")}  # fmt: skip
    assert table.item.tolist() == [0, 1, 2]
    assert told["price_gap"] == pytest.approx([np.log(0.5), 0, np.log(2)])
    assert told["top_category"].tolist() == [1, 1, 0]
    assert told["brand_taste"] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    plain = table_of(candidates(learned, past, shelf), learned, past, shelf)
    assert not [name for name in plain.columns if name.startswith("profile_")], "a shop without features has none"


class Fixed:
    """A ranker that gives what its one column says."""

    def __init__(self, column: str) -> None:
        self.columns = (column,)

    def score(self, x: np.ndarray) -> np.ndarray:
        return np.nan_to_num(x[:, 0])


def test_the_ranker_without_a_profile_is_taken_unless_the_other_is_surely_better_on_the_window_before() -> None:
    """Nine customers took item 0; `a` puts it first, `b` second of two: NDCG 1 and 1 / log2(3); `c` as `b` does, but first for one customer."""
    values = np.tile([[2.0, 1.0, 1.0, 0.0, 61.0], [1.0, 2.0, 2.0, 0.0, 61.0]], (9, 1))
    values[0, 2] = 3.0
    columns = ("a", "b", "c", "s_score", "s_rank")
    table = Candidates(np.repeat(np.arange(9), 2), np.tile([0, 1], 9), values, columns, 9)
    look = Look(0, None, 2 * np.arange(9), np.arange(9), table)  # type: ignore[arg-type]
    good, bad = Fixed("a"), Fixed("b")
    for full, plain, kept in ((good, bad, good), (bad, good, good), (good, twin := Fixed("a"), twin)):
        order, ndcg = choose_order(full, look, 2, plain=plain)  # type: ignore[arg-type]
        assert order.ranker is kept and order.lead == ""
        assert ndcg["ranker"] == 1.0 == max(ndcg[WITH], ndcg[WITHOUT])
    assert ndcg[WITH] == ndcg[WITHOUT] and order.ranker is not good, "what changes nothing is left out"
    # c gains .369 with one of nine: .041 in the mean, a standard error of .369 × √(8 / 81) / 3 = .0387. Not by two of them
    order, ndcg = choose_order(Fixed("c"), look, 2, plain=bad)  # type: ignore[arg-type]
    assert order.ranker is bad and ndcg[WITH] == pytest.approx(ndcg[WITHOUT] + (1 - 1 / np.log2(3)) / 9)
    assert choose_order(bad, look, 2, plain=good)[1][WITH] == pytest.approx(1 / np.log2(3))  # type: ignore[arg-type]
    assert score_by(Fixed("gone"), table).tolist() == [0] * 18  # type: ignore[arg-type]


# ---- items as of a day -------------------------------------------------------------------------------------------------


def version(item: str, price: float, category: str, day: str) -> dict[str, object]:
    return {
        "item_id": item, "title": item, "category": category, "brand": None, "price": price, "source": "list", "third_party": False,
        "row_id": f"{item} {day}", "collected_at": datetime.fromisoformat(f"{day}T12:00:00"),
    }  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """Item a costs 10 in K > old from January 1, 20 in K > new from February 1; item b is listed from February 1; c is met in events alone."""
    old, new, later = version("a", 10, "K > old", "2025-01-01"), version("a", 20, "K > new", "2025-02-01"), version("b", 5, "K > new", "2025-02-01")  # fmt: skip
    with Engine(temp=tmp_path / "tmp") as engine:
        found = Lake(tmp_path / "lake", engine)
        with found.step("made") as step:
            schema = pa.schema([(name, pa.float64() if name == "price" else pa.bool_() if name == "third_party" else pa.timestamp("us") if name == "collected_at" else pa.string()) for name in old])  # fmt: skip
            step.replace("raw.items", pa.Table.from_pylist([old, new, later], schema))
            step.replace("clean.items", pa.Table.from_pylist([new, later], schema))
            gone = [{"table": "items", "reason": "superseded", "row_id": old["row_id"]}]
            step.replace("quarantine", pa.Table.from_pylist(gone))
            step.replace(
                "ready.items",
                "SELECT n::INTEGER AS item_no, id AS item_id, listed, id AS title, category, no AS category_no, left(category, 1) AS category_top, no - 3 AS category_top_no, "
                "category AS category_2, no AS category_2_no, NULL::VARCHAR AS brand, NULL::INTEGER AS brand_no, price FROM "
                "(VALUES (0, 'a', true, 'K > new', 4, 20.0), (1, 'b', true, 'K > new', 4, 5.0), (2, 'c', false, NULL, NULL, NULL)) AS t(n, id, listed, category, no, price)",
            )
        yield found


@pytest.mark.parametrize(
    ("day", "price", "category", "listed"),
    [
        pytest.param("2024-12-15", [10, 5, None], [5, 4, -1], [True, True, False], id="before-any-list"),
        pytest.param("2025-01-15", [10, 5, None], [5, 4, -1], [True, False, False], id="b-not-listed-yet"),
        pytest.param("2025-02-01", [10, 5, None], [5, 4, -1], [True, False, False], id="collected-later-that-day"),
        pytest.param("2025-02-10", [20, 5, None], [4, 4, -1], [True, True, False], id="today"),
    ],
)
def test_an_item_costs_what_it_did_then(lake: Lake, day: str, price: list[float | None], category: list[int], listed: list[bool]) -> None:  # fmt: skip
    """`K > old` is the category of no item any more: it takes the number after the last."""
    found = shelves_at(lake, read_shelf(lake), [day_of(day)], zone="UTC")[0]
    assert found.price == pytest.approx([np.nan if one is None else one for one in price], nan_ok=True)
    assert found.category.tolist() == category and found.group.tolist() == category
    assert found.listed.tolist() == listed


def test_where_no_item_has_changed_the_items_are_todays(lake: Lake) -> None:
    with lake.step("again") as step:
        step.replace("clean.items", f"SELECT * FROM ({lake.engine.sql(lake.table('clean.items'))}) WHERE item_id = 'a'")
        step.replace("quarantine", pa.table({"table": ["items"], "reason": ["duplicate_row"], "row_id": ["a 2025-01-01"]}))  # fmt: skip
    shelf = read_shelf(lake)
    assert shelves_at(lake, shelf, [day_of("2025-01-15")], zone="UTC")[0] is shelf


# ---- pasts at hand -----------------------------------------------------------------------------------------------------


def same(one: Past, other: Past) -> bool:
    return one.users == other.users and all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "profile")
        for name in ("user", "item", "kind", "day", "known", "order", "second", "declared", "profile")
    )


@pytest.mark.parametrize("held", [10**6, 1], ids=["at-hand", "too-large-to-keep"])
def test_a_past_at_hand_is_the_one_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(reader, "BLOCK", 2)  # two blocks of buckets
    monkeypatch.setattr(reader, "HELD", held)
    with make_shop(tmp_path / "a", ORDERS) as shop:
        shelf = read_shelf(shop.lake)
        found = Reader(shop.lake, shelf)
        for name in ("ann", "bob", "nobody", "ann"):
            user = shop.pseudonyms().of(name)
            past = read_past(shop.lake, shelf, user_id=user)
            assert same(found.past_of(user), past) and len(past.item) == (0 if name == "nobody" else 2)
        ann = shop.pseudonyms().of("ann")
        with shop.lake.step("erased") as step:
            step.replace("ready.events", f"SELECT * FROM ({shop.engine.sql(shop.lake.table('ready.events'))}) WHERE user_id <> '{ann}'")  # fmt: skip
        assert len(found.past_of(ann).item) == 0, "what was erased is not at hand any more"
        assert found.past_of(ann).users == (ann,)


@pytest.mark.parametrize("held", [10**6, 1], ids=["at-hand", "too-large-to-keep"])
def test_the_profile_of_a_past_at_hand_is_of_the_day_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int) -> None:  # fmt: skip
    monkeypatch.setattr(reader, "HELD", held)
    with make_shop(tmp_path / "a", ORDERS) as shop:
        shelf, ann = read_shelf(shop.lake), shop.pseudonyms().of("ann")
        day = day_of(str(shop.lake.note("build")["as_of"]))
        today = Reader(shop.lake, shelf, shop.settings, day=day, profiled=True).past_of(ann)
        assert same(today, read_past(shop.lake, shelf, user_id=ann))
        later = Reader(shop.lake, shelf, shop.settings, day=day + 7, profiled=True).past_of(ann)
        recency = CHOSEN.index("recency_days")
        assert later.profile[0, recency] == today.profile[0, recency] + 7
        # the last one of what was known before the day, not of all: ann bought i1 on January 1, i2 on January 11
        monkeypatch.setattr("huaxiang.apply.recommend.past.LAST", 1)
        early = Reader(shop.lake, shelf, shop.settings, day=day_of("2025-01-05"), profiled=True).past_of(ann)
        assert [shelf.ids[item] for item in early.item] == ["i1"] and early.profile[0, recency] == 4
        bob = shop.pseudonyms().of("bob")  # who first bought on January 5
        fresh = Reader(shop.lake, shelf, shop.settings, day=day_of("2025-01-03"), profiled=True).past_of(bob)
        assert not len(fresh.item) and fresh.profile[0, CHOSEN.index("orders_total")] == 0


def test_the_strongest_of_each_row_are_those_that_sorting_finds() -> None:
    """Rows of no to 300 values, of which many are equal: of those the further left stay."""
    random = np.random.default_rng(3)
    full = np.zeros((30, 300))
    for row in range(30):
        full[row, random.permutation(300)[: row * 10]] = random.integers(1, 6, row * 10)
    from scipy.sparse import csr_matrix

    found = strongest(csr_matrix(full), 7).toarray()
    for row in range(30):
        best = np.argsort(-full[row], kind="stable")[:7]
        wanted = np.zeros(300)
        wanted[best] = full[row, best]
        assert np.array_equal(found[row], wanted)


def test_one_moment_later_is_another_stamp_of_the_lake(tmp_path: Path) -> None:
    with Engine(temp=tmp_path / "tmp") as engine:
        lake = Lake(tmp_path / "lake", engine)
        assert lake.stamp() == ()
        seen = set()
        for turn in range(3):
            with lake.step("made") as step:
                step.replace("t", f"SELECT {turn} AS x")
            seen.add(lake.stamp())
            assert lake.stamp() in seen
        assert len(seen) == 3
