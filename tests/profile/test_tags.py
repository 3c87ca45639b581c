"""Tags: stated rules, the shop's own quantiles, the models' lines."""

from __future__ import annotations

import re
from typing import Any

import pytest

from huaxiang.engine import Lake
from huaxiang.errors import DefinitionError
from huaxiang.profile import profile_document
from huaxiang.profile.tags import TAGS, find_line
from huaxiang.profile.traits import BY_NAME

from .conftest import LOYAL, SETTINGS, Build, predictions, profile_settings


def tags(lake: Lake) -> dict[str, list[str]]:
    rows = lake.engine.rows(f"SELECT user_id, tags FROM ({lake.engine.sql(lake.table('profiles'))})")
    return {row["user_id"]: row["tags"] for row in rows}


def test_rules_over_the_traits_give_tags(teahouse: Lake) -> None:
    found = tags(teahouse)
    assert found["loyal0000001"] == [
        "frequent_buyer",
        "bargain_hunter",
        "weekend_shopper",
        "rising",
        "likes:Drinks > Coffee",
    ]
    assert found["silent000001"] == ["high_churn_risk"]
    assert found["looker000001"] == ["window_shopper", "cart_leaver"]
    assert found["nevercame001"] == []


def test_tag_is_named_in_both_languages_with_its_reasons(teahouse: Lake) -> None:
    found = {tag["name"]: tag for tag in profile_document(teahouse, SETTINGS, "loyal0000001").to_dict()["tags"]}
    assert found["rising"] == {
        "name": "rising",
        "en": "spending more lately",
        "zh": "消费上升",
        "because": ["spend_trend_30d"],
    }
    assert (found["likes:Drinks > Coffee"]["en"], found["likes:Drinks > Coffee"]["zh"]) == (
        "likes Coffee",
        "偏爱 Coffee",
    )
    risky = profile_document(teahouse, SETTINGS, "silent000001").to_dict()["tags"]
    assert risky == [
        {"name": "high_churn_risk", "en": "high risk of leaving", "zh": "流失风险高", "because": ["churn_30d"]}
    ]


def test_quantile_rules_pick_those_who_stand_out(build: Build, lake: Lake) -> None:
    build([LOYAL | {"user_id": f"u{n}", "basket_value_mean_90d": float(n)} for n in range(10)])
    assert [user for user, given in tags(lake).items() if "big_basket" in given] == [
        "u9"
    ]  # the 90 % level of 0 … 9 is 8.1


def test_nobody_stands_out_where_all_are_alike(build: Build, lake: Lake) -> None:
    build([LOYAL | {"user_id": f"u{n}"} for n in range(10)])
    assert not any({"big_basket", "frequent_buyer"} & set(given) for given in tags(lake).values())


@pytest.mark.parametrize(
    ("outcome", "threshold", "usual", "line"),
    [
        ("churn_30d", 0.1, 0.14, 0.28),  # worth acting on at 10 %, high at twice the usual
        ("churn_30d", 0.4, 0.14, 0.4),
        ("churn_30d", 0.1, 0.4, 0.5),
        ("churn_30d", 0.1, None, 0.5),
        ("purchase_7d", 0.2, 0.5, 0.5),
        ("purchase_7d", 0.7, 0.5, 0.7),
    ],
)
def test_line_beyond_which_an_outcome_becomes_a_tag(
    outcome: str, threshold: float, usual: float | None, line: float
) -> None:
    assert find_line(outcome, threshold, usual) == pytest.approx(line)


def test_expected_outcome_is_a_tag_with_its_meaning(build: Build, lake: Lake) -> None:
    guesses = [
        {"user_id": user, "outcome": "purchase_7d", "value": value, "threshold": 0.2, "confidence": 0.9}
        for user, value in (("a", 0.6), ("b", 0.4))
    ]
    note = {
        "outcomes": [
            {
                "name": "purchase_7d",
                "kind": "binary",
                "within_days": 7,
                "meaning_en": "buys within 7 days",
                "meaning_zh": "7 天内购买",
            }
        ]
    }
    build([LOYAL | {"user_id": user} for user in "ab"], predictions=predictions(guesses), note=note)
    assert "likely:purchase_7d" in tags(lake)["a"]
    assert "likely:purchase_7d" not in tags(lake)["b"]
    found = profile_document(lake, SETTINGS, "a").to_dict()["tags"]
    assert {
        "name": "likely:purchase_7d",
        "en": "expected: buys within 7 days",
        "zh": "预计：7 天内购买",
        "because": ["purchase_7d"],
    } in found


def test_shop_declares_tags_of_its_own(build: Build, lake: Lake) -> None:
    own: dict[str, Any] = {
        "tea_friend": {"when": "spend_90d > 1000 and lifecycle == 'active'", "en": "friend of tea", "zh": "茶友"}
    }
    settings = profile_settings(tags=own)
    build([LOYAL, LOYAL | {"user_id": "b", "spend_90d": 9.0}], settings=settings)
    assert ["tea_friend" in given for _, given in sorted(tags(lake).items())] == [False, True]
    found = profile_document(lake, settings, "loyal0000001").to_dict()["tags"]
    assert {"name": "tea_friend", "en": "friend of tea", "zh": "茶友", "because": ["lifecycle", "spend_90d"]} in found


@pytest.mark.parametrize(
    ("when", "message"),
    [("spend_9d > 1", "spend_90d"), ("spend_90d >", "profile.tags.mine"), ("__import__('os')", "profile.tags.mine")],
    ids=["near miss", "syntax", "code"],
)
def test_tag_that_is_not_well_declared_is_refused(build: Build, lake: Lake, when: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(message)):
        build([LOYAL], settings=profile_settings(tags={"mine": {"when": when}}))
    assert not lake.has("profiles")


def test_every_rule_rests_on_traits_that_exist() -> None:
    assert [name for tag in TAGS for name in tag.because if name not in BY_NAME] == []
