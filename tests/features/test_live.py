"""The live fold against plain Python and against the batch build: the same events, the same values."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.features.conftest import Bench, Row
from tests.features.oracle import local, oracle
from tests.features.test_oracle import CHURN, ITEMS, ZONES, assert_like, stream

from huaxiang.engine import Engine, Lake
from huaxiang.features.live import Fold, live_features
from huaxiang.features.live.open import open_live, refill
from huaxiang.features.live.store import LiveStore
from huaxiang.features.mine import declared_features
from huaxiang.settings import FeaturesSection


def arrivals(events: list[Row]) -> list[Row]:
    """The events in the order in which they were known."""
    return sorted(events, key=lambda event: (max(event["ts"], event["received_at"]), event["event_id"]))


def known_day(event: Row, zone: str) -> date:
    return local(max(event["ts"], event["received_at"]), zone).date()


def open_store(shop: Bench, path: Path, zone: str, section: FeaturesSection | None = None) -> LiveStore:
    features = live_features(declared_features(section or FeaturesSection(), [], sells=True))
    items = shop.lake.engine.sql(shop.lake.table("ready.items"))
    return LiveStore(path, Fold(features), shop.lake.engine, zone=zone, items=items)


@pytest.mark.parametrize("zone", ZONES)
def test_state_as_it_stood_equals_batch_at_every_date(shop: Bench, tmp_path: Path, zone: str) -> None:
    events = stream(seed=len(zone) + 3, users=8, count=700)
    shop.build(events, items=list(ITEMS.values()), shop={"timezone": zone}, outcomes=CHURN)
    rows = sorted(shop.rows("training") + shop.rows("features"), key=lambda row: row["as_of"])
    coming = arrivals(events)
    with open_store(shop, tmp_path / "live.db", zone) as store:
        for row in rows:
            due = [event for event in coming if known_day(event, zone) < row["as_of"]]
            coming = coming[len(due) :]
            if due:
                store.apply(pa.Table.from_pylist(due))
            found = store.values(row["user_id"], row["as_of"])
            assert len(found) > 90
            wanted = oracle(events, ITEMS, row["user_id"], row["as_of"], zone)
            for name, value in found.items():
                place = f"{row['user_id']} {row['as_of']} {name}"
                assert_like(value, row[name], f"{place} against batch")
                if name in wanted:
                    assert_like(value, wanted[name], f"{place} against plain Python")


def test_states_filled_from_the_last_build_go_on_as_if_they_had_been_folded(tmp_path: Path) -> None:
    events = arrivals(stream(seed=11, users=6, count=400))
    with Engine(memory_gb=0.6, threads=2, temp=tmp_path / "tmp") as engine:
        shop = Bench(Lake(tmp_path / "lake", engine))
        middle = known_day(events[200], "UTC")
        past = [event for event in events if known_day(event, "UTC") < middle]
        coming = [event for event in events if known_day(event, "UTC") >= middle]
        shop.build(past, items=list(ITEMS.values()), as_of=middle)
        with open_live(shop.lake, shop.settings, tmp_path / "live.db") as store:
            assert refill(store, shop.lake, shop.settings.shop.timezone) == len({event["user_id"] for event in past})
            store.apply(pa.Table.from_pylist(coming))
            as_of = known_day(events[-1], "UTC") + timedelta(days=1)
            found = {user: store.values(user, as_of) for user in {event["user_id"] for event in events}}
        shop.build(events, items=list(ITEMS.values()), as_of=as_of)
        for user, row in shop.features().items():
            for name, value in found[user].items():
                if not name.startswith("share_"):  # which categories get one is decided by each build
                    assert_like(value, row[name], f"{user} {name}")
