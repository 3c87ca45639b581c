"""A definition over a column of the wrong type is refused by name, in words, before anything is computed."""

from __future__ import annotations

import re
from typing import Any

import ibis
import pytest

from huaxiang.errors import DefinitionError
from huaxiang.features.compile import plan_features
from huaxiang.features.live.fold import why_not_live
from huaxiang.features.mine import own_features
from huaxiang.features.passes import plan_passes
from huaxiang.features.plan import Plan
from huaxiang.features.scores import unscored
from huaxiang.features.standard import standard_features
from huaxiang.features.written import Writer
from huaxiang.settings.features import FeatureSettings


def plan(**declared: dict[str, Any]) -> list[Any]:
    features = own_features({name: FeatureSettings(**one) for name, one in declared.items()}, standard_features())
    plan_features(features, Plan())
    return features


@pytest.mark.parametrize(
    "agg", ["sum", "mean", "basket", "basket_max", "decayed_sum", "trend", "price_bands", "quantile", "median"]
)
def test_a_text_cannot_be_added_up(agg: str) -> None:
    with pytest.raises(DefinitionError, match="brand is a string, not a number"):
        plan(x={"agg": agg, "column": "brand", "window": "30d"})


@pytest.mark.parametrize("agg", ["min", "max", "first", "last", "sequence"])
def test_a_time_is_no_value(agg: str) -> None:
    with pytest.raises(DefinitionError, match="ts is a time"):
        plan(x={"agg": agg, "column": "ts"})


@pytest.mark.parametrize(
    "part", [{"agg": "mode", "column": "brand"}, {"agg": "hours"}, {"agg": "last", "column": "brand"}]
)
def test_a_ratio_of_a_text_or_a_list_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="text or a list"):
        plan(x={"agg": "ratio", "top": "part", "bottom": "orders_90d"}, part=part)


@pytest.mark.parametrize("k", [0, 1001, 1_000_000])
def test_a_list_has_bounds(k: int) -> None:
    with pytest.raises(DefinitionError, match="1 to 1000"):
        plan(x={"agg": "top", "column": "brand", "k": k})


def test_a_misspelt_key_is_guessed() -> None:
    with pytest.raises(DefinitionError, match="category"):
        plan(x={"agg": "distinct", "column": "categry"})


def test_last_text_is_a_text() -> None:
    assert [
        feature.agg.type for feature in plan(x={"agg": "last", "column": "brand"}, y={"agg": "last", "column": "price"})
    ] == ["text", "number"]


def test_a_ratio_of_a_quantile_and_sessions_with_a_filter_are_batch_only() -> None:
    found = plan(
        p90={"agg": "quantile", "column": "price", "q": 0.9},
        x={"agg": "ratio", "top": "p90", "bottom": "orders_90d"},
        y={"agg": "sessions", "where": "channel == 'web'"},
        z={"agg": "count"},
    )
    assert [bool(why_not_live(feature)) for feature in found] == [True, True, True, False]


def test_everyone_with_an_earlier_event_has_a_row_whatever_the_windows() -> None:
    made = Plan()
    plan_features(own_features({"x": FeatureSettings(agg="count", window="150d")}), made)
    events = ibis.table({"user_no": "int32", "day_no": "int32", "event_no": "int32"}, name="e")
    base = str(ibis.to_sql(plan_passes(made)[0].rows(events, Writer()), dialect="duckdb"))
    assert not re.search(r"(?<!\()WHERE", base)


def test_scores_of_different_features_have_different_versions() -> None:
    found = {feature.name: feature for feature in standard_features()}
    assert len({found[name].version for name in ("r_score", "f_score", "m_score", "rfm")}) == 4
    assert all(feature.owner and feature.unit is not None and feature.meaning_zh for feature in found.values())


@pytest.mark.parametrize("name", ["USER_ID", "user_no", "as_of_no", "As_Of"])
def test_a_name_of_another_column_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="cannot be the name"):
        plan(**{name: {"agg": "count"}})


def test_names_that_differ_in_case_alone_are_one_name() -> None:
    with pytest.raises(DefinitionError, match="Views_30d"):
        standard = unscored(standard_features(), [])
        plan_features([*standard, *own_features({"Views_30d": FeatureSettings(agg="count")})], Plan())
    with pytest.raises(DefinitionError, match="R_score"):
        plan(R_score={"agg": "count"})
