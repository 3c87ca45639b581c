"""Values as a person reads them, in both languages."""

from __future__ import annotations

from typing import Any

import pytest

from huaxiang.profile.say import label_of, leaf, say, say_feature
from huaxiang.profile.tags import TAGS
from huaxiang.profile.traits import COMPUTED, DECLARED, Format, expire, grow_confidence
from huaxiang.words import catalogue

from .conftest import MOMENT


@pytest.mark.parametrize(
    ("value", "format", "unit", "en", "zh"),
    [
        (0.4, "ago", "days", "within the last day", "一天之内"),
        (1, "ago", "days", "1 day ago", "1 天前"),
        (3.7, "ago", "days", "3 days ago", "3 天前"),
        (200, "ago", "days", "7 months ago", "7 个月前"),
        (4.2, "every", "days", "every 4.2 days", "每 4.2 天一次"),
        (1, "count", "orders", "1 order", "1 单"),
        (86, "count", "orders", "86 orders", "86 单"),
        (1234567, "count", "views", "1,234,567 views", "1,234,567 次浏览"),
        (4182.37, "money", "money", "$4,182.37", "$4,182.37"),
        (0.381, "percent", "share", "38%", "38%"),
        ("mini_program", "word", "", "mini program", "小程序"),
        ("Kiosk", "word", "", "Kiosk", "Kiosk"),
        (0.5, "trend", "trend", "+200% on the 30 days before", "较此前 30 天 +200%"),
        (-0.5, "trend", "trend", "−67% on the 30 days before", "较此前 30 天 −67%"),
        (1.0, "trend", "trend", "up from nothing in the 30 days before", "此前 30 天为零"),
        (-1.0, "trend", "trend", "down to nothing from the 30 days before", "较此前 30 天降为零"),
        (0.0, "trend", "trend", "the same as in the 30 days before", "与此前 30 天持平"),
        (0.87, "level", "ratio", "13% below average", "低于均价 13%"),
        (1.0, "level", "ratio", "about average", "与均价相当"),
        (1.5, "level", "ratio", "50% above average", "高于均价 50%"),
        (0.71, "ratio", "ratio", "0.71×", "0.71×"),
        (6, "weekday", "", "Sunday", "周日"),
        (18, "hour", "", "18:00", "18 点"),
        ([0.1] * 4 + [0.4, 0.1, 0.1], "weekdays", "shares", "mostly on Friday", "多在周五"),
        ([0.0] * 17 + [0.2, 0.5, 0.3] + [0.0] * 4, "hours", "shares", "mostly around 18:00", "多在 18 点前后"),
        ([{"key": "A > COFFEE", "share": 0.42}, {"key": "茶", "share": 0.1}], "tops", "", "Coffee 42%, 茶 10%", "Coffee 42%、茶 10%"),
        ("female", "word", "", "female", "女"),
        ("at_risk", "stage", "", "at risk", "流失预警"),
        ("gold", "tier", "", "gold", "黄金"),
        ("vip", "tier", "", "vip", "vip"),
        (4.25, "stars", "stars", "4.2 stars", "4.2 星"),
        (2, "score", "1..5", "2 of 5", "2 分（满分 5）"),
        (MOMENT, "date", "", "30 Jun 2024", "2024年6月30日"),
        (None, "money", "money", "not known", "未知"),
    ],
)  # fmt: skip
def test_value_reads_well_in_both_languages(value: Any, format: Format, unit: str, en: str, zh: str) -> None:
    assert say(value, format, unit, "USD") == {"en": en, "zh": zh}


def test_feature_that_is_no_trait_reads_by_its_unit() -> None:
    assert say_feature("purchases_7d", 3, "events", "USD")["en"] == "3 lines"
    assert say_feature("spend_7d", 12.5, "money", "USD")["en"] == "$12.50"
    assert say_feature("share_deli", 0.25, "share", "USD")["zh"] == "25%"
    assert say_feature("mine", 3.14159, "", "USD")["en"] == "3.14"
    assert say_feature("m_score", 2, "1..5", "USD")["en"] == "2 of 5"


def test_category_is_said_calmly() -> None:
    assert leaf("GROCERY > CAT FOOD") == "Cat food"
    assert leaf("Drinks > iPhone") == "iPhone"
    assert leaf("家电 > 电视") == "电视"
    assert leaf("X > DVD") == "DVD"


def test_every_trait_tag_and_attribute_has_its_name() -> None:
    names = [trait.name for trait in COMPUTED] + list(DECLARED)
    lacking = [name for name in names if f"traits.{name}" not in catalogue()]
    lacking += [tag.name for tag in TAGS if f"tags.{tag.name}" not in catalogue()]
    assert lacking == []
    assert label_of("never_named") == {"en": "Never named", "zh": "Never named"}


def test_confidence_grows_with_events_and_is_never_quite_one() -> None:
    assert [grow_confidence(count, 5) for count in (0, 5, 45, 10**9)] == [0.0, 0.5, 0.9, 0.99]


def test_expiry_is_the_shorter_of_window_and_limit() -> None:
    assert [(expire(MOMENT, days, 30) - MOMENT).days for days in (0, 7, 30, 365)] == [30, 7, 30, 30]
