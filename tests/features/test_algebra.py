"""One definition, the same value: DuckDB = live fold = plain Python, for every aggregation, on streams nobody prepared."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from tests.features.conftest import Bench, Row
from tests.features.everything import BATCH_ONLY, MINE, answers, prepared
from tests.features.oracle import local
from tests.features.streams import ITEMS, repeated, wild_stream
from tests.features.test_oracle import assert_like

from huaxiang.engine import Engine
from huaxiang.errors import DefinitionError
from huaxiang.features.live import Fold, State, live_features
from huaxiang.features.live.arrive import Arrivals
from huaxiang.features.live.prices import Prices
from huaxiang.features.live.store import LiveStore
from huaxiang.features.mine import AGGREGATIONS, RATIO, declared_features
from huaxiang.settings import FeaturesSection

SECTION = FeaturesSection.model_validate({"standard": False, "mine": MINE})
OUTCOMES = {"churn": {"agg": "none", "where": "event == 'purchase'", "within": "20d"}}
NO_SHRINKING = [Phase.explicit, Phase.reuse, Phase.generate]  # an example is a seed: a smaller one is no simpler
ZONE = st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kathmandu"])


def known_day(event: Row, zone: str) -> date:
    return local(max(event["ts"], event["received_at"]), zone).date()


def by_known_day(events: Iterable[Row], zone: str) -> Iterable[tuple[date, list[Row]]]:
    """Batches of the events that became known on one day, in random order within it."""
    ordered = sorted(events, key=lambda event: known_day(event, zone))
    return ((day, list(some)) for day, some in groupby(ordered, key=lambda event: known_day(event, zone)))


def test_every_aggregation_is_among_the_definitions_that_are_proved() -> None:
    assert {declared["agg"] for declared in MINE.values()} >= {*AGGREGATIONS, RATIO} - {"session_events"}


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=NO_SHRINKING)
@given(seed=st.integers(0, 10**6), zone=ZONE, count=st.integers(1, 260))
@example(seed=404461, zone="UTC", count=240)  # two brands whose scores are equal but for the order of adding
def test_batch_equals_live_equals_plain_python_at_every_date(
    new_shop: Callable[[], Bench], tmp_path_factory: pytest.TempPathFactory, seed: int, zone: str, count: int
) -> None:
    events = wild_stream(seed, users=5, count=count)
    shop = new_shop()
    shop.build(
        events, items=list(ITEMS.values()), users=[{"user_id": "nobody"}], shop={"timezone": zone},
        features=SECTION.model_dump(), outcomes=OUTCOMES,
    )  # fmt: skip
    training = shop.rows("training") if shop.lake.has("training") else []
    rows = sorted(training + shop.rows("features"), key=lambda row: row["as_of"])
    arriving = list(by_known_day(repeated(events, seed), zone))
    fold = Fold(live_features(declared_features(SECTION)))
    path = tmp_path_factory.mktemp("live") / "live.db"
    items = shop.lake.engine.sql(shop.lake.table("ready.items"))
    with LiveStore(path, fold, shop.lake.engine, zone=zone, items=items) as store:
        for row in rows:
            while arriving and arriving[0][0] < row["as_of"]:
                store.apply(pa.Table.from_pylist(arriving.pop(0)[1]))
            wanted = answers(prepared(events, ITEMS, row["user_id"], row["as_of"], zone), row["as_of"])
            live = store.values(row["user_id"], row["as_of"])
            for name, value in wanted.items():
                place = f"{row['user_id']} {row['as_of']} {name}"
                assert_like(row[name], value, f"batch: {place}")
                if name not in BATCH_ONLY:
                    assert_like(live[name], value, f"live: {place}")


# ---- merging -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fold() -> Fold:
    return Fold(live_features(declared_features(FeaturesSection.model_validate({"mine": MINE}), [], sells=True)))


@pytest.fixture(scope="module")
def arrivals(fold: Fold, tmp_path_factory: pytest.TempPathFactory) -> Iterable[Arrivals]:
    with Engine(memory_gb=0.5, temp=tmp_path_factory.mktemp("tmp")) as engine:
        listed = pa.Table.from_pylist([
            item | {"category_top": path[0] if path else None, "category_2": " > ".join(path[:2]) or None}
            for item in ITEMS.values()
            for path in [(item["category"] or "").split(" > ") if item["category"] else []]
        ])  # fmt: skip
        yield Arrivals(engine, fold, Prices(), zone="Asia/Shanghai", items=engine.sql(engine.load(listed)))


def folded(fold: Fold, rows: list[list[object]]) -> State:
    state = fold.empty()
    for row in rows:
        fold.add(state, list(row))
    return state


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), count=st.integers(0, 120), parts=st.integers(2, 4))
def test_merging_partial_states_equals_folding_all(
    fold: Fold, arrivals: Arrivals, seed: int, count: int, parts: int
) -> None:
    _, rows = arrivals.rows(pa.Table.from_pylist(wild_stream(seed, users=1, count=count)))
    chance = random.Random(seed)
    dealt: list[list[list[object]]] = [[] for _ in range(parts)]
    for row in rows:
        dealt[chance.randrange(parts)].append(row)
    states = [folded(fold, some) for some in dealt]
    whole = folded(fold, rows)
    left = states[0]
    for state in states[1:]:
        left = fold.merge(left, state)
    right = states[-1]
    for state in states[-2::-1]:
        right = fold.merge(state, right)
    for days in (0, 3, 45, 400):
        as_of = date(1970, 1, 1) + timedelta(days=max(whole.newest, 19700) + 1 + days)
        wanted = fold.finish(whole, as_of)
        for name, value in fold.finish(left, as_of).items():
            assert_like(value, wanted[name], f"((a b) c) {name} +{days}")
        for name, value in fold.finish(right, as_of).items():
            assert_like(value, wanted[name], f"(a (b c)) {name} +{days}")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), count=st.integers(1, 150))
def test_a_state_survives_its_bytes_and_any_order_of_a_days_events(
    fold: Fold, arrivals: Arrivals, seed: int, count: int
) -> None:
    _, rows = arrivals.rows(pa.Table.from_pylist(wild_stream(seed, users=1, count=count)))
    one, other = fold.empty(), fold.empty()
    for row in rows:
        one = fold.decode(fold.encode(one))
        fold.add(one, list(row))
    for row in random.Random(seed).sample(rows, len(rows)):
        fold.add(other, list(row))
    as_of = date(1970, 1, 1) + timedelta(days=one.newest + 1)
    wanted = fold.finish(other, as_of)
    for name, value in fold.finish(one, as_of).items():
        assert_like(value, wanted[name], name)


# ---- point in time --------------------------------------------------------------------------------------------------


def test_an_event_that_comes_twice_counts_once(fold: Fold, arrivals: Arrivals) -> None:
    _, rows = arrivals.rows(pa.Table.from_pylist(wild_stream(3, users=1, count=1)))
    state = fold.empty()
    assert [fold.add(state, list(rows[0])) for _ in range(3)] == [True, False, False]


def test_an_event_ahead_of_its_time_waits_until_its_day(fold: Fold, arrivals: Arrivals) -> None:
    _, rows = arrivals.rows(pa.Table.from_pylist(wild_stream(4, users=1, count=1, late=0)))
    day = rows[0][fold.columns.index("known_no")]
    state = fold.empty()
    assert fold.add(state, rows[0], today=day - 2)
    before, after = (date(1970, 1, 1) + timedelta(days=day + days) for days in (-1, 1))
    assert fold.finish(state, before)["count_30"] == 0
    assert fold.finish(fold.decode(fold.encode(state)), after)["count_30"] == 1


def test_the_past_of_a_state_is_refused(fold: Fold, arrivals: Arrivals) -> None:
    _, rows = arrivals.rows(pa.Table.from_pylist(wild_stream(5, users=1, count=1)))
    state = folded(fold, rows)
    with pytest.raises(DefinitionError, match="already knows events"):
        fold.finish(state, date(2020, 1, 1))


def test_a_batch_applied_again_changes_nothing(new_shop: Callable[[], Bench], tmp_path: Path) -> None:
    events = pa.Table.from_pylist(wild_stream(6, users=3, count=50))
    with Engine(memory_gb=0.5, temp=tmp_path / "tmp") as engine:
        fold = Fold(live_features(declared_features(FeaturesSection())))
        with LiveStore(tmp_path / "live.db", fold, engine) as store:
            assert store.apply(events, offset=0)
            before = {user: store.values(user, date(2025, 1, 1)) for user in ("u0", "u1", "u2")}
        with LiveStore(tmp_path / "live.db", fold, engine) as store:
            assert store.applied() == 0
            assert store.apply(events, offset=0) == []
            assert {user: store.values(user, date(2025, 1, 1)) for user in ("u0", "u1", "u2")} == before


def test_batches_written_together_are_lost_together_and_read_again(tmp_path: Path) -> None:
    events = pa.Table.from_pylist(wild_stream(7, users=3, count=90))
    fold = Fold(live_features(declared_features(FeaturesSection())))
    as_of = date(2025, 1, 1)
    with Engine(memory_gb=0.5, temp=tmp_path / "tmp") as engine:
        with LiveStore(tmp_path / "whole.db", fold, engine) as store:
            store.apply(events)
            wanted = {user: store.values(user, as_of) for user in ("u0", "u1", "u2")}
        store = LiveStore(tmp_path / "live.db", fold, engine)
        store.apply(events.slice(0, 30), offset=0)
        store.apply(events.slice(30, 30), offset=1, flush=False)
        assert store.applied() == 1
        store = LiveStore(tmp_path / "live.db", fold, engine)  # the process died without a flush
        assert store.applied() == 0
        with pytest.raises(DefinitionError, match="without event_id"):
            store.apply(events.slice(30, 5).drop_columns("event_id"), offset=1)
        for offset in (0, 1, 2):
            store.apply(events.slice(offset * 30, 30), offset=offset, flush=offset == 2)
        found = {user: store.values(user, as_of) for user in wanted}
        store.close()
    for user, values in wanted.items():
        for name, value in values.items():
            assert_like(found[user][name], value, f"{user} {name}")
