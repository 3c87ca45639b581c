"""Visitors who turn out to be users: whatever the order in which events and logins arrive, the states are those of a batch build."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.features.conftest import NOW, Bench, Row, clean_table
from tests.features.everything import MINE
from tests.features.streams import ITEMS, wild_stream
from tests.features.test_algebra import NO_SHRINKING, SECTION
from tests.features.test_oracle import assert_like

from huaxiang.engine import Engine
from huaxiang.features import build_features
from huaxiang.features.aggregations import Count, Sum
from huaxiang.features.algebra import Feature
from huaxiang.features.live import Fold, live_features
from huaxiang.features.live.ledger import Fact, turns_of, user_at
from huaxiang.features.live.store import Changed, LiveStore
from huaxiang.features.live.tail import SCHEMA, events_of, read_tail
from huaxiang.features.mine import declared_features
from huaxiang.identity import link_users
from huaxiang.settings import Settings
from huaxiang.store import open_database
from servers import PostgresServer
from stores import new_url, postgres

__all__ = ["postgres"]
USERS = ("u0", "u1", "u2")
VISITORS = ("v0", "v1", "v2", "v3")


def known_late(name: str) -> bool:
    """Prices count from when they were known, and batch holds a visitor's purchase known when the visitor was."""
    return "price_ratio" in str(MINE[name])


def with_visitors(seed: int, count: int) -> list[Row]:
    """A wild stream in which half of the events carry a visitor, a third of those with a user."""
    chance = random.Random(seed)
    events = wild_stream(seed, users=3, count=count)
    for event in events:
        draw = chance.random()
        if draw < 0.55:
            event["anonymous_id"] = chance.choice(VISITORS)
            if draw < 0.4:
                event["user_id"] = None
    return events


def facts_of(events: list[Row]) -> list[Fact]:
    return [
        Fact(row["anonymous_id"], row["user_id"], micros(row["ts"]), micros(row["received_at"]))
        for row in events
        if row.get("anonymous_id") and row.get("user_id")
    ]


def micros(at: Any) -> int:
    return int(pa.scalar(at, pa.timestamp("us")).cast(pa.int64()).as_py())


def table_of(events: list[Row]) -> pa.Table:
    return pa.Table.from_pylist([{name: row.get(name) for name in SCHEMA.names} for row in events], SCHEMA)


def aliases(seed: int, events: list[Row]) -> list[Fact]:
    """Now and then a user turns out to be an earlier id of another, in a chain or in a ring."""
    chance = random.Random(seed)
    moments = [row["ts"] for row in events]
    pairs = [(chance.choice([*USERS, *VISITORS]), chance.choice(USERS)) for _ in range(chance.choice([0, 0, 1, 2, 4]))]
    times = [micros(chance.choice(moments)) + place for place in range(len(pairs))]
    return [Fact(old, new, at, at, "alias") for (old, new), at in zip(pairs, times, strict=True) if old != new]


def identifiers(facts: list[Fact]) -> list[Row]:
    return [
        {"kind": "alias", "value": one.anonymous_id, "anonymous_id": one.anonymous_id, "user_id": one.user_id, "ts": datetime(1970, 1, 1) + timedelta(microseconds=one.since)}
        for one in facts
    ]  # fmt: skip


def build(shop: Bench, events: list[Row], as_of: date, facts: list[Fact]) -> None:
    shop.settings = Settings.model_validate({"features": SECTION.model_dump()})
    with shop.lake.step("clean") as step:
        step.replace("clean.events", clean_table("events", events))
        step.replace("clean.items", clean_table("items", list(ITEMS.values())))
        step.replace("clean.users", clean_table("users", []))
        step.replace("clean.identifiers", clean_table("identifiers", identifiers(facts)))
    with shop.lake.step("build") as step:
        link_users(step, shop.settings)
        build_features(step, shop.settings, as_of=as_of, now=NOW)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=NO_SHRINKING)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 160), kind=st.sampled_from(["sqlite", "sqlite", "postgres"]))
