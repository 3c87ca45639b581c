"""`profiles` on Spark against DuckDB: the same rows, the same note, for whatever a shop has and lacks."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from huaxiang.engine import Lake
from huaxiang.engine.spark import SparkEngine
from huaxiang.engine.spark_tables import Places
from huaxiang.profile.spark_build import build_on_spark
from huaxiang.settings import Settings
from huaxiang.settings.profile import TagSettings

from .conftest import EVENTS, LOOKER, LOYAL, PREDICTIONS, SETTINGS, SILENT, USERS, Build, profile_settings

TIES = pa.table(
    {"user_id": ["loyal0000001", "silent000001", "silent000001"], "other_id": ["silent000001", "loyal0000001", "x"]}
)
MANY = [
    LOYAL | {"user_id": f"many{n:08d}", "spend_365d": float(n * n % 97), "orders_90d": n % 9, "basket_value_mean_90d": n * 1.3,
             "recency_days": float(n * 3), "new_item_share_90d": n / 40, "item_count_90d": n}
    for n in range(40)
]  # fmt: skip
TAGGED = profile_settings(tags={"big": TagSettings(when="spend_90d > 100 and lifecycle == 'active'")}, rhythm_orders=2)


def rows(lake: Lake) -> dict[str, dict[str, Any]]:
    return {row["user_id"]: row for row in lake.engine.rows(lake.table("profiles"))}


@pytest.mark.parametrize(
    ("people", "settings", "tables"),
    [
        ([LOYAL, SILENT, LOOKER], SETTINGS, {"ready_events": EVENTS, "ready_users": USERS, "predictions": PREDICTIONS, "clean_relations": TIES}),
        ([LOYAL, SILENT, *MANY], TAGGED, {"ready_events": EVENTS}),
        ([LOOKER], SETTINGS, {"ready_users": USERS}),
    ],
    ids=["everything", "many-and-own-tags", "no-buyer-no-events"],
)  # fmt: skip
def test_profiles_and_their_note_equal_those_of_duckdb(
    build: Build, lake: Lake, spark: SparkEngine, people: Any, settings: Settings, tables: dict[str, pa.Table]
) -> None:
    report = build(people, settings=settings, **tables)
    wanted, note = rows(lake), lake.note("profile")
    with lake.step("profile") as step:
        made = build_on_spark(Places(spark, step, settings.spark), settings)
    found = rows(lake)
    assert found.keys() == wanted.keys()
    for user, row in wanted.items():
        assert list(found[user]) == list(row)
        for name, value in row.items():
            assert found[user][name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), (
                f"{user} {name}"
            )
    assert made.to_dict() | {"seconds": 0} == report.to_dict() | {"seconds": 0}
    timed = {"seconds": 0, "finished_at": "", "levels": {}}
    assert lake.note("profile") | timed == note | timed
    assert lake.note("profile")["levels"] == pytest.approx(note["levels"], rel=1e-12)
