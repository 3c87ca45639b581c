"""Audiences over a few rows of profiles hold for whom the whole table's refresh finds."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from huaxiang import Shop
from huaxiang.apply.market.audiences import put_list, refresh, version_of
from huaxiang.apply.market.language import Reader
from huaxiang.apply.market.live_audiences import LiveAudiences, follow_live
from huaxiang.settings import AudienceSettings

DECLARED = {
    "often": "orders_90d > 2",
    "tea": "likes('Tea', share=0.1) and not lifecycle == 'lost'",
    "both": "in_audience('often') or in_audience('tea') and gender == 'F'",
    "neither": "not in_audience('both')",
    "tagged": "tagged('coupon_user') or spend_90d <= 20",
    "listed": "on_list('friends')",
    "agreed": "consents('email') or not consents('sms')",
    "recent": "recency_days < 30",
    "coffee": "bought('coffee', days=60)",
    "of_coffee": "orders_90d > 0 and not in_audience('coffee')",
    "unread": "orders_90dd > 0",
}
FOLLOWED = ["often", "tea", "both", "neither", "tagged", "listed", "agreed", "recent"]


@pytest.fixture(scope="module")
def shop(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("live") / "shop"
    shutil.copytree(small_shop, folder)
    with Shop.open(folder) as opened:
        with opened.lake.step("audiences") as step:
            put_list(step, "friends", rows_of(opened).column("user_id").to_pylist()[::3])
        yield opened


def rows_of(shop: Shop) -> pa.Table:
    return shop.lake.engine.arrow(shop.lake.table("profiles").order_by("user_id"))


def followed(shop: Shop, declared: dict[str, str], **how: Any) -> LiveAudiences:
    return follow_live(Reader(shop.lake, declared, shop.settings.profile), **how)


def in_parts(live: LiveAudiences, rows: pa.Table, size: int) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for start in range(0, rows.num_rows, size):
        found |= live.memberships(rows.slice(start, size))
    return found


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_rows_in_parts_belong_to_what_the_refresh_finds(shop: Shop, size: int) -> None:
    live = followed(shop, DECLARED)
    assert list(live.versions) == FOLLOWED
    assert live.versions["both"] == version_of(DECLARED["both"], DECLARED)
    declared = {name: AudienceSettings(when=text) for name, text in DECLARED.items() if name != "unread"}
    with shop.lake.step("audiences") as step:
        refresh(step, declared, shop.settings.profile, now=datetime(2026, 1, 1))
    told = shop.lake.engine.rows(shop.lake.table("audience.members"))
    members = {(row["user_id"], row["name"]) for row in told if row["name"] in FOLLOWED}
    found = in_parts(live, rows_of(shop), size)
    assert {(user, name) for user, names in found.items() for name in names} == members
    assert len(found) == rows_of(shop).num_rows, "who belongs to nothing is told too"
    sizes = {name: sum(name in names for names in found.values()) for name in FOLLOWED}
    assert all(0 < sizes[name] < len(found) for name in ("often", "tea", "both", "neither", "tagged", "listed")), sizes


def test_what_cannot_be_followed_says_why(shop: Shop) -> None:
    live = followed(shop, DECLARED)
    assert {name: (why.reason, why.what) for name, why in live.unfollowed.items()} == {
        "coffee": ("function", "bought"),
        "of_coffee": ("function", "bought"),
        "unread": ("unreadable", "unread"),
    }
    assert "not live" in live.unfollowed["coffee"].say("en") and "不实时" in live.unfollowed["coffee"].say("zh")
    some = followed(shop, DECLARED, columns=["user_id", "orders_90d", "gender", "tags", "spend_90d"])
    assert list(some.versions) == ["often", "tagged", "listed", "agreed"]
    assert some.unfollowed["tea"].reason == "trait"
    assert some.unfollowed["both"].what == "lifecycle", "of the audience that it is built on"
    rows = rows_of(shop).select(list(some.columns))
    assert set(some.columns) <= {"user_id", "orders_90d", "tags", "spend_90d"}
    assert {name for names in some.memberships(rows).values() for name in names} >= {"often", "tagged"}


def test_a_profile_that_changes_changes_its_audiences_alone(shop: Shop) -> None:
    """A row that is not in the lake at all, of other widths, and with what is unknown."""
    live = followed(shop, {"often": "orders_90d > 2", "not": "not orders_90d > 2"})
    rows = pa.table({"orders_90d": pa.array([3, 0, None], pa.int32()), "user_id": ["new", "old", "odd"]})
    assert live.memberships(rows) == {"new": {"often"}, "old": {"not"}, "odd": frozenset()}
    assert live.memberships(rows.slice(0, 0)) == {}


def test_without_any_audience_everybody_belongs_to_nothing(shop: Shop) -> None:
    assert followed(shop, {}).memberships(pa.table({"user_id": ["a"]})) == {"a": frozenset()}


def test_what_was_kept_is_let_go(shop: Shop) -> None:
    count = "SELECT count(*) FROM information_schema.tables"
    before = shop.lake.engine.value(count)
    live = followed(shop, DECLARED)
    assert shop.lake.engine.value(count) > before
    live.close()
    assert shop.lake.engine.value(count) == before


@pytest.mark.parametrize("seed", range(3))
def test_random_conditions_hold_as_over_the_whole_table(shop: Shop, seed: int) -> None:
    chance = random.Random(seed)
    reader = Reader(shop.lake, {}, shop.settings.profile)
    rows = rows_of(shop)
    traits = [name for name, kind in reader.traits.items() if kind in ("int", "float", "bool")]
    texts = {f"a{n}": made(chance, rows, traits, 3) for n in range(30)}
    live = followed(shop, texts)
    found = live.memberships(rows)
    for name, text in texts.items():
        members = shop.lake.engine.arrow(reader.members(reader.read(text)).select("user_id"))
        assert {user for user, names in found.items() if name in names} == set(members.column(0).to_pylist()), text


def made(chance: random.Random, rows: pa.Table, traits: list[str], depth: int) -> str:
    """A condition by chance, of numbers that stand in the profiles."""
    if depth and chance.random() < 0.7:
        parts = [made(chance, rows, traits, depth - 1) for _ in range(2)]
        return chance.choice([f"({parts[0]} and {parts[1]})", f"({parts[0]} or {parts[1]})", f"not ({parts[0]})"])
    if chance.random() < 0.2:
        return chance.choice(
            ["likes('tea')", "likes('Brand 1', share=0.2)", "tagged('coupon_user')", "lifecycle != 'lost'"]
        )
    while True:
        trait = chance.choice(traits)
        value = rows.column(trait)[chance.randrange(rows.num_rows)].as_py()
        if isinstance(value, bool):
            return f"{trait} == {value}"
        if value is not None:
            return f"{trait} {chance.choice(['<', '<=', '>', '>=', '=='])} {value}"