@example(seed=3, count=150, kind="sqlite")
@example(seed=4, count=150, kind="sqlite")
@example(seed=11, count=120, kind="sqlite")
def test_whatever_the_order_of_arrival_the_states_are_those_of_a_batch_build(
    new_shop: Callable[[], Bench],
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresServer,
    seed: int,
    count: int,
    kind: str,
) -> None:
    events = with_visitors(seed, count)
    as_of = max(max(row["ts"], row["received_at"]) for row in events).date() + timedelta(days=1)
    shop, chance = new_shop(), random.Random(seed)
    also = aliases(seed, events)
    build(shop, events, as_of, also)
    wanted = {row["user_id"]: row for row in shop.rows("features")}
    fold = Fold(live_features(declared_features(SECTION)))
    items = shop.lake.engine.sql(shop.lake.table("ready.items"))
    where = new_url(postgres) if kind == "postgres" else tmp_path_factory.mktemp("live") / "live.db"
    arriving = chance.sample(events, len(events))
    told: dict[int, list[Fact]] = {}
    for fact in also:
        told.setdefault(chance.randint(1, 12), []).append(fact)
    offset = 0
    database = open_database(where, durable=False)
    while arriving:
        store = LiveStore(database, fold, shop.lake.engine, items=items)  # as after a restart
        for _ in range(chance.randint(1, 4)):
            some, arriving = arriving[: (size := chance.randint(1, 25))], arriving[size:]
            offset += 1
            facts = facts_of(some) + told.pop(offset, [])
            store.take(table_of(some), facts, source="log", offset=offset)
            assert store.take(table_of(some), facts, source="log", offset=offset).users == []
        store.close()
    store = LiveStore(database, fold, shop.lake.engine, items=items)
    store.take(table_of([]), [fact for facts in told.values() for fact in facts], source="log", offset=offset + 1)
    kept = {user for (user,) in database.rows("SELECT user_id FROM state")}
    assert kept == set(wanted)
    for user, row in wanted.items():
        live = store.values(user, as_of)
        for name in (feature.name for feature in fold.features):
            if not known_late(name):
                assert_like(live[name], row[name], f"{user} {name}")
    database.close()


def test_the_latest_login_before_an_event_says_whose_it_is_else_the_first_after_it() -> None:
    turns = turns_of([Fact("v", user, since, 0) for user, since in [("b", 50), ("a", 10), ("a", 20), ("a", 70)]])
    assert [(turn.user_id, turn.since) for turn in turns] == [("a", 10), ("b", 50), ("a", 70)]
    assert [user_at(turns, at) for at in (5, 10, 49, 50, 69, 70, 99)] == ["a", "a", "a", "b", "b", "a", "a"]
    assert user_at([], 5) is None


@pytest.fixture
def new_store(tmp_path: Path) -> Iterator[Callable[[], LiveStore]]:
    """Opens one live store, again and again."""
    database = open_database(tmp_path / "live.db")
    fold = Fold([Feature("n", Count()), Feature("paid", Sum("amount"))])
    with Engine(memory_gb=0.5, temp=tmp_path / "tmp") as engine:
        yield lambda: LiveStore(database, fold, engine)
    database.close()


def login(visitor: str, user: str | None, day: int, number: str = "") -> Row:
    at = datetime(2024, 5, day)
    return {"event_id": f"{visitor}-{user}-{day}{number}", "anonymous_id": visitor, "user_id": user, "event": "view", "ts": at, "received_at": at}  # fmt: skip


def counts(store: LiveStore, *users: str) -> dict[str, float]:
    return {user: store.values(user, date(2025, 1, 1))["n"] for user in users}


def take(store: LiveStore, offset: int, *events: Row) -> Changed:
    return store.take(table_of(list(events)), facts_of(list(events)), source="log", offset=offset)


def test_a_login_brings_the_visitors_past_along_and_the_visitor_is_gone(new_store: Callable[[], LiveStore]) -> None:
    store = new_store()
    assert take(store, 1, login("v", None, 1), login("v", None, 2)).users == ["v"]
    made = take(store, 2, login("v", "u", 3))
    assert (made.users, made.gone) == (["u"], ["v"])
    assert counts(store, "u", "v") == {"u": 3.0, "v": 0.0}
    assert take(store, 3, login("v", None, 4)).users == ["u"]
    assert counts(store, "u") == {"u": 4.0}


