"""The document: its schema, and each trait's value, confidence, freshness and evidence by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema
import pyarrow as pa
import pytest

from huaxiang.engine import Lake
from huaxiang.errors import ShopError, UnknownUserError
from huaxiang.features.users import BUCKET, bucket_of
from huaxiang.profile import Profile, build_profiles, profile_document, profile_documents, profile_schema

from .conftest import (
    BUILD_NOTE,
    EVENTS,
    ITEMS,
    LOOKER,
    LOYAL,
    PREDICTIONS,
    SETTINGS,
    SILENT,
    USERS,
    Build,
    features,
    predictions,
    users,
)

ALL = ["loyal0000001", "silent000001", "looker000001", "nevercame001"]


def document(lake: Lake, user_id: str) -> dict[str, Any]:
    return profile_document(lake, SETTINGS, user_id).to_dict()


def trait(lake: Lake, user_id: str, name: str) -> dict[str, Any]:
    found = profile_document(lake, SETTINGS, user_id).trait(name)
    assert found is not None
    return found


def test_every_document_keeps_the_published_schema(teahouse: Lake) -> None:
    validator = jsonschema.Draft202012Validator(profile_schema())
    for profile in profile_documents(teahouse, SETTINGS, ALL):
        assert [error.message for error in validator.iter_errors(profile.to_dict())] == []
        json.loads(profile.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_schema_itself_is_valid_and_refuses_a_trait_without_evidence(teahouse: Lake) -> None:
    jsonschema.Draft202012Validator.check_schema(profile_schema())
    broken = document(teahouse, ALL[0])
    del broken["sections"]["behaviour"]["traits"][0]["evidence"]
    assert not jsonschema.Draft202012Validator(profile_schema()).is_valid(broken)


def test_heading_says_who_where_and_when(teahouse: Lake) -> None:
    found = document(teahouse, "loyal0000001")
    assert found["as_of"] == "2024-06-30T16:00:00Z"  # midnight of 1 July in Shanghai
    assert (found["shop"], found["currency"], found["timezone"]) == ("Teahouse", "CNY", "Asia/Shanghai")
    assert found["headline"] == {"lifecycle": "active", "value_tier": "silver"}  # 1 of 2 buyers: top half


def test_fact_is_certain_and_a_habit_grows_with_its_orders(teahouse: Lake) -> None:
    assert trait(teahouse, "loyal0000001", "spend_90d")["confidence"] == 1.0
    assert trait(teahouse, "loyal0000001", "gap_days_mean")["confidence"] == round(30 / 35, 3)
    assert trait(teahouse, "loyal0000001", "discount_share_90d")["confidence"] == round(10 / 15, 3)  # 10 purchases


def test_declared_is_certain_and_a_third_party_is_not(build: Build, lake: Lake) -> None:
    from huaxiang.settings import SourceSettings

    vendor = SourceSettings(name="geo_vendor", from_=("v.csv",), third_party=True, to=())
    settings = SETTINGS.model_copy(update={"collect": (vendor,)})
    build([LOYAL], ready_users=USERS)
    found = profile_document(lake, settings, "loyal0000001")
    gender, city, owner = (found.trait(name) or {} for name in ("gender", "city", "home_owner"))
    assert (gender["source"], gender["confidence"], gender["origin"], gender["expires"]) == (
        "declared",
        1.0,
        "crm",
        None,
    )
    assert (city["source"], city["confidence"], city["origin"]) == ("third_party", 0.7, "geo_vendor")
    assert (owner["source"], owner["value"]) == ("third_party", "yes")


def test_value_that_cleaning_filled_in_is_not_shown_as_declared(teahouse: Lake) -> None:
    assert profile_document(teahouse, SETTINGS, "silent000001").trait("gender") is None


def test_trait_expires_after_its_window_or_thirty_days(teahouse: Lake) -> None:
    assert trait(teahouse, "loyal0000001", "spend_90d")["expires"] == "2024-07-30T16:00:00Z"
    assert trait(teahouse, "loyal0000001", "churn_30d")["expires"] == "2024-07-30T16:00:00Z"
    settings = SETTINGS.model_copy(update={"profile": SETTINGS.profile.model_copy(update={"expiry_days": 400})})
    found = profile_document(teahouse, settings, "loyal0000001")
    assert (found.trait("orders_30d") or {})["expires"] == "2024-07-30T16:00:00Z"  # 30 days after
    assert (found.trait("recency_days") or {})["expires"] == "2025-08-04T16:00:00Z"  # 400 days after


def test_evidence_is_the_events_of_the_kind_and_window(teahouse: Lake) -> None:
    found = trait(teahouse, "loyal0000001", "spend_90d")["evidence"]
    assert (found["count"], found["version"], found["meaning"]["zh"]) == (10, "abc", "近 90 天实付")
    assert found["events"][0] == {
        "event_id": "e0",
        "ts": "2024-06-27T02:00:00Z",
        "event": "purchase",
        "item_id": "coffee",
        "title": "Dark roast <b>500 g</b>",
        "amount": 50.0,
    }
    assert [event["event_id"] for event in found["events"]] == ["e0", "e1", "e2", "e3", "e4"]
    assert trait(teahouse, "loyal0000001", "orders_30d")["evidence"]["count"] == 5  # 4, 10, 16, 22 and 28 days ago


def test_event_after_as_of_is_not_in_the_document(build: Build, lake: Lake) -> None:
    from .conftest import events

    late = events([("loyal0000001", "purchase", 4, None, 9.0), ("loyal0000001", "purchase", -1, None, 9.0)])
    build([LOYAL], ready_events=late)
    assert [event["ts"] for event in document(lake, "loyal0000001")["timeline"]] == ["2024-06-27T02:00:00Z"]


def test_stage_says_the_rule_and_the_limits_that_gave_it(teahouse: Lake) -> None:
    # 30 orders every 12.5 days: 2 × 12.5 = 25 days
    meaning = trait(teahouse, "loyal0000001", "lifecycle")["evidence"]["meaning"]
    assert meaning["en"] == "last bought at most 25 days ago (limits set by this customer's own rhythm)"
    assert meaning["zh"] == "最近一次购买在 25 天以内（界限按该顾客自己的购买节奏确定）"
    assert "between 30 and 60 days" in trait(teahouse, "silent000001", "lifecycle")["evidence"]["meaning"]["en"]


def test_prediction_carries_interval_threshold_reasons_and_model(teahouse: Lake) -> None:
    found = trait(teahouse, "loyal0000001", "churn_30d")
    assert found["text"] == {"en": "3.1%", "zh": "3.1%"}
    assert (found["source"], found["unit"], found["confidence"]) == ("predicted", "probability", 0.8)
    evidence = found["evidence"]
    assert (evidence["low"], evidence["high"], evidence["threshold"]) == (
        pytest.approx(0.011),
        pytest.approx(0.071),
        0.1,
    )
    assert evidence["model"] == {"name": "lightgbm", "version": "v1", "card": None}
    assert evidence["reasons"][0]["text"]["en"] == "Last purchase: 4 days ago, lowers it"
    assert evidence["reasons"][1]["text"]["zh"] == "近 7 天浏览：3 次浏览，使其降低"


def test_prediction_named_like_a_trait_stands_beside_it(teahouse: Lake) -> None:
    assert trait(teahouse, "loyal0000001", "spend_90d")["value"] == 1107.4
    assert trait(teahouse, "loyal0000001", "spend_90d_predicted")["text"]["en"] == "¥362.80"


def test_declared_attribute_is_not_predicted_too(teahouse: Lake) -> None:
    assert profile_document(teahouse, SETTINGS, "loyal0000001").trait("age_band_predicted") is None
    assert trait(teahouse, "silent000001", "age_band_predicted")["text"]["en"] == "25-34 (46%)"


def test_someone_who_never_bought_is_not_shown_what_they_did_not_buy(teahouse: Lake) -> None:
    found = document(teahouse, "looker000001")
    names = {trait["name"] for part in found["sections"].values() for trait in part["traits"]}
    assert "views_90d" in names
    assert not names & {"spend_90d", "orders_365d", "recency_days"}
    assert found["headline"] == {"lifecycle": "prospect", "value_tier": "none"}


def test_registration_without_events_has_a_calm_profile(teahouse: Lake) -> None:
    found = document(teahouse, "nevercame001")
    assert found["headline"]["lifecycle"] == "prospect"
    assert found["timeline"] == []
    assert found["sections"]["interests"]["absent"]["en"] == "Too little is known to speak of tastes."


def test_absent_sections_say_so_in_both_languages(teahouse: Lake) -> None:
    social = document(teahouse, "loyal0000001")["sections"]["social"]
    assert social == {
        "traits": [],
        "absent": {"en": "No ties to other customers are recorded.", "zh": "没有记录与其他顾客的联系。"},
    }


def test_nan_and_infinity_become_nothing(build: Build, lake: Lake) -> None:
    odd = LOYAL | {"price_level_90d": math.nan, "overdue_ratio": math.inf, "hour_hist": [math.nan] * 24}
    guess = predictions(
        [
            {
                "user_id": "loyal0000001",
                "outcome": "churn_30d",
                "value": math.nan,
                "confidence": math.nan,
                "threshold": 0.1,
            }
        ]
    )
    build([odd], predictions=guess)
    profile = profile_document(lake, SETTINGS, "loyal0000001")
    assert [profile.trait(name) for name in ("price_level_90d", "overdue_ratio", "hour_hist", "churn_30d")] == [
        None
    ] * 4
    profile.to_json()


def test_shop_of_features_alone_still_gives_profiles(build: Build, lake: Lake) -> None:
    build([LOYAL, SILENT, LOOKER], note={})
    for profile in profile_documents(lake, SETTINGS, ["loyal0000001", "silent000001", "looker000001"]):
        assert jsonschema.Draft202012Validator(profile_schema()).is_valid(profile.to_dict())
        assert profile.to_dict()["sections"]["predictions"]["absent"] is not None
        assert profile.to_dict()["persona"]


def test_many_at_once_are_the_same_as_one_by_one(teahouse: Lake) -> None:
    together = {
        profile.user_id: profile.to_dict()
        for profile in profile_documents(teahouse, SETTINGS, [*ALL, "nobody"], batch=3)
    }
    assert list(together) == ALL
    assert together == {user_id: document(teahouse, user_id) for user_id in ALL}


def test_unknown_customer_names_the_mend_and_not_the_id(teahouse: Lake) -> None:
    with pytest.raises(UnknownUserError, match="as the shop's own files write it") as error:
        profile_document(teahouse, SETTINGS, "13800138000")
    assert "13800138000" not in str(error.value)


def test_profile_before_its_step_names_the_step(lake: Lake) -> None:
    with pytest.raises(ShopError, match="huaxiang run"):
        profile_document(lake, SETTINGS, "x")
    with pytest.raises(ShopError, match="huaxiang run"), lake.step("profile") as step:
        build_profiles(step, SETTINGS)


def test_month_by_month_spending_starts_with_the_first_purchase(teahouse: Lake) -> None:
    # 10 purchases of 50, 4 to 58 days before 1 July: 5 in June, 5 in May (the oldest on 4 May)
    spending = document(teahouse, "loyal0000001")["spending"]
    assert [(row["month"][:7], row["spend"]) for row in spending] == [("2024-05", 250.0), ("2024-06", 250.0)]


def test_notebook_shows_the_page(teahouse: Lake) -> None:
    html = profile_document(teahouse, SETTINGS, "loyal0000001")._repr_html_()
    assert "<style" in html
    assert "<b>500 g</b>" not in html  # a title is text, never markup


def test_ten_customers_without_a_word_differ_by_their_numbers(build: Build, lake: Lake) -> None:
    build([LOYAL | {"user_id": f"u{n}", "spend_90d": float(n)} for n in range(10)], note=BUILD_NOTE)
    said = {profile.to_json() for profile in profile_documents(lake, SETTINGS, [f"u{n}" for n in range(10)])}
    assert len(said) == 10


def test_profile_is_a_value() -> None:
    profile = Profile("u", {"a": 1})
    with pytest.raises(AttributeError):
        profile.user_id = "v"  # type: ignore[misc]


def test_empty_shop_builds_an_empty_table(build: Build, lake: Lake) -> None:
    report = build([], features=features([]))
    assert report.users == 0
    assert list(profile_documents(lake, SETTINGS, ["a"])) == []


def test_events_of_someone_else_never_enter(teahouse: Lake) -> None:
    mine = {row["event_id"] for row in EVENTS.to_pylist() if row["user_id"] == "silent000001"}
    found = document(teahouse, "silent000001")
    shown = {
        event["event_id"]
        for part in found["sections"].values()
        for trait in part["traits"]
        for event in trait["evidence"]["events"]
    }
    assert shown == mine


def test_shop_whose_customers_are_numbered_gives_the_same_documents(build: Build, lake: Lake) -> None:
    tables: dict[str, Any] = {"ready_items": ITEMS, "predictions": PREDICTIONS}
    build([LOYAL, SILENT, LOOKER], ready_events=EVENTS, ready_users=USERS, **tables)
    plain = [profile.to_dict() for profile in profile_documents(lake, SETTINGS, ALL)]
    numbers = {user_id: number for number, user_id in enumerate(["looker000001", *USERS.column("user_id").to_pylist()])}
    everyone = users([{"user_id": "looker000001"}, *USERS.to_pylist()])
    for name, made in (("user_no", numbers.get), ("bucket", bucket_of)):
        everyone = everyone.append_column(
            name, pa.array([made(user_id) for user_id in everyone.column("user_id").to_pylist()])
        )
    owners = [numbers[user_id] for user_id in EVENTS.column("user_id").to_pylist()]
    build(
        [LOYAL, SILENT, LOOKER],
        ready_events=EVENTS.append_column("user_no", pa.array(owners)),
        ready_users=everyone,
        **tables,
    )
    assert [profile.to_dict() for profile in profile_documents(lake, SETTINGS, ALL)] == plain


def test_bucket_is_the_same_in_python_and_in_sql(lake: Lake) -> None:
    names = [f"user{number:08}" for number in range(50)]
    listed = ", ".join(f"('{name}')" for name in names)
    rows = lake.engine.rows(f"SELECT user_id, {BUCKET} AS bucket FROM (VALUES {listed}) v(user_id)")
    assert {row["user_id"]: row["bucket"] for row in rows} == {name: bucket_of(name) for name in names}
