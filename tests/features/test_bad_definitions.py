"""What is wrong with a definition is said with its mend; what is too much for a state is bounded, and said."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.features.conftest import Bench
from tests.features.test_passes import AS_OF, event

from huaxiang.engine import Engine
from huaxiang.errors import DefinitionError, HuaxiangError, ShopError
from huaxiang.features.aggregations import Count, Max, Ratio, Sessions, Sum
from huaxiang.features.algebra import Feature
from huaxiang.features.compile import plan_features
from huaxiang.features.keyed import Distinct, Quantile
from huaxiang.features.live import Fold, live_features, upkeep
from huaxiang.features.live.store import LiveStore
from huaxiang.features.mine import declared_features
from huaxiang.features.plan import Plan
from huaxiang.settings import FeaturesSection, load_settings


def declare(**mine: dict[str, object]) -> list[Feature]:
    features = declared_features(FeaturesSection.model_validate({"standard": False, "mine": mine}))
    plan_features(features, Plan())
    return features


@pytest.mark.parametrize(
    ("mine", "says", "mend"),
    [
        ({"f": {"agg": "sum", "column": "amont"}}, "no column 'amont'", "amount"),
        ({"f": {"agg": "decayed_sum", "half_life": "0d"}}, "'0d'", "30d"),
        ({"f": {"agg": "top", "column": "brand", "k": 0}}, "0 is not a number", "1 to 1000"),
        ({"f": {"agg": "quantile", "column": "price", "q": 1.5}}, "1.5", "1"),
        ({"f": {"agg": "price_bands", "bands": [50, 10]}}, "50, 10 do not rise", "bands"),
        ({"f": {"agg": "ratio", "top": "spend_90d"}}, "top and bottom", "bottom"),
        ({"f": {"agg": "ratio", "top": "spend_90", "bottom": "orders_90d"}}, "rests on spend_90", "spend_90d"),
        ({"f": {"agg": "ratio", "top": "rfm", "bottom": "orders_90d"}}, "rests on rfm", "RFM"),
        ({"f": {"agg": "ratio", "top": "f", "bottom": "f"}}, "f → f", "circle|ratios"),
        (
            {"a": {"agg": "ratio", "top": "b", "bottom": "orders_90d"}, "b": {"agg": "ratio", "top": "a", "bottom": "a"}},
            "a → b → a",
            "no ratios",
        ),
        ({"f": {"agg": "count", "half_life": "3d"}}, "count does not use half_life", "leave"),
        ({"f": {"agg": "count", "window": "40000d"}}, "40000d", "36500|whole"),
        ({"f": {"agg": "distinct", "column": "price"}}, "price", "key"),
    ],
    ids=["column", "half-life", "k", "q", "bands", "ratio half", "ratio near", "ratio of score", "itself", "circle", "unused", "window", "key"],
)  # fmt: skip
def test_a_wrong_definition_says_what_and_how_to_mend_it(
    mine: dict[str, dict[str, object]], says: str, mend: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        declare(**mine)
    assert says in caught.value.what("en")
    assert re.search(mend, f"{caught.value.what('en')} {caught.value.mend('en')}")
    assert caught.value.mend("zh") != caught.value.mend("en")
    assert caught.value.what("zh") != caught.value.what("en")


def test_a_ratio_of_ratios_is_refused_in_python() -> None:
    with pytest.raises(DefinitionError, match="ratio"):
        plan_features([Feature("f", Ratio(Ratio(), Count()))], Plan())


def test_one_name_twice_in_the_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "huaxiang.toml"
    path.write_text("[features.mine.f]\nagg = 'count'\n[features.mine.f]\nagg = 'sum'\n", encoding="utf-8")
    with pytest.raises(HuaxiangError, match=r"huaxiang\.toml"):
        load_settings(path, {})


@pytest.mark.parametrize(
    ("feature", "says"),
    [
        (Feature("middle", Quantile("price")), "no exact small state"),
        (Feature("starts", Sessions(), where="event == 'view'"), "which event began its session"),
        (Feature("starts", Count(), where="session_start and event == 'view'"), "which event began its session"),
        (Feature("starts", Distinct("item_id"), where="session_start"), "which event began its session"),
    ],
    ids=["quantile", "filtered sessions", "count of starts", "key of starts"],
)
def test_what_has_no_exact_fold_is_refused_by_the_live_path(feature: Feature, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        Fold([feature])
    assert live_features([feature]) == []


def test_a_key_with_more_values_than_are_kept_is_bounded_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(upkeep, "KEYS_KEPT", 50)
    features = [Feature("items", Distinct("item_id")), Feature("events", Count())]
    start = datetime(2024, 1, 1)
    rows = [
        {
            "event_id": f"e{n}",
            "user_id": "robot",
            "event": "view",
            "ts": start + timedelta(minutes=n),
            "item_id": f"i{n}",
        }
        for n in range(1000)
    ]
    with (
        Engine(memory_gb=0.5, temp=tmp_path / "tmp") as engine,
        LiveStore(tmp_path / "live.db", Fold(features), engine) as store,
    ):
        for part in range(0, 1000, 100):
            store.apply(pa.Table.from_pylist(rows[part : part + 100]))
        found = store.values("robot", date(2024, 1, 3))
        assert found == {"items": 50.0, "events": 1000.0}
        assert store.fold.bounded(store.state("robot")) == ["items"]
        assert max(store.sizes()) < 8192


@pytest.mark.parametrize("lacks", ["ts", "event_id", "event", "user_id"])
def test_an_event_without_what_it_needs_is_refused_whole(tmp_path: Path, lacks: str) -> None:
    good = {"event_id": "e1", "user_id": "u", "event": "view", "ts": datetime(2024, 1, 1)}
    with (
        Engine(memory_gb=0.5, temp=tmp_path / "tmp") as engine,
        LiveStore(tmp_path / "live.db", Fold([Feature("n", Count())]), engine) as store,
    ):
        with pytest.raises(DefinitionError, match=f"1 event without {lacks}"):
            store.apply(pa.Table.from_pylist([good, good | {"event_id": "e2", lacks: None}]))
        assert store.values("u", date(2024, 1, 2)) == {"n": 0.0}


def test_a_state_of_other_definitions_is_refused(tmp_path: Path) -> None:
    with Engine(memory_gb=0.5, temp=tmp_path / "tmp") as engine:
        LiveStore(tmp_path / "live.db", Fold([Feature("n", Count())]), engine).close()
        with pytest.raises(DefinitionError, match="other feature definitions"):
            LiveStore(tmp_path / "live.db", Fold([Feature("n", Count(), window="7d")]), engine)


def test_a_window_longer_than_the_history_counts_what_there_is_and_says_so(
    shop: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    mine = {"long": {"agg": "count", "window": "900d"}}
    shop.build([event("view", 2), event("view", 30)], as_of=AS_OF.date(), features={"standard": False, "mine": mine})
    assert shop.feature("long") == 2
    assert "looks 900 days back, the events 30" in caplog.text


def test_two_processes_do_not_write_over_each_other(tmp_path: Path) -> None:
    def view(number: int) -> pa.Table:
        return pa.Table.from_pylist(
            [{"event_id": f"e{number}", "user_id": "u", "event": "view", "ts": datetime(2024, 1, 1)}]
        )

    features = [Feature("n", Count())]
    with Engine(memory_gb=0.5, temp=tmp_path / "tmp") as engine:
        one, other = (LiveStore(tmp_path / "live.db", Fold(features), engine) for _ in range(2))
        one.apply(view(1))
        other.apply(view(2))
        one.apply(view(3))  # sees what the other wrote
        one.apply(view(4), flush=False)
        other.apply(view(5))
        with pytest.raises(ShopError, match="another process"):
            one.flush()
        assert one.values("u", date(2024, 1, 2)) == {"n": 4.0}
        one.close()
        other.close()


def test_a_price_that_is_no_number_is_unknown(tmp_path: Path) -> None:
    rows = [
        {"event_id": f"e{n}", "user_id": "u", "event": "purchase", "ts": datetime(2024, 1, 1), "amount": amount}
        for n, amount in enumerate([2.0, float("nan"), float("inf"), 3.0])
    ]
    features = [Feature("paid", Sum("amount")), Feature("most", Max("amount"))]
    with (
        Engine(memory_gb=0.5, temp=tmp_path / "tmp") as engine,
        LiveStore(tmp_path / "live.db", Fold(features), engine) as store,
    ):
        store.apply(pa.Table.from_pylist(rows))
        assert store.values("u", date(2024, 1, 2)) == {"paid": 5.0, "most": 3.0}
