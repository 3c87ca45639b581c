"""Visits joined to the users who made them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from huaxiang.engine import Engine, Lake
from huaxiang.identity import IdentityReport, canonical_events, link_users
from huaxiang.identity.links import find_merged
from huaxiang.settings import Settings
from huaxiang.tables import TABLES, arrow_schema, raw_columns


def at(hour: int) -> datetime:
    return datetime(2024, 5, 1, hour)


class House:
    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def clean(self, **tables: list[dict[str, Any]]) -> None:
        with self.lake.step("clean") as step:
            for name in TABLES:
                schema = arrow_schema(raw_columns(name))
                rows = [
                    {"source": "shop", "row_id": f"r{n}", "collected_at": at(23)} | row
                    for n, row in enumerate(tables.get(name, []))
                ]
                step.replace(
                    f"clean.{name}",
                    pa.Table.from_pylist([{field: row.get(field) for field in schema.names} for row in rows], schema),
                )

    def link(self) -> tuple[IdentityReport, dict[str, tuple[Any, ...]]]:
        """The report, and event_id -> (user_id, known_at, visitor)."""
        with self.lake.step("build") as step:
            report = link_users(step, Settings())
            events = self.lake.engine.rows(canonical_events(step))
        assert len({row["event_id"] for row in events}) == len(events) == self.lake.rows("clean.events")
        return report, {row["event_id"]: (row["user_id"], row["known_at"], row["visitor"]) for row in events}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Engine(memory_gb=0.5, threads=2, temp=tmp_path / "tmp") as engine:
        yield House(Lake(tmp_path / "lake", engine))


def seen(name: str, hour: int, user: str | None = None, visitor: str | None = None, late: int = 0) -> dict[str, Any]:
    return {
        "event_id": name,
        "event": "view",
        "user_id": user,
        "anonymous_id": visitor,
        "ts": at(hour),
        "received_at": at(hour + late),
    }


def test_shop_without_visitors_has_no_links(house: House) -> None:
    house.clean(events=[seen("a", 1, "ada")])
    report, events = house.link()
    assert report.links == report.visitors == 0
    assert events == {"a": ("ada", at(1), False)}


def test_visit_before_the_login_belongs_to_the_user_but_was_known_only_then(house: House) -> None:
    house.clean(
        events=[
            seen("browse", 1, visitor="v"),
            seen("login", 2, "ada", "v", late=3),
            seen("after", 4, visitor="v"),
            seen("alone", 1, visitor="w"),
        ]
    )
    report, events = house.link()
    assert events == {
        "browse": ("ada", at(5), False),
        "login": ("ada", at(5), False),
        "after": ("ada", at(5), False),
        "alone": ("w", at(1), True),
    }
    assert (report.visitors, report.joined, report.shared, report.links) == (2, 1, 0, 1)


def test_shared_computer_goes_to_whoever_logged_in_last(house: House) -> None:
    house.clean(
        events=[
            seen("first", 0, visitor="v"),
            seen("ada1", 1, "ada", "v"),
            seen("hers", 2, visitor="v"),
            seen("ada2", 3, "ada", "v"),
            seen("bob1", 4, "bob", "v"),
            seen("same", 4, visitor="v"),
            seen("his", 5, visitor="v"),
            seen("ada3", 6, "ada", "v"),
            seen("last", 7, visitor="v"),
        ]
    )
    report, events = house.link()
    assert {name: events[name][0] for name in ("first", "hers", "same", "his", "last")} == {
        "first": "ada",
        "hers": "ada",
        "same": "bob",
        "his": "bob",
        "last": "ada",
    }
    # ada from 1, bob from 4, ada from 6: the second sighting of ada changes nothing
    assert (report.shared, report.links) == (1, 3)


def test_declared_identifiers_join_too(house: House) -> None:
    house.clean(
        events=[seen("a", 1, visitor="v"), seen("b", 1, visitor="w"), seen("c", 1, visitor="x")],
        identifiers=[
            {"kind": "cookie", "value": "k", "user_id": "ada", "anonymous_id": "v", "ts": at(2)},
            {"kind": "email", "value": "m", "user_id": "bob", "ts": at(3)},
            {"kind": "email", "value": "m", "anonymous_id": "w", "ts": at(2)},
            {"kind": "ip", "value": "i", "user_id": "ada", "ts": at(1)},
            {"kind": "ip", "value": "i", "anonymous_id": "x", "ts": at(1)},
        ],
    )
    _, events = house.link()
    assert events == {"a": ("ada", at(2), False), "b": ("bob", at(3), False), "c": ("x", at(1), True)}


def test_identifier_of_two_users_joins_nobody(house: House) -> None:
    phone = {"kind": "phone", "value": "p", "ts": at(1)}
    house.clean(
        events=[seen("a", 1, visitor="v")],
        identifiers=[phone | {"user_id": "ada"}, phone | {"user_id": "bob"}, phone | {"anonymous_id": "v"}],
    )
    assert house.link()[1]["a"] == ("v", at(1), True)


def test_link_is_undone_when_the_fact_it_rests_on_is_cleaned_away(house: House) -> None:
    house.clean(events=[seen("a", 1, visitor="v"), seen("b", 2, "ada", "v")])
    assert house.link()[1]["a"][0] == "ada"
    house.clean(events=[seen("a", 1, visitor="v")])
    assert house.link()[1]["a"] == ("v", at(1), True)


def earlier(old: str, new: str, hour: int) -> dict[str, Any]:
    return {"kind": "alias", "value": old, "anonymous_id": old, "user_id": new, "ts": at(hour)}


def test_an_earlier_id_of_a_user_is_that_user_with_its_visitors(house: House) -> None:
    house.clean(
        events=[seen("a", 1, "old"), seen("b", 2, "old", "v"), seen("c", 3, visitor="v"), seen("d", 4, "new"), seen("e", 5, "other")],
        identifiers=[earlier("old", "new", 6), earlier("older", "old", 7)],
    )  # fmt: skip
    _, found = house.link()
    assert {name: user for name, (user, _, _) in found.items()} == dict.fromkeys("abcd", "new") | {"e": "other"}
    assert found["a"][1] == at(6)  # known as the new one's when the link was
    assert found["d"][1] == at(4)


def test_a_ring_of_earlier_ids_is_its_first_by_name_and_the_last_word_counts() -> None:
    facts = [("b", "c", at(1), at(1)), ("c", "a", at(2), at(2)), ("a", "b", at(3), at(3)), ("x", "c", at(4), at(4)), ("y", "p", at(1), at(1)), ("y", "q", at(2), at(2))]  # fmt: skip
    found = {row["user_id"]: row["final"] for row in find_merged(facts).to_pylist()}
    assert found == {"b": "a", "c": "a", "x": "a", "y": "q"}
