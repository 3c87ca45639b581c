"""Definitions: what is refused and how it says so; outcome dates; nothing of the future in a label's set."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from huaxiang.errors import DefinitionError
from huaxiang.features.filters import compile_filter
from huaxiang.features.mine import declared_features
from huaxiang.features.outcomes import declare_outcome, schedule
from huaxiang.features.plan import EVENT_COLUMNS, Plan
from huaxiang.features.windows import Window
from huaxiang.features.zones import utc_midnight
from huaxiang.settings import FeaturesSection, Settings


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("event == 'purchase' and price > 100", "((event_no = 10 AND price > 100))".replace("((", "((", 1)),
        ("event in ('view', 'wish')", "(event_no IN (1, 7))"),
        ("not (brand is null)", "(brand IS NOT NULL)"),
        ("channel == 'it''s' or channel == \"it's\"", None),
    ],
    ids=["and", "in", "null", "quotes"],
)
def test_filter_becomes_sql(text: str, sql: str | None) -> None:
    made = compile_filter(text, EVENT_COLUMNS, name="f").sql
    assert made.count("(") == made.count(")")
    if sql is not None:
        assert made.replace("(", "").replace(")", "") == sql.replace("(", "").replace(")", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pric > 3", "did you mean 'price'"),
        ("event == 'purchas'", "did you mean purchase"),
        ("price = 3", "two equal signs"),
        ("price", "not a condition"),
        ("price == 'a'", "put texts in quotes"),
        ("__import__('os').system('x') == 1", "may not stand"),
        ("refunded > 0", "no column 'refunded'"),
        ("channel in ()", "needs a list"),
    ],
    ids=["column", "event", "equals", "value", "types", "call", "future", "in"],
)
def test_bad_filter_says_what_is_wrong_and_how_to_mend_it(text: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        compile_filter(text, EVENT_COLUMNS, name="f")


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"agg": "summ", "column": "amount"}, "did you mean sum"),
        ({"agg": "sum"}, "needs a column"),
        ({"agg": "count", "window": "12h"}, "whole local days"),
        ({"agg": "count", "window": "soon"}, "not a duration"),
        ({"agg": "trend"}, "needs a window"),
        ({"agg": "top", "column": "amount"}, "cannot be a key"),
    ],
    ids=["agg", "column", "hours", "duration", "trend", "key"],
)
def test_bad_feature_says_what_is_wrong(declared: dict[str, str], says: str) -> None:
    section = FeaturesSection.model_validate({"mine": {"f": declared}})
    with pytest.raises(DefinitionError, match=says):
        declared_features(section)[-1].compile(Plan())


def test_two_features_of_one_name_are_refused() -> None:
    features = declared_features(FeaturesSection.model_validate({"mine": {"spend_30d": {"agg": "count"}}}))
    plan = Plan()
    with pytest.raises(DefinitionError, match="two features are named spend_30d"):
        for feature in features:
            if feature.group != "score":
                feature.compile(plan)


def test_version_changes_with_the_definition_and_not_with_its_wording() -> None:
    def made(**declared: str) -> str:
        return declared_features(FeaturesSection.model_validate({"standard": False, "mine": {"f": declared}}))[
            0
        ].version

    assert made(agg="count", window="30d") == made(agg="count", window="30d", meaning="other words")
    assert made(agg="count", window="30d") != made(agg="count", window="31d")


def test_standard_set_has_sixty_features_with_meaning_in_both_languages() -> None:
    features = declared_features(FeaturesSection())
    assert len(features) >= 60
    assert all(feature.meaning_en and feature.meaning_zh for feature in features)


@pytest.mark.parametrize("days", [7, 30, 90])
def test_no_label_window_reaches_the_next_split(days: int) -> None:
    settings = Settings.model_validate({"outcomes": {"o": {"within": f"{days}d"}}})
    outcome = declare_outcome("o", settings.outcomes["o"], {})
    found, short = schedule([outcome], settings, date(2023, 1, 1), date(2024, 1, 1))
    by = {
        split: [day for day, kind in found["o"].dates.items() if kind == split] for split in ("train", "valid", "test")
    }
    assert not short
    assert 0 <= (date(2024, 1, 1) - timedelta(days) - by["test"][0]).days < 7
    assert by["valid"][0] + timedelta(days) <= by["test"][0]
    assert max(by["train"]) + timedelta(days) <= by["valid"][0]


def test_dates_stay_from_one_day_to_the_next_and_their_number_always() -> None:
    settings = Settings.model_validate({"outcomes": {"o": {"within": "30d"}}})
    outcome = declare_outcome("o", settings.outcomes["o"], {})
    first, changes, before = date(2023, 1, 1), 0, dict[date, str]()
    for day in range(28):
        found, _ = schedule([outcome], settings, first, date(2024, 3, 1) + timedelta(day))
        dates = found["o"].dates
        assert list(dates.values()).count("train") == settings.train.as_of_count
        changes += bool(before) and dates != before
        before = dict(dates)
    assert changes <= 4 + 4 + 1  # the test date each week, the validation date each week, the training dates once


def test_nine_days_of_clicks_still_give_an_exam_for_one_day_ahead_and_not_for_thirty() -> None:
    settings = Settings.model_validate({"outcomes": {"soon": {"within": "1d"}, "later": {"within": "30d"}}})
    outcomes = [declare_outcome(name, declared, {}) for name, declared in settings.outcomes.items()]
    found, short = schedule(outcomes, settings, date(2017, 11, 25), date(2017, 12, 4))
    assert short == ["later"]
    assert found["soon"].step == 1
    assert list(found["soon"].dates.values()).count("train") >= 3


def test_window_and_midnight_are_local() -> None:
    assert Window.parse("30d", name="f").sql() == "day >= :as_of - 30"
    assert utc_midnight(date(2024, 3, 1), "Asia/Shanghai").isoformat() == "2024-02-29T16:00:00"


@pytest.mark.parametrize("text", [f"price > {2**63}", f"price > {'9' * 400}", f"price in (1, {10**30})"])
def test_a_whole_number_that_no_column_can_hold_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError):
        compile_filter(text, {"price": "float"}, name="x")
    assert compile_filter(f"price > {2**63 - 1}", {"price": "float"}, name="x").node is not None
