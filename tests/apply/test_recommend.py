"""Recommendations: timing and rules by hand; a small shop through learning, lists and reasons that must be true."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from huaxiang import Shop
from huaxiang.apply.recommend.again import due, fit_timing
from huaxiang.apply.recommend.exam import choose_order, take_exam
from huaxiang.apply.recommend.learn import Look, look_back
from huaxiang.apply.recommend.past import PURCHASE, Past, Shelf, day_of, read_past, read_shelf
from huaxiang.apply.recommend.places import Shown
from huaxiang.apply.recommend.recommend import Recommend
from huaxiang.apply.recommend.rules import allowed, arrange, capped
from huaxiang.apply.recommend.show import exam_notes, reason, show_list
from huaxiang.apply.recommend.sources import candidates, learn_sources
from huaxiang.apply.recommend.store import load_desk
from huaxiang.apply.recommend.table import Candidates, table_of
from huaxiang.apply.recommend.written import TABLE
from huaxiang.cli.run import run_words
from huaxiang.errors import HuaxiangError, ModelError, ShopError
from huaxiang.features.fakes import FAKES
from huaxiang.look.numbers import Numbers
from huaxiang.report.recommend import recommend_body
from huaxiang.settings.recommend import RecommendSettings
from huaxiang.words import Words

ITEMS = 30


def shelf_of(category: list[int], price: list[float] | None = None) -> Shelf:
    count = len(category)
    names = tuple(f"i{place}" for place in range(count))
    none = np.full(count, -1, np.int64)
    return Shelf(
        names, names, np.array(category), none, none, np.array(price or [1.0] * count), np.ones(count, bool), np.arange(count)
    )  # fmt: skip


def past_of(rows: list[tuple[int, int, int, int]]) -> Past:
    """rows: customer, item, day, order."""
    user, item, day, order = (
        np.array(column, np.int64) for column in zip(*sorted(rows, key=lambda row: (row[0], row[2])), strict=True)
    )
    users = tuple(f"u{place}" for place in range(int(user.max()) + 1))
    return Past(users, user, item, np.full(len(user), PURCHASE), day, day, order, day * 86_400)


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_what_is_bought_every_ten_days_is_due_after_ten() -> None:
    """Twenty customers buy item 0 every 10 days and item 1 every 40."""
    rows = [(user, 0, day, -1) for user in range(20) for day in range(user % 3, 100, 10)]
    rows += [(user, 1, day, -1) for user in range(20) for day in range(user % 3, 100, 40)]
    past, shelf = past_of(rows), shelf_of([0, 1])
    timing = fit_timing(past, shelf, 101)
    assert np.exp(timing.mean) == pytest.approx([10, 40], rel=0.15)
    last = max(day for user, item, day, _ in rows if user == 0 and item == 0)
    chance = [float(due(timing, past, shelf, last + days, horizon=5)[0, 0]) for days in (1, 8, 60)]
    assert chance[0] < chance[1] and chance[1] > 0.5
    assert chance[2] < 0.9  # long overdue: they may have stopped
    slow = due(timing, past, shelf, last + 8, horizon=5)[0, 1]
    assert float(slow) < chance[1]


def test_items_of_one_order_go_together_and_what_comes_later_changes_nothing() -> None:
    rows = [(user, item, user, user) for user in range(10) for item in ((0, 1) if user % 2 else (2, 3))]
    past, shelf = past_of(rows), shelf_of([0, 0, 1, 1])
    learned = learn_sources(past, shelf, 20)
    assert learned.goes[0].toarray().ravel().tolist() == pytest.approx([0, 1, 0, 0])
    later = past_of([*rows, (0, 3, 25, 99), (1, 3, 25, 99), (1, 0, 25, 99)])
    again = learn_sources(later, shelf, 20)
    assert (again.goes != learned.goes).nnz == 0 and np.array_equal(again.popular, learned.popular)
    one, other = (table_of(candidates(learned, some, shelf), learned, some, shelf) for some in (past, later))
    assert np.array_equal(one.values, other.values, equal_nan=True) and np.array_equal(one.item, other.item)


def test_a_new_customer_gets_what_is_popular_among_those_who_declared_the_same() -> None:
    """Forty customers of A buy item 0 and forty of B item 1, five days; one of C bought item 2 once. Four came yesterday, and did nothing yet."""
    rows = [(user, int(user >= 40), day, -1) for user in range(80) for day in range(5)] + [(80, 2, 4, -1)]
    bought, shelf = past_of(rows), shelf_of([0, 0, 0])
    place = ["city=A"] * 40 + ["city=B"] * 40 + ["city=C", "city=A", "city=B", "city=C", ""]
    past = replace(bought, users=tuple(f"u{n:02}" for n in range(85)), declared=np.array(place)[:, None])
    learned = learn_sources(past, shelf, 5)
    found = candidates(learned, past, shelf)["peers"].toarray()
    best = found.argmax(axis=1)
    assert best[81] == 0 and best[82] == 1 and not found[84].any()
    # 200 events, fading by half in 14 days: their weight is n; of A n on item 0, and 100 more in the shop's shares
    n = 40 * sum(0.5 ** ((5 - day) / 14) for day in range(5))
    one = 0.5 ** (1 / 14)
    assert found[81, 0] == pytest.approx((n + 100 * n / (2 * n + one)) / (n + 100))
    # one purchase says little of C: its item stays behind what the whole shop buys
    assert (
        found[83, 2] == pytest.approx((one + 100 * one / (2 * n + one)) / (one + 100)) and found[83, 2] < found[83, 0]
    )
    nobody = learn_sources(bought, shelf, 5)
    assert "peers" not in candidates(nobody, bought, shelf)


def test_customers_who_declare_something_else_and_did_nothing_get_other_lists(tmp_path: Path) -> None:
    """Those of North buy items 0 to 14, those of South 15 to 29; two new ones are known by their city alone."""
    rows = [row for row in orders(120) if (int(str(row[2])[1:]) < 15) == (int(str(row[1])[1:]) % 2 == 0)]
    said = [(f"c{n}", "South" if n % 2 else "North") for n in range(120)] + [("new0", "North"), ("new1", "South")]
    with (tmp_path / "users.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("user_id", "city"), *said])
    with make_shop(tmp_path, rows, more=[str(tmp_path / "users.csv")]) as shop:
        shop.recommend.train()
        north, south = ([int(one.item_id[1:]) for one in shop.recommend.show(shop.pseudonym(name))] for name in ("new0", "new1"))  # fmt: skip
        assert north != south
        assert sum(item < 15 for item in north[:5]) > sum(item < 15 for item in south[:5])
        lists = shop.engine.rows(f"SELECT user_id, list(item_id ORDER BY place) AS items FROM ({shop.engine.sql(shop.lake.table(TABLE))}) GROUP BY user_id")  # fmt: skip
        listed = {row["user_id"]: [int(item[1:]) for item in row["items"]] for row in lists}
        assert len(listed) == 122 == shop.lake.rows("ready.users"), "of those too who did nothing"
        assert listed[shop.pseudonym("new0")] == north and listed[shop.pseudonym("new1")] == south
        assert listed[shop.pseudonym("c7")] == [
            int(one.item_id[1:]) for one in shop.recommend.show(shop.pseudonym("c7"))
        ]
        assert Shop.open(shop.folder).recommend.show(shop.pseudonym("new0"), now=datetime(2025, 7, 1))


def some_candidates(
    category: list[int], score: list[float], price: list[float] | None = None
) -> tuple[Candidates, np.ndarray, Shelf]:
    count = len(category)
    table = Candidates(np.zeros(count, np.int64), np.arange(count), np.zeros((count, 1)), ("x",), 1)
    return table, np.array(score), shelf_of(category, price)


def test_a_category_fills_no_more_places_than_it_may() -> None:
    table, score, shelf = some_candidates([0, 0, 0, 1, 2], [5, 4, 3, 2, 1])
    rules = RecommendSettings(per_category=1, variety=0)
    assert arrange(table, score, shelf, rules, count=5, seed=1).row.tolist() == [[0, 3, 4, -1, -1]]
    assert arrange(table, score, shelf, RecommendSettings(per_category=0, variety=0), count=3, seed=1).row.tolist() == [
        [0, 1, 2]
    ]


def test_variety_moves_what_is_like_the_first_down() -> None:
    table, score, shelf = some_candidates([0, 0, 1, 2], [10, 9.9, 9.5, 0])
    assert arrange(table, score, shelf, RecommendSettings(variety=1.0), count=3, seed=1).row.tolist() == [[0, 2, 1]]


def test_prices_stock_owned_and_banned_items_are_left_out() -> None:
    table, _, shelf = some_candidates([0] * 5, [1] * 5, [1, 5, 10, 5, 5])
    shelf = replace(shelf, listed=np.array([True, True, True, False, True]))
    rules = RecommendSettings(price_from=2, price_to=9, never=("i4",))
    assert np.flatnonzero(allowed(table, shelf, rules, owned=np.array([0]), drop_owned=True)).tolist() == [1]
    assert np.flatnonzero(
        allowed(table, shelf, RecommendSettings(), owned=np.array([0, 1]), drop_owned=True)
    ).tolist() == [2, 4]
    assert np.flatnonzero(
        allowed(table, shelf, RecommendSettings(), owned=np.array([0, 1]), drop_owned=False)
    ).tolist() == [0, 1, 2, 4]


def test_places_left_to_chance_say_how_likely_they_were() -> None:
    """4,000 customers, 5 candidates each, one place: it shows the best with chance 1 − explore + explore / 5, each other with explore / 5."""
    users, rules = 4_000, RecommendSettings(explore=0.5, variety=0)
    table = Candidates(
        np.repeat(np.arange(users), 5), np.tile(np.arange(5), users), np.zeros((users * 5, 1)), ("x",), users
    )
    found = arrange(table, np.tile([5.0, 4, 3, 2, 1], users), shelf_of([0] * 5), rules, count=1, seed=3)
    shown = np.bincount(table.item[found.row[:, 0]], minlength=5) / users
    assert shown == pytest.approx([0.6, 0.1, 0.1, 0.1, 0.1], abs=0.03)
    for item, chance in ((0, 0.6), (3, 0.1)):
        assert found.propensity[table.item[found.row[:, 0]] == item] == pytest.approx(chance)


def looked(scores: dict[str, list[float]], bought: list[int]) -> Look:
    """A look at customers of four items each: each source's score, and the keys that were bought."""
    count = len(next(iter(scores.values())))
    columns, values = [], []
    for name, score in scores.items():
        rank = np.concatenate([np.argsort(np.argsort(-np.array(score[low : low + 4]))) + 1 for low in range(0, count, 4)])  # fmt: skip
        columns += [f"{name}_score", f"{name}_rank"]
        values += [np.array(score), rank.astype(float)]
    table = Candidates(np.arange(count) // 4, np.arange(count) % 4, np.column_stack(values), tuple(columns), count // 4)
    return Look(0, None, np.array(bought), np.unique(np.array(bought) // 4), table)  # type: ignore[arg-type]


class Backwards:
    """A ranker that puts the items from the last to the first."""

    columns = ("nothing_score",)

    def score(self, x: np.ndarray) -> np.ndarray:
        return np.tile([0.0, 1, 2, 3], len(x) // 4)

    def gains(self) -> dict[str, float]:
        return {}


def test_the_list_follows_a_source_that_did_better_than_the_ranker_and_the_ranker_breaks_ties() -> None:
    look = looked({"good": [9, 0.5, 0.5, 0] * 5, "bad": [0, 1, 2, 3] * 5}, [4 * user for user in range(5)])  # item 0
    order, ndcg = choose_order(Backwards(), look, 4)  # type: ignore[arg-type]
    assert order.lead == "good"
    # first of the list: 1; last of four: 1 / log2(5)
    assert ndcg == pytest.approx({"ranker": 1 / np.log2(5), "good": 1.0, "bad": 1 / np.log2(5)})
    assert np.argsort(-order.score(look.table)[:4]).tolist() == [
        0,
        2,
        1,
        3,
    ]  # 1 and 2 are equal: the ranker has 2 first
    other, _ = choose_order(Backwards(), looked({"bad": [1, 2, 3, 0] * 5}, [4 * user + 3 for user in range(5)]), 4)  # type: ignore[arg-type]
    assert other.lead == ""


def test_the_exam_of_a_led_list_says_so_with_intervals() -> None:
    bought = [4 * user + (user % 4 == 3) for user in range(40)]  # three in four take item 0, the others item 1
    look = looked({"good": [9, 0.5, 0.4, 0] * 40}, bought)
    order, ndcg = choose_order(Backwards(), look, 4)  # type: ignore[arg-type]
    nothing = past_of([(user, 0, 99, -1) for user in range(40)])  # after the day: nobody had anything before
    exam = take_exam(look, {"any": order, "new": order}, {}, nothing, 4, 14, valid={"any": ndcg, "new": ndcg}, seed=1)
    assert exam.led == {"any": "good", "new": "good"} and set(exam.figures) == {"ranker", "ranker alone", "good"}
    list_, alone = exam.figures["ranker"], exam.figures["ranker alone"]
    assert list_["ndcg@10"] == pytest.approx((3 + 1 / np.log2(3)) / 4)
    # 40 draws of which a quarter are .631 and the others 1: a standard error of .0253
    assert list_["ndcg_low"] == pytest.approx(list_["ndcg@10"] - 1.96 * 0.0253, abs=0.01)
    assert list_["ndcg_high"] == pytest.approx(list_["ndcg@10"] + 1.96 * 0.0253, abs=0.01)
    assert 0 < alone["behind_low"] < alone["behind_high"] and exam.figures["good"]["behind_high"] == 0
    with_words = asdict(exam) | {"led": {"any": "again", "new": ""}, "valid": {"any": {"again": 0.5, "ranker": 0.25}}}
    assert exam_notes(with_words, "en")[0].startswith("On the window before, due again alone did better")


# ---- a whole shop ------------------------------------------------------------------------------------------------------


def orders(customers: int = 150, *, seed: int = 5) -> list[tuple[object, ...]]:
    """Each customer buys one pair of items (2k, 2k + 1) again and again in one order, every 9 days or so, and now and then another."""
    random = np.random.default_rng(seed)
    rows: list[tuple[object, ...]] = []
    for customer in range(customers):
        own = 2 * int(random.integers(ITEMS // 2))
        for visit in range(14):
            day = 9 * visit + int(random.integers(5))
            when = np.datetime64("2025-01-01T10:00:00") + np.timedelta64(24 * day, "h") + np.timedelta64(customer, "m")
            bought = {own, own + 1} if random.random() < 0.9 else {int(random.integers(ITEMS))}
            rows += [
                (
                    f"o{customer}-{visit}",
                    f"c{customer}",
                    f"i{item}",
                    f"K{item // 6}",
                    1,
                    5 + item,
                    str(when).replace("T", " "),
                )
                for item in bought
            ]
    return rows


def make_shop(folder: Path, rows: list[tuple[object, ...]], settings: str = "", more: Sequence[str] = ()) -> Shop:
    with (folder / "orders.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["order_id", "user_id", "item_id", "category", "quantity", "price", "order_time"])
        writer.writerows(rows)
    shop = Shop.init(folder / "shop", [str(folder / "orders.csv"), *more])
    if settings:
        path = shop.folder / "huaxiang.toml"
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{settings}\n", encoding="utf-8")
        shop.close()
        shop = Shop.open(shop.folder)
    for step in (shop.collect, shop.clean, shop.build, shop.profiles):
        step()  # type: ignore[operator]
    return shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    found = make_shop(tmp_path_factory.mktemp("recommend"), orders())
    found.recommend.train()
    return found


def test_the_list_finds_what_they_buy_again_and_says_what_each_source_reaches(shop: Shop) -> None:
    exam = shop.recommend.exam()
    assert exam is not None
    assert exam.figures["ranker"]["recall@10"] > exam.figures["popular"]["recall@10"] + 0.2
    assert exam.reach_of["again"] > 0.8 and exam.reach >= exam.reach_of["again"]
    assert set(exam.figures) >= {"ranker", "together", "basket", "taste", "popular", "again", "without again"}
    for name, led in exam.led.items():  # the best of the window before, whichever it was
        assert exam.valid[name][led or "ranker"] == max(exam.valid[name].values())
    one = exam.figures["popular"]
    assert one["ndcg_low"] <= one["ndcg@10"] <= one["ndcg_high"] and one["behind_low"] > 0
    assert sum(exam.gains.values()) == pytest.approx(1, abs=0.01)


def test_everybody_has_a_list_without_repeats_of_items_of_the_shop(shop: Shop) -> None:
    rows = shop.engine.rows(shop.engine.sql(shop.lake.table(TABLE)))
    lists: dict[str, list[str]] = {}
    for row in rows:
        lists.setdefault(row["user_id"], []).append(row["item_id"])
    assert len(lists) == shop.lake.rows("profiles")
    assert all(len(set(items)) == len(items) == 10 for items in lists.values())
    assert {row["version"] for row in rows} == {shop.recommend.desk.version}
    assert all(np.isfinite(row["score"]) and 0 < row["propensity"] <= 1 for row in rows)


def test_what_is_cited_lowers_the_score_when_it_is_taken_away(shop: Shop) -> None:
    """The removed-evidence test: without what the customer did with the cited item, the item's score falls."""
    desk = shop.recommend.desk
    cited = 0
    for name in ("c1", "c7", "c20"):
        user = shop.pseudonym(name)
        past = read_past(shop.lake, desk.shelf, user_id=user)
        for one in shop.recommend.show(user, count=4):
            if not one.because:
                continue
            cited += 1
            item, gone = desk.shelf.ids.index(one.item_id), desk.shelf.ids.index(one.because)
            assert gone in past.item, "only what the customer did is cited"
            rest = past.without(0, np.array([gone]))
            table = table_of(candidates(desk.learned, rest, desk.shelf), desk.learned, rest, desk.shelf)
            left = desk.orders["new" if desk.drops(RecommendSettings()) else "any"].score(table)[table.item == item]
            assert not len(left) or left[0] < one.score
    assert cited > 5


def test_what_the_table_cites_lowers_the_score_when_it_is_taken_away(shop: Shop) -> None:
    """Every row of forty customers that cites something, each by itself."""
    desk, cited, rows = shop.recommend.desk, 0, shop.engine.rows(shop.engine.sql(shop.lake.table(TABLE)))
    for name in range(40):
        user = shop.pseudonym(f"c{name}")
        past = read_past(shop.lake, desk.shelf, user_id=user)
        for row in rows:
            if row["user_id"] != user or row["because"] is None:
                continue
            cited += 1
            item, gone = (desk.shelf.ids.index(row[column]) for column in ("item_id", "because"))
            assert gone in past.item
            rest = past.without(0, np.array([gone]))
            table = table_of(candidates(desk.learned, rest, desk.shelf), desk.learned, rest, desk.shelf)
            left = desk.orders["new" if desk.drops(RecommendSettings()) else "any"].score(table)[table.item == item]
            assert not len(left) or left[0] < row["score"]
    assert cited > 80


@pytest.mark.parametrize("place", ["item", "goes"])
def test_beside_items_the_one_without_which_the_score_falls_is_cited(shop: Shop, place: str) -> None:
    user, asked = shop.pseudonym("c3"), ["i4", "i10", "i20"]
    recommend = with_rules(shop, per_category=0)
    full = recommend.show(user, place=place, items=asked, count=ITEMS)
    assert {one.because for one in full} > {"i4", "i10"}
    for one in full:
        if one.because:
            rest = recommend.show(user, place=place, items=[other for other in asked if other != one.because], count=ITEMS)  # fmt: skip
            left = {other.item_id: other.score for other in rest}.get(one.item_id, 0.0)
            assert one.fall == pytest.approx(one.score - left) and one.fall > 0


def test_what_nothing_speaks_for_is_not_told_by_an_earlier_purchase() -> None:
    shown = Shown("i", "I", 1.0, "taste", "", "", 0.0, 5, 0.9)
    assert reason(shown, Words("en"), Numbers("en")) == Words("en")("recommend.why.taste")
    own = replace(shown, because="i", fall=1.0)
    assert "bought 5 days ago" in reason(own, Words("en"), Numbers("en"))


def test_one_and_all_get_the_same_list(shop: Shop) -> None:
    user = shop.pseudonym("c3")
    rows = shop.engine.rows(
        f"SELECT * FROM ({shop.engine.sql(shop.lake.table(TABLE))}) WHERE user_id = '{user}' ORDER BY place"
    )
    assert [row["item_id"] for row in rows] == [one.item_id for one in shop.recommend.show(user)]


def test_places(shop: Shop) -> None:
    recommend, user = shop.recommend, shop.pseudonym("c3")
    own = {
        row["item_id"]
        for row in shop.engine.rows(
            f"SELECT DISTINCT item_id FROM ({shop.engine.sql(shop.lake.table('ready.events'))}) WHERE user_id = '{user}'"
        )
    }
    assert not own & {one.item_id for one in recommend.show(user, place="email")}
    assert {one.item_id for one in recommend.show(user, place="again")} <= own
    goes = recommend.show(user, place="goes", items=["i4"], count=1)
    assert [(one.item_id, one.because) for one in goes] == [("i5", "i4")]
    similar = with_rules(shop, per_category=0).show(user, place="item", items=["i4"], count=4)
    assert {one.item_id for one in similar} <= {"i0", "i1", "i2", "i3", "i5"}
    assert len(recommend.show("nobody at all", count=5)) == 5, "a new customer gets what is popular"
    with pytest.raises(ModelError, match="no item x"):
        recommend.show(user, place="goes", items=["x"])
    with pytest.raises(ModelError, match=r"no item i44, zzz\n→ did you mean i4, i24\? "):
        recommend.show(user, place="goes", items=["i44", "i4", "zzz"])
    with pytest.raises(ModelError, match="one of home"):
        recommend.show(user, place="lobby")


def test_learned_again_it_is_the_same(shop: Shop) -> None:
    version = shop.recommend.desk.version
    exam = shop.recommend.exam()
    assert shop.recommend.train() == exam
    assert shop.recommend.desk.version == version
    with Shop.open(shop.folder) as again:
        assert again.recommend.show(shop.pseudonym("c3")) == shop.recommend.show(shop.pseudonym("c3"))
        assert json.dumps(again.lake.note("recommend")["exam"])


def test_as_many_items_that_are_others_are_not_taken_for_those_that_were_learned(shop: Shop) -> None:
    desk, place = shop.recommend.desk, shop.folder / "models" / "recommend" / shop.recommend.desk.version
    assert load_desk(place, desk.shelf).version == desk.version
    with pytest.raises(ModelError, match="items changed"):
        load_desk(place, replace(desk.shelf, ids=("other", *desk.shelf.ids[1:])))


def test_orders_held_fake_are_left_out_and_the_report_says_how_many(shop: Shop, tmp_path: Path) -> None:
    with Shop.open(shutil.copytree(shop.folder, tmp_path / "copy", symlinks=True)) as copy:
        user = copy.pseudonym("c3")
        events = copy.engine.sql(copy.lake.table("ready.events"))
        bought = copy.engine.value(f"SELECT count(*) FROM ({events}) WHERE user_id = '{user}'")
        with copy.lake.step("guard") as step:
            step.replace(
                FAKES, f"SELECT DISTINCT user_id, order_id, order_key FROM ({events}) WHERE user_id = '{user}'"
            )
        copy.recommend.train()
        assert copy.recommend.fakes() == {"orders": 14, "events": bought}
        assert read_past(copy.lake, copy.recommend.desk.shelf, user_id=user).item.tolist() == []
        for lang, said in (("en", f"14 orders held fake ({bought} events)"), ("zh", f"14 笔被判定为刷单的订单（{bought} 条事件）")):  # fmt: skip
            assert said in str(recommend_body(copy.lake.note("recommend"), lang))  # type: ignore[arg-type]


def test_a_log_tells_what_the_lists_as_they_stand_would_have_earned(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """Each customer was shown at the first place what stands there now with chance 1/4, then they took it; and something else with 3/4, in vain."""
    path, none = tmp_path / "shown.csv", "i0"
    first = {name: shop.recommend.show(shop.pseudonym(name), count=1)[0].item_id for name in (f"c{n}" for n in range(120))}  # fmt: skip
    rows = [(name, item, 1, 0.25, 1) if n % 4 == 0 else (name, none if item != none else "i1", 1, 0.75, 0) for n, (name, item) in enumerate(first.items())]  # fmt: skip
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("user_id", "item_id", "place", "propensity", "reward"), *rows])
    found = shop.recommend.estimate(path)
    assert found.impressions == 120 and found.logged.value == pytest.approx(0.25) and found.effective == pytest.approx(30)  # fmt: skip
    assert {name: one.value for name, one in found.estimates.items()} == {
        "ips": pytest.approx(1.0), "snips": pytest.approx(1.0), "dr": pytest.approx(1.0, abs=0.1)
    }  # fmt: skip
    with pytest.raises(SystemExit) as end:
        run_words(["recommend", str(shop.folder), "--log", str(path)])
    assert end.value.code == 0 and "IPS  1.0000" in (said := capsys.readouterr().out) and "doubly robust" in said
    for broken, said in (("propensity,", "lacks propensity"), ("0.25", "no number")):
        text = path.read_text(encoding="utf-8").replace(broken, "often," if broken.endswith(",") else "often")
        (tmp_path / "broken.csv").write_text(text, encoding="utf-8")
        with pytest.raises(ModelError, match=said):
            shop.recommend.estimate(tmp_path / "broken.csv")


def test_a_look_back_sees_nothing_of_its_window(shop: Shop) -> None:
    shelf = read_shelf(shop.lake)
    past = read_past(shop.lake, shelf)
    day = day_of(str(shop.lake.note("build")["as_of"])) - 14
    other = np.where(
        past.day >= day, (past.item + 7) % len(shelf), past.item
    )  # what was bought afterwards was something else
    full, cut = (look_back(some, shelf, day, window=14, seed=1) for some in (past, replace(past, item=other)))
    assert not np.array_equal(full.bought, cut.bought)
    before = past.before(day)
    before = replace(
        before, profile=np.full_like(before.profile, np.nan)
    )  # a look is told what was known then, or nothing
    table = table_of(candidates(full.learned, before, shelf), full.learned, before, shelf)
    mine = table.rows(np.isin(table.user, full.asked))
    assert np.array_equal(mine.values, full.table.values, equal_nan=True)
    assert np.array_equal(full.table.values, cut.table.values, equal_nan=True)


def test_shops_it_cannot_learn_from_say_so(tmp_path: Path) -> None:
    with make_shop(tmp_path, orders(5)) as few, pytest.raises(ModelError, match="only 5 customers"):
        few.recommend.train()
    with Shop.open(tmp_path / "shop") as few, pytest.raises(ModelError, match="not learned"):
        few.recommend.show("anybody")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "huaxiang.toml").write_text("", encoding="utf-8")
    with Shop.open(tmp_path / "bare") as bare, pytest.raises(ShopError) as error:
        bare.recommend.train()
    assert isinstance(error.value, HuaxiangError) and "huaxiang run" in error.value.mend()


def with_rules(shop: Shop, **rules: object) -> Recommend:
    """What the shop would show by other rules, nothing learned anew."""
    settings = shop.settings.model_copy(update={"recommend": shop.settings.recommend.model_copy(update=rules)})
    return Recommend(shop.lake, settings, shop.folder / "models")


@pytest.mark.parametrize(("place", "items"), [("home", []), ("again", []), ("email", []), ("item", ["i4"]), ("goes", ["i4"])])  # fmt: skip
def test_what_is_banned_or_too_dear_is_shown_at_no_place(shop: Shop, place: str, items: list[str]) -> None:
    user, desk = shop.pseudonym("c3"), shop.recommend.desk
    first = shop.recommend.show(user, place=place, items=items)[0].item_id
    assert first not in {one.item_id for one in with_rules(shop, never=(first,)).show(user, place=place, items=items)}
    dear = with_rules(shop, price_to=9.0)
    price = np.where(np.array(desk.shelf.ids) == first, 10.0, 5.0)
    dear._desk = replace(desk, shelf=replace(desk.shelf, price=price))
    assert first not in {one.item_id for one in dear.show(user, place=place, items=items)}


def bought_by(shop: Shop, user: str) -> set[str]:
    events = shop.engine.sql(shop.lake.table("ready.events"))
    return {row["item_id"] for row in shop.engine.rows(f"SELECT DISTINCT item_id FROM ({events}) WHERE user_id = '{user}'")}  # fmt: skip


def test_what_is_left_out_as_owned_is_the_rule_of_now(shop: Shop) -> None:
    """Learned where what was bought is shown; nothing is learned anew."""
    user = shop.pseudonym("c3")
    own = bought_by(shop, user)
    asked = [("home", []), ("item", [min(own)]), ("goes", sorted(own))]
    for place, items in asked:
        show, drop = (
            {one.item_id for one in with_rules(shop, owned=owned).show(user, place=place, items=items, count=ITEMS)}
            for owned in ("show", "drop")
        )
        assert not own & drop and drop, place
        assert place == "goes" or own & show, place  # what is asked about is not shown beside itself
    first = min(item for item in own if f"i{int(item[1:]) ^ 1}" in own)  # they have its partner, too
    for owned, shown in (("show", True), ("drop", False)):
        goes = with_rules(shop, owned=owned).show(user, place="goes", items=[first], count=ITEMS)
        assert (f"i{int(first[1:]) ^ 1}" in {one.item_id for one in goes}) == shown
    assert {one.item_id for one in with_rules(shop, owned="drop").show(user, place="again")} <= own
    assert with_rules(shop, owned="auto").show(user) == with_rules(shop, owned="show").show(user), "it is a grocer"


@pytest.mark.parametrize(
    ("place", "items"), [("home", []), ("item", ["i4", "i8"]), ("goes", ["i0", "i2", "i4", "i10"])]
)
@pytest.mark.parametrize("most", [1, 2])
def test_no_category_fills_more_than_it_may_at_any_place(shop: Shop, place: str, items: list[str], most: int) -> None:
    """Items 0 to 5 are of one category, 6 to 11 of the next, …"""
    shown = with_rules(shop, per_category=most).show(shop.pseudonym("c3"), place=place, items=items)
    count = np.bincount([int(one.item_id[1:]) // 6 for one in shown])
    assert count.max() == most and (count > 0).sum() > 1
    free = with_rules(shop, per_category=0).show(shop.pseudonym("c3"), place=place, items=items)
    assert np.bincount([int(one.item_id[1:]) // 6 for one in free]).max() > most


def test_what_is_not_likely_enough_is_not_listed_as_due(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Their pair is due every 9 days; what they took once is not. The threshold itself still stands."""
    user = shop.pseudonym("c3")
    every = with_rules(shop, again_from=0.0).show(user, place="again", count=ITEMS)
    chances = [one.due for one in every if one.due is not None]
    assert len(chances) == len(every) > 2 and chances == sorted(chances, reverse=True) and chances[-1] < 0.05 < chances[1]  # fmt: skip
    listed = shop.recommend.show(user, place="again", count=ITEMS)
    assert [one.item_id for one in listed] == [one.item_id for one in every if (one.due or 0) >= 0.05]
    assert with_rules(shop, again_from=chances[1]).show(user, place="again", count=ITEMS) == every[:2]
    show_list(with_rules(shop, again_from=1.0).show(user, place="again"), "again", Console(), "en")
    assert "([recommend] again_from)" in " ".join(capsys.readouterr().out.split())


def test_capped_by_hand() -> None:
    """The third of category 4 goes; what has no category stays."""
    assert capped(np.array([4, -1, 4, 2, -1, 4, -1]), 2).tolist() == [True, True, True, True, True, False, True]
    assert capped(np.array([4, 4, 4]), 0).all()


def test_exploration_draws_anew_for_each_customer_and_moment_and_says_with_which_chance(shop: Shop) -> None:
    """Explore .3: of 10 places of 60 customers, .3 × (1 − 1 / options) are drawn by chance, at other places for others and at other moments."""
    explored = with_rules(shop, explore=0.3)
    moment = datetime(2025, 7, 1, 9)
    drawn = []
    for customer in range(60):
        shown = explored.show(shop.pseudonym(f"c{customer}"), now=moment)
        drawn.append([one.chance for one in shown])
        # drawn instead of the best: .3 over what was free; the best: .7 and its share of the draws. Free: 60 at the most, one or more
        assert all(0 < one.propensity <= 0.15 if one.chance else 0.7 < one.propensity <= 1 for one in shown)
    assert np.mean(drawn) == pytest.approx(0.29, abs=0.06)  # a standard error of .0185
    assert len({tuple(row) for row in drawn}) > 20
    user = shop.pseudonym("c3")
    at = [[one.item_id for one in explored.show(user, now=moment + timedelta(minutes=n))] for n in range(10)]
    assert len({tuple(row) for row in at}) > 5
    assert at[0] == [one.item_id for one in explored.show(user, now=moment)], "one moment, one list"


@pytest.mark.parametrize(("place", "items"), [("home", []), ("again", []), ("item", ["i4"]), ("goes", ["i4"])])
def test_whatever_is_shown_says_what_was_known_and_what_listed_it(shop: Shop, place: str, items: list[str]) -> None:
    desk = shop.recommend.desk
    shown = shop.recommend.show(shop.pseudonym("c3"), place=place, items=items)
    assert {(one.as_of, one.version, one.propensity) for one in shown} == {(desk.as_of, desk.version, 1.0)}
    assert desk.version and desk.as_of == str(shop.lake.note("build")["as_of"])[:10]


def test_an_answer_for_one_is_as_of_the_day_of_the_lists_whatever_was_built_since(shop: Shop, tmp_path: Path) -> None:
    """Lists of April 15; then the shop is built with the orders until May, too."""
    asked: list[tuple[str, list[str]]] = [
        ("home", []),
        ("again", []),
        ("email", []),
        ("item", ["i4"]),
        ("goes", ["i4"]),
    ]
    with Shop.open(shutil.copytree(shop.folder, tmp_path / "copy", symlinks=True)) as copy:
        users = [copy.pseudonym(f"c{n}") for n in range(6)]
        copy.build(as_of=date(2025, 4, 15))
        copy.recommend.train()
        then = [[copy.recommend.show(user, place=place, items=items) for place, items in asked] for user in users]
        copy.build()
        events = copy.engine.value(f"SELECT count(*) FROM ({copy.engine.sql(copy.lake.table('ready.events'))}) WHERE user_id = '{users[0]}' AND day >= DATE '2025-04-15'")  # fmt: skip
        assert events > 0 and str(copy.lake.note("build")["as_of"]) > "2025-05"
        now = [[copy.recommend.show(user, place=place, items=items) for place, items in asked] for user in users]
    assert now == then and {one.as_of for lists in now for shown in lists for one in shown} == {"2025-04-15"}
    assert all(one.bought_ago is not None and one.bought_ago > 0 for lists in now for one in lists[1])


def test_rules_that_leave_nothing_leave_empty_lists(shop: Shop, tmp_path: Path) -> None:
    """The shop names no prices of its items, so that they are banned one by one."""
    nothing = {"never": shop.recommend.desk.shelf.ids}
    none = with_rules(shop, **nothing)
    assert none.show(shop.pseudonym("c3")) == [] == none.show(shop.pseudonym("c3"), place="email")
    assert none.show("nobody at all") == []
    with Shop.open(shutil.copytree(shop.folder, tmp_path / "copy", symlinks=True)) as copy:
        with_rules(copy, **nothing).train()
        assert copy.lake.rows(TABLE) == 0
