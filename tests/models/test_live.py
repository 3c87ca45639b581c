"""What is foreseen live equals what the training step wrote, where nothing has happened since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from huaxiang.features.live.tail import SCHEMA
from huaxiang.models.live import KEEP, SEEN, LivePredictions
from huaxiang.models.live_history import LiveForesight
from huaxiang.models.zoo.history import no_history
from huaxiang.shop import Shop


@pytest.fixture
def shop(small_shop: Path) -> Iterator[Shop]:
    with Shop.open(small_shop) as opened:
        yield opened


def rows_of(shop: Shop, table: str) -> list[dict[str, Any]]:
    return shop.engine.rows(shop.lake.table(table))


def test_predictions_over_the_features_of_the_build_are_those_of_the_training(shop: Shop) -> None:
    live = LivePredictions(shop.lake, shop.settings, shop.folder / "models")
    features = rows_of(shop, "features")
    wanted = {(row["user_id"], row["outcome"]): (row["label"] or row["value"], row["confidence"]) for row in rows_of(shop, "predictions")}  # fmt: skip
    found = live.predict(features)
    asked = 0
    for outcome, values in found.items():
        for row, value in zip(features, values, strict=True):
            there = wanted.get((row["user_id"], outcome))
            assert (value is None) == (there is None), outcome
            if value is not None and there is not None:
                asked += 1
                assert value == pytest.approx(there)
    assert asked == sum(outcome in found for _, outcome in wanted)
    assert asked > 10


def test_the_behaviour_model_says_the_same_of_the_same_events(shop: Shop) -> None:
    live = LiveForesight(shop.lake, shop.settings, shop.folder / "models")
    wanted = {row["user_id"]: row for row in rows_of(shop, "behaviour")}
    as_of = date.fromisoformat(shop.lake.note("build")["as_of"])
    users = sorted(wanted)
    found = live.look(users, SCHEMA.empty_table(), as_of)
    assert sorted(found) == users
    for user in users:
        assert found[user]["embedding"] == pytest.approx(wanted[user]["embedding"], abs=1e-5)
        assert found[user]["next_items"] == [
            {"item_id": one["item_id"], "share": pytest.approx(one["share"], abs=1e-5)}
            for one in wanted[user]["next_items"]
        ]


def test_events_that_are_not_in_the_lake_count_and_a_new_customer_is_known_by_them(shop: Shop) -> None:
    live = LiveForesight(shop.lake, shop.settings, shop.folder / "models")
    item = rows_of(shop, "ready.items")[0]["item_id"]
    someone = rows_of(shop, "behaviour")[0]["user_id"]
    day = date.fromisoformat(shop.lake.note("build")["as_of"])
    at = datetime(day.year, day.month, day.day, 9)
    rows = [{"event_id": f"n{user}", "user_id": user, "event": "view", "item_id": item, "ts": at, "received_at": at} for user in (someone, "new")]  # fmt: skip
    tail = pa.Table.from_pylist([{name: row.get(name) for name in SCHEMA.names} for row in rows], SCHEMA)
    after = date.fromordinal(day.toordinal() + 1)
    before, found = live.look([someone, "new"], SCHEMA.empty_table(), after), live.look([someone, "new"], tail, after)
    assert "new" not in before
    assert len(found["new"]["next_items"]) == shop.settings.behaviour.next_items
    assert found[someone]["embedding"] != before[someone]["embedding"]


def test_a_head_on_the_vector_reads_it_from_the_row_and_stays_as_it_was_without(shop: Shop) -> None:
    live = LivePredictions(shop.lake, shop.settings, shop.folder / "models")
    (one, *_) = [*live.alone, *live.reading]
    rng = np.random.default_rng(1)
    features = rows_of(shop, "features")[:40]
    x = live._matrix(features, None)
    vectors = rng.normal(size=(40, 8)).astype(np.float32)
    history = no_history(40)
    starts = np.arange(41) * 3
    history = replace(history, events=replace(history.events, starts=starts), vectors=vectors)
    from huaxiang.models.zoo.vector import VectorConfig, VectorModel

    y = (vectors[:, 0] > 0).astype(float)
    model = VectorModel(VectorConfig("binary")).fit(replace(x, history=history), y, seed=1, classes=2)
    head = replace(one, among=None, predictor=replace(one.predictor, task="binary", model=model, classes=()))
    live.alone, live.reading = [], [head]
    seen = [row | {SEEN: [3, vector.tolist()]} for row, vector in zip(features[:20], vectors, strict=False)]
    found = live.predict(seen + features[20:])[one.outcome]
    wanted = head.predictor.score(replace(x, history=history))
    assert [value[0] for value in found[:20] if value] == pytest.approx(wanted[:20].tolist())
    assert found[20:] == [KEEP] * 20
