"""Segments that are there are found, those that are not are called unsteady; grids and rules by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from huaxiang.apply.market.grids import lifecycle_flow, rfm_grid, rules
from huaxiang.apply.market.segments import _differences, choose, find_segments, scale, stability
from huaxiang.apply.market.show import segment_name, show_flow, show_rfm
from huaxiang.engine import Engine, Lake
from huaxiang.errors import ModelError
from huaxiang.profile.names import Names
from huaxiang.settings import Settings
from huaxiang.words import Lang, Words


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=2, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


def three_kinds(users: int = 300) -> dict[str, list[object]]:
    """A third spends much and often, a third rarely, a third has gone."""
    random = np.random.default_rng(2)
    kind = np.arange(users) % 3
    orders = np.array([20.0, 4.0, 4.0])[kind] * np.exp(random.normal(0, 0.1, users))
    spend = np.array([900.0, 120.0, 120.0])[kind] * np.exp(random.normal(0, 0.1, users))
    recency = np.array([5.0, 12.0, 200.0])[kind] * np.exp(random.normal(0, 0.1, users))
    return {
        "user_id": [f"u{place:03d}" for place in range(users)], "lifecycle": [["active", "active", "lost"][one] for one in kind],
        "value_tier": [["gold", "bronze", "bronze"][one] for one in kind], "orders_90d": orders.tolist(), "spend_90d": spend.tolist(),
        "recency_days": recency.tolist(), "orders_365d": (orders * 3).tolist(), "spend_365d": (spend * 3).tolist(),
    }  # fmt: skip


def test_groups_that_are_there_are_found_and_told(lake: Lake) -> None:
    with lake.step("profile") as step:
        step.replace("profiles", pa.table(three_kinds()))
    with lake.step("segments") as step:
        found = find_segments(step, seed=1, as_of="2025-03-01")
    assert found.steady and found.stability > 0.95 and len(found.segments) >= 3
    label = (
        lake.engine.arrow(f"SELECT segment FROM ({lake.engine.sql(lake.table('segments'))}) ORDER BY user_id")
        .column(0)
        .to_numpy()
    )
    for kind in range(3):
        assert len({*label[kind::3]} & {*label[(kind + 1) % 3 :: 3]}) == 0, "no segment mixes two kinds"
    gone = next(one for one in found.segments if one.number == label[2])
    assert gone.differences[0].trait == "recency_days" and gone.differences[0].apart > 1
    assert gone.stages["lost"] == 1
    assert "bought long ago" in segment_name(gone, "en") and "很久未购买" in segment_name(gone, "zh")
    assert found.version and found.as_of == "2025-03-01"
    assert sum(one.size for one in found.segments) == found.customers == 300


def test_noise_has_no_steady_groups() -> None:
    noise = np.random.default_rng(3).normal(size=(400, 8))
    way, groups, tried = choose(noise, 1)
    assert max(tried[f"k-means {many}"] for many in (4, 5, 6, 7, 8)) < 0.8
    steady = {many for many in range(2, 9) for one in ("k-means", "mixture") if tried[f"{one} {many}"] >= 0.8}
    assert groups in steady or tried[f"{way} {groups}"] == max(
        value for name, value in tried.items() if name != "hdbscan"
    )


def test_one_group_is_no_grouping() -> None:
    assert (
        stability(
            np.random.default_rng(3).normal(size=(100, 2)),
            lambda fitted, asked, seed: np.zeros(len(asked), np.int64),
            1,
        )
        == 0
    )


def test_scaled_columns_vary_and_long_tails_are_logs() -> None:
    random = np.random.default_rng(1)
    values = np.column_stack(
        [np.ones(200), np.exp(random.normal(0, 2, 200)), random.normal(size=200), np.full(200, np.nan)]
    )
    found = scale(values)
    assert found.shape == (200, 2)
    assert found.mean(axis=0) == pytest.approx([0, 0], abs=0.1) and np.abs(found).max() <= 4


def test_a_trait_that_is_the_same_for_nearly_all_sets_no_group_apart() -> None:
    same = np.zeros(400)
    same[:4] = 1.0  # two of each group
    mine = np.arange(400) % 2 == 0
    apart = np.where(mine, 5.0, 1.0)
    found = _differences(("same", "apart"), np.column_stack([same, apart]), Names({}), mine)
    assert [one.trait for one in found] == ["apart"]
    order = np.argsort(~mine, kind="stable")  # the order of the rows says nothing
    again = _differences(("same", "apart"), np.column_stack([same, apart])[order], Names({}), mine[order])
    assert again == found


def test_too_few_customers_say_so(lake: Lake) -> None:
    with lake.step("profile") as step:
        step.replace("profiles", pa.table({name: values[:10] for name, values in three_kinds().items()}))
    with lake.step("segments") as step, pytest.raises(ModelError, match="too few"):
        find_segments(step, seed=1, as_of="2025-03-01")


def test_the_rfm_grid_counts_every_buyer_once(lake: Lake) -> None:
    with lake.step("profile") as step:
        step.replace("profiles", pa.table(three_kinds()))
    grid = rfm_grid(lake)
    assert sum(row["customers"] for row in grid) == 300
    assert sum(row["spend_share"] for row in grid) == pytest.approx(1)
    best = next(row for row in grid if (row["recency"], row["frequency"]) == (5, 5))
    assert best["spend_mean"] > 2000


def test_rules_have_lifts_worked_out_by_hand(lake: Lake) -> None:
    """Of 100 customers 40 bought A, 50 bought B, 30 both: confidence 30/40, lift 30 · 100 / (40 · 50) = 1.5."""
    today = date(2025, 3, 1)
    bought = (
        [(user, "A") for user in range(40)]
        + [(user, "B") for user in range(10, 60)]
        + [(user, "C") for user in range(60, 100)]
    )
    with lake.step("build") as step:
        step.note["as_of"] = str(today)
        step.replace(
            "ready.events",
            pa.table(
                {
                    "user_no": [user for user, _ in bought], "event": ["purchase"] * len(bought), "day": [today - timedelta(days=3)] * len(bought),
                    "category_2": [what for _, what in bought], "category_top": [what for _, what in bought],
                }
            ),
        )  # fmt: skip
    found = {(row["one"], row["other"]): row for row in rules(lake)}
    assert set(found) == {("A", "B"), ("B", "A")}
    rule = found["A", "B"]
    assert (rule["customers"], rule["support"], rule["confidence"], rule["lift"]) == (30, 0.3, 0.75, 1.5)
    # var of log lift: (1/30 − 1/100) + (1/40 − 1/100) + (1/50 − 1/100) − 2 (1/40 + 1/50 − 2/100) + 2 (30/2000 − 1/100)
    spread = np.exp(1.96 * np.sqrt(0.0483333 - 0.05 + 0.01))
    assert (rule["low"], rule["high"]) == (pytest.approx(1.5 / spread, rel=1e-3), pytest.approx(1.5 * spread, rel=1e-3))
    assert rules(lake, least=31) == []


def test_who_moved_between_stages(lake: Lake) -> None:
    now, before = date(2025, 3, 1), date(2025, 2, 1)
    columns = {
        "orders_total": [3.0, 3.0, 3.0],
        "first_purchase_days": [300.0] * 3,
        "gap_days_mean": [20.0] * 3,
        "spend_365d": [1.0] * 3,
        "orders_365d": [3.0] * 3,
    }
    with lake.step("build") as step:
        step.replace(
            "features",
            pa.table({"user_id": ["a", "b", "c"], "as_of": [now] * 3, "recency_days": [5.0, 400.0, 5.0], **columns}),
        )
        earlier = {name: values[:2] for name, values in columns.items()}
        step.replace(
            "training",
            pa.table({"user_id": ["a", "b"], "as_of": [before] * 2, "recency_days": [400.0, 5.0], **earlier}),
        )
    found = lifecycle_flow(lake, Settings())
    assert (found["before"], found["now"]) == ("2025-02-01", "2025-03-01")
    assert {(row["before"], row["now"]): row["customers"] for row in found["moves"]} == {
        ("lost", "active"): 1,
        ("active", "lost"): 1,
        ("", "active"): 1,
    }


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_grid_and_the_flow_are_shown_in_both_languages(lang: Lang) -> None:
    cells = [{"recency": 5, "frequency": 5, "customers": 1234, "spend_mean": 9.0, "spend_share": 0.5}]
    moves = {"before": "2024-11-28", "now": "2025-01-01", "moves": [{"before": "", "now": "at_risk", "customers": 17}]}
    console = Console(record=True, width=120)
    show_rfm(cells, console, lang, "CNY")
    show_flow(moves, console, lang)
    show_rfm([], console, lang, "CNY")
    show_flow({"before": "", "now": "", "moves": []}, console, lang)
    told = console.export_text()
    assert "1,234 (50%)" in told and "17" in told and "{" not in told
    for key in ("market.not_yet", "profile.lifecycle.at_risk", "market.no_rfm", "market.no_flow"):
        assert Words(lang)(key) in told
