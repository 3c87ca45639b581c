"""The table `profiles`: one row a customer, one typed column a trait."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from huaxiang.engine import Lake
from huaxiang.profile import profile_document

from .conftest import LOOKER, LOYAL, PREDICTIONS, SETTINGS, SILENT, USERS, Build


def rows(lake: Lake) -> dict[str, dict[str, Any]]:
    found = lake.engine.rows(f"SELECT * FROM ({lake.engine.sql(lake.table('profiles'))})")
    return {row["user_id"]: row for row in found}


def test_everyone_with_features_or_a_registration_has_one_row(teahouse: Lake) -> None:
    assert sorted(rows(teahouse)) == ["looker000001", "loyal0000001", "nevercame001", "silent000001"]


def test_row_holds_traits_predictions_and_declared_attributes(teahouse: Lake) -> None:
    row = rows(teahouse)["loyal0000001"]
    assert (row["lifecycle"], row["value_tier"], row["spend_90d"], row["gender"]) == (
        "active",
        "silver",
        1107.4,
        "female",
    )
    assert (row["churn_30d"], row["churn_30d_confidence"]) == (0.031, 0.8)
    assert (row["spend_90d_predicted"], row["age_band_predicted"]) == (362.8, "25-34")
    assert row["as_of"].isoformat() == "2024-06-30T16:00:00"


def test_columns_are_typed(teahouse: Lake) -> None:
    types = {field.name: field.type for field in teahouse.engine.schema(teahouse.table("profiles"))}
    assert types["tags"] == pa.list_(pa.string())
    assert types["spend_90d"] == pa.float64()
    assert types["orders_90d"] == pa.int64()


def test_report_counts_by_stage_and_tier_and_is_kept_in_the_note(build: Build, lake: Lake) -> None:
    report = build([LOYAL, SILENT, LOOKER], ready_users=USERS, predictions=PREDICTIONS)
    assert report.users == 4
    assert report.stages == {"active": {"silver": 1}, "at_risk": {"bronze": 1}, "prospect": {"none": 2}}
    assert report.outcomes == ("churn_30d", "spend_90d", "age_band")
    assert lake.note("profile")["stages"] == report.stages
    assert json.loads(report.to_json())["as_of"] == "2024-06-30T16:00:00Z"


def test_building_again_gives_the_same_rows(build: Build, lake: Lake) -> None:
    build([LOYAL, SILENT, LOOKER], ready_users=USERS, predictions=PREDICTIONS)
    before = rows(lake)
    build([LOYAL, SILENT, LOOKER], ready_users=USERS, predictions=PREDICTIONS)
    assert rows(lake) == before


def test_prediction_not_worth_using_stays_out(build: Build, lake: Lake) -> None:
    card = lake.folder.parent / "models" / "churn_30d" / "v1" / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text(json.dumps({"outcome": "churn_30d", "kind": "binary", "worth_using": False}))
    with lake.step("train") as step:
        step.note["cards"] = {"churn_30d": "churn_30d/v1/card.json"}
    report = build([LOYAL, SILENT], predictions=PREDICTIONS)
    assert "churn_30d" not in report.columns
    assert profile_document(lake, SETTINGS, "loyal0000001").trait("churn_30d") is None
    assert "high_churn_risk" not in rows(lake)["silent000001"]["tags"]


def test_card_headline_stands_with_the_prediction(build: Build, lake: Lake) -> None:
    card = lake.folder.parent / "models" / "churn_30d" / "v1" / "card.json"
    card.parent.mkdir(parents=True)
    figures = {"roc_auc": {"value": 0.842, "low": 0.81, "high": 0.87}}
    content = {
        "kind": "binary",
        "worth_using": True,
        "model": "lightgbm",
        "models": [{"name": "lightgbm", "test": figures}],
    }
    card.write_text(json.dumps(content | {"data": {"base_rate": {"train": 0.2, "test": 0.14}}}))
    with lake.step("train") as step:
        step.note["cards"] = {"churn_30d": "churn_30d/v1/card.json"}
    build([LOYAL, SILENT], predictions=PREDICTIONS)
    evidence = (profile_document(lake, SETTINGS, "loyal0000001").trait("churn_30d") or {})["evidence"]
    assert evidence["model"]["card"]["text"]["en"] == "ROC-AUC 0.842 on later data (chance 0.500)"
    assert evidence["baseline"] == 0.14


def test_ties_are_counted_from_either_end(build: Build, lake: Lake) -> None:
    ties = pa.table(
        {"user_id": ["loyal0000001", "silent000001", "silent000001"], "other_id": ["silent000001", "loyal0000001", "x"]}
    )
    build([LOYAL, SILENT, LOOKER], clean_relations=ties)
    assert {user: row["ties"] for user, row in rows(lake).items()} == {
        "loyal0000001": 1,
        "silent000001": 2,
        "looker000001": 0,
    }
    social = profile_document(lake, SETTINGS, "silent000001").to_dict()["sections"]["social"]
    assert social["traits"][0]["text"] == {"en": "2 people", "zh": "2 人"}


def test_what_is_the_same_nothing_for_everyone_is_left_out_of_documents(teahouse: Lake) -> None:
    assert {"refunds_365d", "refund_share_365d"} <= set(teahouse.note("profile")["unused"])
    assert profile_document(teahouse, SETTINGS, "loyal0000001").trait("refunds_365d") is None


def test_odd_attribute_and_outcome_names_are_columns_too(build: Build, lake: Lake) -> None:
    users = USERS.append_column("occupation", pa.array(['a "quoted" one', "it's", None]))
    report = build([LOYAL], ready_users=users)
    assert "occupation" in report.columns
    assert rows(lake)["loyal0000001"]["occupation"] == 'a "quoted" one'
