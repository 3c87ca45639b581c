"""The persona: natural sentences, each held to the traits it cites."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huaxiang.engine import Lake
from huaxiang.profile import profile_document
from huaxiang.profile.persona import check, said_value, write_persona
from huaxiang.words import LANGS, catalogue

from .conftest import SETTINGS


def persona(lake: Lake, user_id: str, lang: str) -> list[str]:
    return [sentence[lang] for sentence in profile_document(lake, SETTINGS, user_id).to_dict()["persona"]]


def test_loyal_customer_reads_like_a_person_wrote_it(teahouse: Lake) -> None:
    assert persona(teahouse, "loyal0000001", "en") == [
        "A customer for 13 months, active and in the silver tier: the last purchase was 4 days ago.",
        "By their own account female, aged 35-44.",
        "Over the last year 28 orders for ¥4,182.37 in all, usually every 12.5 days, with an average basket of ¥138.43.",
        "Shops most on Saturday, most often at about 18:00.",
        "Likes Coffee best, and pays prices 13% below average.",
        "Spending lately: +200% on the 30 days before.",
        "Discounts matter: 31% of the price was saved.",
        "Chance of “Buys nothing in the next 30 days”: 3.1%.",
    ]
    assert persona(teahouse, "loyal0000001", "zh")[:5] == [
        "白银等级顾客，结识 13 个月，当前状态为“活跃”，最近一次购买在 4 天前。",
        "本人申报：女，年龄段 35-44。",
        "近一年 28 单，共消费 ¥4,182.37，大约每 12.5 天一次，平均每单 ¥138.43。",
        "最常在周六购物，多在 18 点左右。",
        "最偏爱 Coffee，所付价格低于均价 13%。",
    ]


def test_stages_open_differently(teahouse: Lake) -> None:
    assert (
        persona(teahouse, "silent000001", "en")[0]
        == "A bronze customer now at risk: the last purchase was 50 days ago, longer than usual."
    )
    assert persona(teahouse, "looker000001", "zh")[0] == "潜在顾客，结识 20 天，最近活动在 1 天前，尚未购买。"


def test_every_citation_is_a_trait_whose_value_stands_in_the_sentence(teahouse: Lake) -> None:
    for user_id in ("loyal0000001", "silent000001", "looker000001", "nevercame001"):
        found = profile_document(teahouse, SETTINGS, user_id).to_dict()
        traits = {trait["name"]: trait for part in found["sections"].values() for trait in part["traits"]}
        for sentence in found["persona"]:
            for lang in LANGS:
                assert all(said_value(traits[name], lang) in sentence[lang] for name in sentence["cites"])


@pytest.mark.parametrize(
    "sentence",
    [
        {"en": "Spent ¥9.00.", "zh": "消费 ¥9.00。", "cites": ["spend_90d"]},
        {"en": "Spent ¥1,107.40.", "zh": "消费 ¥9.00。", "cites": ["spend_90d"]},
        {"en": "Spent ¥1,107.40.", "zh": "消费 ¥1,107.40。", "cites": ["spend_90d", "invented"]},
        {"en": "Nice.", "zh": "不错。", "cites": []},
    ],
    ids=["wrong figure", "wrong in one language", "trait that is not there", "cites nothing"],
)
def test_sentence_that_does_not_hold_is_cut(teahouse: Lake, sentence: dict[str, object]) -> None:
    trait = profile_document(teahouse, SETTINGS, "loyal0000001").trait("spend_90d")
    assert trait is not None
    assert not check(sentence, {"spend_90d": trait})
    assert check({"en": "Spent ¥1,107.40.", "zh": "消费 ¥1,107.40。", "cites": ["spend_90d"]}, {"spend_90d": trait})


def test_nothing_known_gives_no_sentence() -> None:
    assert write_persona({}) == []


def test_templates_cite_the_same_in_both_languages() -> None:
    def places(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    templates = {key: texts for key, texts in catalogue().items() if key.startswith("profile.persona.")}
    assert {key for key, texts in templates.items() if places(texts["en"]) != places(texts["zh"])} == set()


@given(name=st.text(min_size=1, max_size=30))
def test_any_category_name_stands_unharmed_in_its_sentence(name: str) -> None:
    trait = {
        "name": "top_categories",
        "value": [{"key": name, "share": 0.5, "score": 1.0}],
        "text": {"en": "x", "zh": "x"},
        "source": "computed",
        "unit": "",
        "evidence": {"count": 9},
    }
    sentences = write_persona({"top_categories": trait})
    assert len(sentences) == 1 and sentences[0]["cites"] == ["top_categories"]
