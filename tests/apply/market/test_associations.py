"""Association rules: figures by hand, orders of one customer taken together, and none told that only luck found."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from huaxiang.apply.market import associations
from huaxiang.apply.market.associations import Asked, Half, find_associations, hold_rules, holm, over_of
from huaxiang.apply.market.holdout import place_sql
from huaxiang.apply.market.show import show_associations, thing_name
from huaxiang.engine import Engine, Lake
from huaxiang.errors import DefinitionError, ShopError

TODAY = date(2025, 3, 1)
PEOPLE = 3000


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


def half_of(*things: np.ndarray, owner: np.ndarray | None = None) -> Half:
    """Rows that hold thing 0, 1 … where each is true."""
    held = np.column_stack(things)
    row, item = np.nonzero(held)
    return Half(row, item, np.arange(len(held)) if owner is None else owner)


def four_hundred() -> tuple[np.ndarray, np.ndarray]:
    """Of 400 rows 100 hold the first thing, 100 the second, 50 both."""
    row = np.arange(400)
    return row < 100, (row >= 50) & (row < 150)


def test_figures_by_hand() -> None:
    """lift = 50 · 400 / (100 · 100) = 2; the variance of its logarithm 1/50 + 1/100 + 1/100 − 3/400 − 2 (2/100 − 2/400) + 2 (.005 − 1/400)
    = .0075."""
    [rule] = hold_rules([Asked((0,), 1)], half_of(*four_hundred()), 20)
    found = rule.figures
    assert (found["rows"], found["support"], found["confidence"]) == (50, 0.125, 0.5)
    assert found["lift"] == pytest.approx(2.0)
    assert found["low"] == pytest.approx(2 * math.exp(-1.96 * math.sqrt(0.0075)))
    assert found["high"] == pytest.approx(2 * math.exp(1.96 * math.sqrt(0.0075)))


def test_orders_of_one_customer_tell_no_more_than_one() -> None:
    """Every order stands twice: the same interval where both are one customer's, a narrower one where they are two customers'."""
    twice = [np.repeat(thing, 2) for thing in four_hundred()]
    once, same, others = (
        hold_rules([Asked((0,), 1)], half, 20)[0].figures
        for half in (half_of(*four_hundred()), half_of(*twice, owner=np.repeat(np.arange(400), 2)), half_of(*twice))
    )
    assert (same["low"], same["high"]) == pytest.approx((once["low"], once["high"]))
    assert others["high"] - others["low"] < 0.8 * (once["high"] - once["low"])


def test_holm_by_hand() -> None:
    """Sorted .01 · 3, .03 · 2, .04 · 1, none below the one before."""
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert len(holm(np.zeros(0))) == 0


def test_a_rule_that_says_no_more_than_its_part_is_not_told() -> None:
    """Thing 2 stands beside thing 0 by a coin: {0, 2} -> 1 is as sure as {0} -> 1 alone, or less."""
    one, other = four_hundred()
    coin = np.arange(400) % 2 == 0
    asked = [Asked((0,), 1), Asked((0, 2), 1)]
    assert [rule.given for rule in hold_rules(asked, half_of(one, other, coin), 20)] == [(0,)]


def write(lake: Lake, seed: int, *, only_first_half: bool = False) -> None:
    """Customers with a stage, a tier, a sex, and a top category. Who is gold and active likes coffee (.8; all others .1); the sex is a coin.
    only_first_half: so only among those in whom rules are found"""
    chance = np.random.default_rng(seed)
    users = [f"u{number:04d}" for number in range(PEOPLE)]
    table = lake.engine.load(pa.table({"user_id": users}))
    place = lake.engine.arrow(
        f"SELECT {place_sql('rules', 'user_id')} AS place FROM {table.get_name()} ORDER BY user_id"
    )
    first = place.column("place").to_numpy() < 0.5
    active, gold, sex = chance.random((3, PEOPLE)) < 0.5
    likes = chance.random(PEOPLE) < np.where(active & gold & (first | (not only_first_half)), 0.8, 0.1)
    kind = pa.list_(pa.struct([("key", pa.string()), ("share", pa.float64())]))
    tops = pa.array([[{"key": "COFFEE" if own else "TEA", "share": 0.5}] for own in likes], kind)
    columns = {
        "lifecycle": np.where(active, "active", "lost"), "value_tier": np.where(gold, "gold", "none"), "gender": np.where(sex, "f", "m"),
    }  # fmt: skip
    with lake.step("build") as step:
        step.replace("profiles", pa.table({"user_id": users, **columns, "top_categories": tops}))
        step.note["as_of"] = str(TODAY)


def told(found: dict) -> set[tuple[frozenset[str], str]]:
    return {(frozenset(value for _, value in rule["given"]), rule["then"][1]) for rule in found["rules"]}


def test_a_planted_rule_of_three_is_found_and_luck_is_not(lake: Lake) -> None:
    pytest.importorskip("mlxtend")
    write(lake, 1)
    found = find_associations(lake, "traits")
    rules = told(found)
    assert (frozenset({"active", "gold"}), "COFFEE") in rules
    assert not any({"f", "m"} & {*given, then} for given, then in rules)
    assert not any("none" in given for given, _ in rules)
    best = next(
        rule for rule in found["rules"] if len(rule["given"]) == 2 and rule["then"] == ["top_categories", "COFFEE"]
    )
    assert best["low"] < 0.8 / 0.275 < best["high"]  # a quarter likes it by .8, the rest by .1: .275 of all
    assert found["found_on"] + found["held_on"] == PEOPLE
    assert find_associations(lake, "traits") == found, "the same again"
    pairs = find_associations(lake, "traits", longest=2)
    assert all(len(rule["given"]) == 1 for rule in pairs["rules"])


def test_what_only_the_half_that_found_it_shows_is_not_told(lake: Lake) -> None:
    pytest.importorskip("mlxtend")
    write(lake, 2, only_first_half=True)
    found = find_associations(lake, "traits")
    assert found["tested"] > 3
    assert (found["held"], found["rules"]) == (0, [])


def test_rows_are_bounded_and_customers_stay_whole(lake: Lake, monkeypatch) -> None:
    """1,000 customers with three orders of bread and butter each, some with jam: at most 100 rows are mined, whole customers."""
    pytest.importorskip("mlxtend")
    rows = [
        (f"u{user:04d}", user * 10 + order, what)
        for user in range(1000)
        for order in range(3)
        for what in (("BREAD", "BUTTER") if order else ("JAM",))
    ]
    users, keys, what = zip(*rows, strict=True)
    day = [TODAY - timedelta(days=5)] * len(rows)
    with lake.step("build") as step:
        step.replace(
            "ready.events",
            pa.table({"user_id": users, "order_key": keys, "category_2": what, "category_top": what, "day": day, "event": ["purchase"] * len(rows)}),
        )  # fmt: skip
        step.note["as_of"] = str(TODAY)
    monkeypatch.setattr(associations, "MINED", 300)
    found = find_associations(lake, "orders")
    assert 150 < found["found_on"] < 450 and found["found_on"] % 3 == 0
    assert told(found) == {(frozenset({"BREAD"}), "BUTTER"), (frozenset({"BUTTER"}), "BREAD")}
    assert all(rule["lift"] == pytest.approx(1.5) for rule in found["rules"])  # in two orders of three
    whole = find_associations(lake, "customers")
    assert whole["rules"] == [], "every customer buys all three: nothing is told of anything"


def test_where_nothing_is_asked_one_plain_sentence_says_so() -> None:
    found = {
        "over": "orders",
        "as_of": "2025-01-01",
        "version": "x",
        "found_on": 0,
        "held_on": 1,
        "tested": 0,
        "held": 0,
        "rules": [],
    }
    console = Console(record=True, width=200, file=io.StringIO())
    show_associations(found, console, "en")
    said = "What is in one order: nothing goes together often enough to be a rule, among 1 in all (as of 2025-01-01)"
    assert console.export_text().splitlines() == [said]


def test_a_favourite_category_is_named_as_such_among_traits(lake: Lake) -> None:
    write(lake, 1)
    found = find_associations(lake, "traits")
    assert found["rules"][0]["then"] == ["top_categories", "COFFEE"]
    assert thing_name(found["rules"][0]["then"], "en") == "Favourite categories: COFFEE"
    assert thing_name(["category", "COFFEE"], "en") == "COFFEE"


def test_what_cannot_be_asked_says_the_mend(lake: Lake, monkeypatch) -> None:
    with pytest.raises(DefinitionError, match="did you mean orders"):
        over_of("order")
    with pytest.raises(DefinitionError, match="from 2 to 4"):
        find_associations(lake, "traits", longest=5)
    monkeypatch.setattr(associations, "find_spec", lambda name: None)
    with pytest.raises(ShopError, match="needs nothing"):
        find_associations(lake, "traits")


@pytest.mark.parametrize(
    ("thing", "en", "zh"),
    [
        (("gender", "male"), "Gender: male", "性别：男"),
        (("member_level", "basic"), "Member level: basic", "会员等级：普通"),
        (("channel_top", "mini_program"), "Main channel: mini program", "主要渠道：小程序"),
        (("value_tier", "gold"), "Value tier: gold", "价值等级：黄金"),
        (("city", "male"), "City: male", "城市：male"),
        (("category", "TEA"), "TEA", "TEA"),
    ],
    ids=["word", "level", "channel", "tier", "a text is no word", "category"],
)
def test_a_thing_is_said_as_the_profile_says_it(thing: tuple[str, str], en: str, zh: str) -> None:
    assert (thing_name(thing, "en"), thing_name(thing, "zh")) == (en, zh)