def test_a_login_that_is_learned_late_moves_the_events_that_were_somebody_elses(
    new_store: Callable[[], LiveStore],
) -> None:
    store = new_store()
    take(store, 1, login("v", "anna", 1), login("v", None, 2), login("v", None, 6), login("v", "anna", 8))
    assert counts(store, "anna") == {"anna": 4.0}
    made = take(store, 2, login("v", "bo", 5))  # from the 5th to the 8th it was Bo who sat there
    assert made.users == ["anna", "bo"]
    assert counts(store, "anna", "bo") == {"anna": 3.0, "bo": 2.0}
    take(store, 3, login("v", None, 7, "b"), login("v", None, 9))
    assert counts(new_store(), "anna", "bo") == {"anna": 4.0, "bo": 3.0}


def test_somebody_else_at_the_same_computer_costs_no_rebuild(
    new_store: Callable[[], LiveStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store()
    take(store, 1, login("v", "anna", 1), login("v", None, 2))
    monkeypatch.setattr(store, "_rebuild", lambda users: users and pytest.fail("nothing was moved"))
    assert take(store, 2, login("v", "bo", 3), login("v", None, 4)).users == ["bo"]
    assert counts(store, "anna", "bo") == {"anna": 2.0, "bo": 2.0}


def test_an_erased_user_stays_erased_whatever_is_read_again(new_store: Callable[[], LiveStore]) -> None:
    store = new_store()
    take(store, 1, login("v", None, 1), login("v", "anna", 2), login("w", "bo", 2))
    upto = micros(datetime(2024, 5, 3))
    store.erase("anna", upto=upto)
    assert counts(store, "anna", "v", "bo") == {"anna": 0.0, "v": 0.0, "bo": 1.0}
    assert store.database.rows("SELECT owner FROM tail ORDER BY owner") == [("bo",), ("w",)]
    again = new_store()
    take(again, 2, login("v", None, 1, "late"), login("v", "anna", 2, "late"))  # received before, read only now
    assert counts(again, "anna", "v") == {"anna": 0.0, "v": 0.0}
    take(again, 3, login("v", "anna", 4))  # she came back
    assert counts(again, "anna") == {"anna": 1.0}


def test_the_tail_gives_back_what_it_was_given(new_store: Callable[[], LiveStore]) -> None:
    events = with_visitors(5, 40)
    store = new_store()
    take(store, 1, *events[:20])
    take(store, 2, *events[20:])
    owners = sorted({row["user_id"] or row["anonymous_id"] for row in events})
    held = read_tail(store.database, owners)
    given = {row["event_id"]: row for row in table_of(events).to_pylist()}
    assert {row["event_id"]: row for row in events_of(held.values()).to_pylist()} == given
    assert sum(len(read_tail(store.database, owners, after=1)[owner].events) for owner in owners) == 20


def test_an_earlier_id_of_a_user_brings_its_events_and_its_visitors_along(new_store: Callable[[], LiveStore]) -> None:
    store = new_store()
    take(store, 1, login("v", "old", 1), login("v", None, 2), login("w", "new", 3))
    made = store.take(table_of([]), [Fact("old", "new", 5, 5, "alias")], source="log", offset=2)
    assert (made.users, made.gone) == (["new"], ["old"])
    assert counts(store, "new", "old") == {"new": 3.0, "old": 0.0}
    take(store, 3, login("v", None, 8), login("v", "old", 9, "late"))
    assert counts(new_store(), "new", "old", "v") == {"new": 5.0, "old": 0.0, "v": 0.0}


def test_a_file_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    fold = Fold([Feature("n", Count())])
    at = [{"event_id": "e1", "user_id": "u", "event": "view", "ts": datetime(2024, 1, 1)}]
    with Engine(memory_gb=0.5, temp=tmp_path / "tmp") as engine:
        with LiveStore(tmp_path / "live.db", fold, engine) as store:
            store.apply(pa.Table.from_pylist(at))
            with store.database.transaction() as write:
                for table in ("layout", "link", "tail", "erased"):  # it had no others
                    write.run(f"DROP TABLE {table}")
                write.run("DELETE FROM about WHERE name = 'turn'")
        with LiveStore(tmp_path / "live.db", fold, engine) as store:
            assert store.values("u", date(2024, 1, 2)) == {"n": 1.0}
