"""Audiences: what the language means on rows worked out by hand, what it refuses, and who entered and left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from huaxiang import Shop
from huaxiang.apply.market.alike import look_alikes
from huaxiang.apply.market.audiences import preview, refresh, version_of
from huaxiang.apply.market.language import Reader
from huaxiang.apply.market.lists import read_list
from huaxiang.apply.market.values import nearest
from huaxiang.engine import Engine, Lake
from huaxiang.errors import DefinitionError, ShopError, SourceError
from huaxiang.features.filters import EVENT_CODES
from huaxiang.settings import AudienceSettings, ProfileSettings
from huaxiang.settings.profile import TagSettings

TODAY = date(2025, 3, 1)
PEOPLE: dict[str, list[Any]] = {
    "user_id": ["ann", "bob", "eve", "joe"],
    "lifecycle": ["active", "lost", "active", "new"],
    "value_tier": ["gold", "gold", None, "silver"],
    "churn_30d": [0.1, 0.9, None, 0.5],
    "orders_90d": [4, 0, 2, 1],
    "tags": [["thrifty"], [], ["thrifty", "explorer"], None],
}
EVENTS: list[tuple[str, str, int | None, int]] = [  # who, what, item, days ago
    ("ann", "purchase", 0, 1),
    ("ann", "purchase", 0, 29),
    ("ann", "view", 1, 2),
    ("bob", "purchase", 0, 31),
    ("bob", "refund", 0, 30),
    ("eve", "purchase", 1, 5),
    ("eve", "search", None, 3),
    ("joe", "purchase", 0, 0),  # on the day itself: not before it
]


def write(
    lake: Lake, events: list[tuple[str, str, int | None, int]] = EVENTS, people: dict[str, list[Any]] = PEOPLE
) -> None:
    days = [TODAY - timedelta(days=ago) for *_, ago in events]
    made = {
        "user_id": [who for who, *_ in events], "event_no": [EVENT_CODES[what] for _, what, *_ in events],
        "item_no": pa.array([item for _, _, item, _ in events], pa.int32()), "day": days, "known_day": days,
    }  # fmt: skip
    tops = [[{"key": "GROCERY > COFFEE", "share": 0.4}], [], [{"key": "TOYS", "share": 0.9}], None]
    kind = pa.list_(pa.struct([("key", pa.string()), ("share", pa.float64())]))
    with lake.step("build") as step:
        step.replace("ready.events", pa.table(made))
        step.replace(
            "ready.items",
            pa.table({"item_no": [0, 1], "item_id": ["7", "8"], "title": ["Ground Coffee", None], "category": ["GROCERY > COFFEE", "TOYS"], "brand": ["A", None]}),
        )  # fmt: skip
        step.replace("ready.users", pa.table({"user_id": PEOPLE["user_id"], "consent": [["email"], ["sms"], None, []]}))
        step.replace("profiles", pa.table({**people, "top_categories": pa.array(tops, kind)}))
        step.note["as_of"] = str(TODAY)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=2, temp=tmp_path / "tmp") as engine:
        found = Lake(tmp_path / "lake", engine)
        write(found)
        yield found


def holds(lake: Lake, text: str, others: dict[str, str] | None = None) -> list[str]:
    reader = Reader(lake, others or {})
    rows = lake.engine.arrow(reader.members(reader.read(text)).select("user_id"))
    return sorted(rows.column("user_id").to_pylist())


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("true", ["ann", "bob", "eve", "joe"]),
        ("lifecycle == 'active' and orders_90d >= 2", ["ann", "eve"]),
        ("value_tier in ('gold', 'platinum')", ["ann", "bob"]),
        ("not value_tier == 'gold'", ["joe"]),  # of eve nothing is known
        ("value_tier in ('gold')", ["ann", "bob"]),  # brackets around one choice
        ("value_tier not in ('gold')", ["joe"]),
        ("value_tier == 'platinum'", []),  # declared, and nobody's
        ("value_tier is null", ["eve"]),
        ("churn_30d > 0.4 or churn_30d is null", ["bob", "eve", "joe"]),
        ("bought()", ["ann", "bob", "eve"]),
        ("bought('coffee')", ["ann", "bob"]),
        ("bought('7', days=30)", ["ann"]),
        ("bought('COFFEE', days=31)", ["ann", "bob"]),
        ("bought('coffee', times=2)", ["ann"]),
        ("not bought('coffee', days=30)", ["bob", "eve", "joe"]),
        ("viewed('toys') or refunded()", ["ann", "bob"]),
        ("did('search', days=3)", ["eve"]),
        ("did('purchase', 'toys')", ["eve"]),
        ("tagged('thrifty') and not tagged('explorer')", ["ann"]),
        ("likes('coffee')", ["ann"]),
        ("likes('coffee', share=0.5) or likes('toys', share=0.5)", ["eve"]),
        ("consents('email')", ["ann"]),
        ("on_list('vip')", []),
        ("in_audience('golden') and bought('coffee', days=30)", ["ann"]),
    ],
)  # fmt: skip
def test_condition_holds_for(lake: Lake, text: str, members: list[str]) -> None:
    assert holds(lake, text, {"golden": "value_tier == 'gold'"}) == members


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chrn_30d > 0.5", "did you mean 'churn_30d'"),
        ("bougth('x')", "did you mean bought"),
        ("bought(3)", "write bought"),
        ("bought('x', days=0)", "write bought"),
        ("bought('x', day=3)", "write bought"),
        ("bought('x', days=True)", "write bought"),
        ("bought(lifecycle)", "may not stand"),
        ("likes('x', share=2)", "write likes"),
        ("tagged('thirfty')", "did you mean thrifty"),
        ("value_tier == 'glod'", "did you mean 'gold'"),
        ("not value_tier in ('gold', 'sliver')", "did you mean 'silver'"),
        ("value_tier != '黄金'", "did you mean 'gold'"),
        ("lifecycle == 'Active'", "did you mean 'active'"),
        ("lifecycle == 'x'", "it is one of prospect, new"),
        ("lifecycle in active", "needs a list"),
        ("did('purchas')", "did you mean"),
        ("in_audience('golde')", "did you mean golden"),
        ("value_tier > 3", "string"),
        ("churn_30d", "not a condition"),
        ("tags == 'thrifty'", "there is no column 'tags'"),
        ("__import__('os').system('true')", "may not stand"),
        ("eval('1')", "there is no function 'eval'"),
        ("orders_90d > ", "cannot read"),
        ("  ", "would be everybody"),
    ],
)
def test_what_it_refuses_says_the_mend(lake: Lake, text: str, said: str) -> None:
    with pytest.raises(DefinitionError) as error:
        Reader(lake, {"golden": "value_tier == 'gold'"}).read(text)
    assert said in str(error.value)


def test_a_value_that_no_customer_has_is_said_beside_the_preview(lake: Lake) -> None:
    write(lake, people=PEOPLE | {"channel_top": ["mobile", "mobile", "web", None]})
    found = preview(Reader(lake), "channel_top in ('moblie', 'web') or channel_top == 'xyzzy'")
    assert found.size == 1
    assert [(one.trait, one.value, one.near) for one in found.unheld] == [
        ("channel_top", "moblie", "mobile"),
        ("channel_top", "xyzzy", ""),
    ]
    assert "did you mean 'mobile'" in found.unheld[0].say("en") and "是不是" in found.unheld[0].say("zh")
    assert "mobile, web" in found.unheld[1].say("en")
    assert preview(Reader(lake), "channel_top == 'web'").unheld == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bought('cofee')", "no item, category or brand is named 'cofee'; did you mean 'COFFEE'?"),
        ("not did('view', 'tois')", "did you mean 'TOYS'?"),
        ("likes('wine')", "named 'wine'; there are: "),
        ("consents('emial')", "did you mean 'email'?"),
        ("consents('push')", "no customer consented to 'push'; there are: email, sms"),
        ("on_list('vip')", "there is no list 'vip'"),
    ],
)
def test_a_word_that_stands_for_nothing_in_the_shop_is_said(lake: Lake, text: str, said: str) -> None:
    [one] = Reader(lake).read(text).unheld
    assert said in one.say("en") and one.say("zh") != one.say("en")


def test_a_shops_own_tiers_and_tags_are_known_though_nobody_has_them(lake: Lake) -> None:
    rules = ProfileSettings(tiers={"vip": 0.1}, tags={"dandy": TagSettings(when="orders_90d > 9")})
    reader = Reader(lake, {}, rules)
    assert reader.read("value_tier == 'vip' or tagged('dandy') or tagged('night_owl')").unheld == ()
    with pytest.raises(DefinitionError, match="vip, bronze, none"):
        reader.read("value_tier == 'platinum'")


def test_of_short_chinese_words_one_letter_may_be_wrong() -> None:
    known = ["坚果", "绿茶", "茶叶", "咖啡"]  # 绿茶 shares a letter with it too, but at another place
    assert nearest("bought", "茶也", known) == "茶叶"
    assert nearest("bought", "饮料", known) == ""
    assert nearest("bought", "ab", ["ac"]) == ""


def test_an_audience_is_not_proposed_to_itself(lake: Lake) -> None:
    reader = Reader(lake, {"a": "in_audience('b')", "golden": "value_tier == 'gold'"})
    with pytest.raises(DefinitionError, match="did you mean golden") as found:
        reader.read("in_audience('b')", name="a", within=("a",))
    assert "golden, a" not in str(found.value) and "a, golden" not in str(found.value)


def test_where_no_audience_is_declared_none_is_proposed(lake: Lake) -> None:
    with pytest.raises(DefinitionError, match="nor any other") as found:
        holds(lake, "in_audience('golde')", {})
    assert "did you mean" not in str(found.value)


def test_an_audience_may_not_hold_itself(lake: Lake) -> None:
    circle = {"a": "in_audience('b')", "b": "in_audience('c')", "c": "in_audience('a')"}
    with pytest.raises(DefinitionError, match="itself"):
        Reader(lake, circle).read("in_audience('a')")


def test_without_profiles_it_says_so(tmp_path: Path) -> None:
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path / "tmp") as engine, pytest.raises(ShopError, match="profiles"):
        Reader(Lake(tmp_path / "lake", engine))


def test_refresh_keeps_who_entered_and_left(lake: Lake) -> None:
    declared = {"loyal": AudienceSettings(when="orders_90d >= 2"), "all": AudienceSettings(when="orders_90d >= 0")}

    def again() -> dict[str, tuple[int, int, int]]:
        with lake.step("audiences") as step:
            return {
                one.name: (one.size, one.entered, one.left) for one in refresh(step, declared, now=datetime(2025, 3, 1))
            }

    assert again() == {"loyal": (2, 2, 0), "all": (4, 4, 0)}
    write(lake, people=PEOPLE | {"orders_90d": [4, 3, 1, 1]})  # bob enters, eve leaves
    assert again() == {"loyal": (2, 3, 1), "all": (4, 4, 0)}
    assert again() == {"loyal": (2, 3, 1), "all": (4, 4, 0)}, "nothing moved since"
    members = lake.engine.rows(lake.engine.sql(lake.table("audience.members")))
    assert sorted(row["user_id"] for row in members if row["name"] == "loyal") == ["ann", "bob"]
    declared["loyal"] = AudienceSettings(when="orders_90d >= 4")
    assert again()["loyal"] == (1, 0, 1), "a changed definition is a new version"
    del declared["all"]
    assert again() == {"loyal": (1, 0, 1)}
    changes = lake.engine.rows(lake.engine.sql(lake.table("audience.changes")))
    assert sum(row["name"] == "all" and row["change"] == "leave" for row in changes) == 4


def test_alike_finds_those_of_a_hidden_group(lake: Lake) -> None:
    """200 customers; the first 60 spend alike; the seed is half of these, and the other half must come first."""
    random = np.random.default_rng(3)
    spend = np.where(np.arange(200) < 60, 10.0, 0.0) + random.normal(size=200)
    names = [f"u{place:03d}" for place in range(200)]
    with lake.step("profile") as step:
        step.replace("profiles", pa.table({"user_id": names, "spend_90d": spend, "noise": random.normal(size=200)}))
    found = look_alikes(lake, names[:30], count=30, seed=1)
    assert set(found.users) == set(names[30:60])
    assert found.way == "profile" and found.recall > 3 * found.recall_random
    with pytest.raises(DefinitionError, match="too few"):
        look_alikes(lake, names[:5], count=30, seed=1)
    everyone = look_alikes(lake, names[:30], count=99_999, seed=1)
    assert len(everyone.users) == len(names) - 30 and sorted(everyone.scores, reverse=True) == everyone.scores
    assert (everyone.scores[0], everyone.scores[-1]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("7\n8\n\n9\n", ["7", "8", "9"]),
        ("User ID,name\n7,x\n8,y\n", ["7", "8"]),
        ("\ufeffname,会员编号\nx,7\n", ["7"]),
    ],
)
def test_a_list_is_read_from_lines_or_a_column(tmp_path: Path, text: str, ids: list[str]) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    assert read_list(tmp_path / "list.csv") == ids


def test_a_list_without_a_known_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(SourceError, match="user_id"):
        read_list(tmp_path / "list.csv")


def test_a_shop_saves_previews_uploads_and_removes(small_shop: Path, tmp_path: Path) -> None:
    shutil.copytree(small_shop, tmp_path / "shop")
    with Shop.open(tmp_path / "shop", environ={}) as shop:
        market = shop.market
        everybody = market.preview("recency_days >= 0 or recency_days is null")
        assert everybody.size == everybody.customers == shop.lake.rows("profiles") and everybody.share == 1
        saved = market.save("fresh", "recency_days < 30", meaning="came lately")
        assert saved.size == saved.entered == market.preview("recency_days < 30").size == len(market.members("fresh"))
        assert market.save("fresh", "recency_days < 31").meaning == "came lately", "what it is for stays"
        market.save("fresh", "recency_days < 30")
        market.save("fresh_gold", "in_audience('fresh') and value_tier == 'gold'")
        with pytest.raises(DefinitionError, match="fresh cannot be removed, for others build on it: fresh_gold"):
            market.remove("fresh")
        with pytest.raises(DefinitionError, match="letters"):
            market.save("no good", "recency_days < 30")
        some = market.members("fresh")[:3]
        assert market.upload("friends", [*some, "nobody at all"]) == (3, 1)
        assert market.preview("on_list('friends')").size == 3
    with Shop.open(tmp_path / "shop", environ={}) as shop:
        assert [one.name for one in shop.market.audiences()] == ["fresh", "fresh_gold"]
        shop.market.remove("fresh_gold")
        assert [one.name for one in shop.market.audiences()] == ["fresh"]


def test_a_version_follows_what_it_is_built_on_and_nothing_else() -> None:
    """a ⊃ b ⊃ c; `active` is an audience, too, and a stage."""
    texts = {"a": "in_audience('b') and x > 1", "b": "not in_audience( 'c' )", "c": "x > 2", "active": "x > 3"}
    before = {name: version_of(text, texts) for name, text in texts.items()}
    after = {name: version_of(text, texts | {"c": "x > 5"}) for name, text in (texts | {"c": "x > 5"}).items()}
    assert {name for name in texts if before[name] != after[name]} == {"a", "b", "c"}
    stage = "lifecycle == 'active' and not tagged('c')"
    assert version_of(stage, texts) == version_of(stage, {}) == version_of(stage, texts | {"active": "x > 9"})
    circle = {"a": "in_audience('b')", "b": "in_audience('a')"}
    assert version_of(circle["a"], circle) == version_of(circle["a"], circle) != version_of(circle["a"], {})
