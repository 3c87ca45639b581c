"""Rows of a real PostgreSQL by a rising column: each once, in spite of ties, late commits, restarts and a second process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from huaxiang.errors import SourceError, StoreError
from huaxiang.serve.pull.run import Pull
from pulls import Place, properties
from servers import PostgresServer
from stores import new_url

ORDERS = {"kind": "postgresql", "table": "orders", "cursor": "changed_at", "key": "id", "fields": {"user_id": "member_no", "ts": "changed_at"}, "event": "Order Completed"}  # fmt: skip


class Till:
    """A shop's own database, and pulls of it."""

    def __init__(self, server: PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url, self._folder = new_url(server), folder
        self.database = psycopg.connect(self.url, autocommit=True)
        self.database.execute("CREATE TABLE orders (id serial PRIMARY KEY, member_no text, total numeric(9, 2), changed_at timestamptz NOT NULL)")  # fmt: skip
        monkeypatch.setenv("TILL_PASSWORD", server.password)
        self.said = self.url.replace(server.password, "${TILL_PASSWORD}")
        self._open: list[Any] = []

    def place(self, store: str = "", **more: Any) -> tuple[Place, Pull]:
        place = Place(self._folder, {"till": ORDERS | {"url": self.said} | more}, store=store)
        pull = place.pull("till")
        self._open[:0] = [pull, place]
        return place, pull

    def sell(self, *members: str | None, at: str = "2026-05-01 08:00:00.123456+08", by: Any = None) -> None:
        for member in members:
            (by or self.database).execute("INSERT INTO orders (member_no, total, changed_at) VALUES (%s, 9.90, %s)", (member, at))  # fmt: skip

    def close(self) -> None:
        self.database.close()
        for one in self._open:
            one.close()


@pytest.fixture
def till(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Till]:
    made = Till(postgres, tmp_path, monkeypatch)
    yield made
    made.close()


def test_rows_are_pulled_once_in_spite_of_ties_and_nulls(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huaxiang.serve.pull.postgresql.ROWS", 3)
    place, pull = till.place(settle_s=0)
    till.sell(*(str(n) for n in range(8)))  # all of one moment
    pull.step()
    till.sell("8", None)
    pull.step()
    pull.step()
    found = place.messages()
    assert [one.userId for one in found] == [str(n) for n in range(9)]
    assert found[0].timestamp == "2026-05-01T00:00:00.123456+00:00"
    assert (found[0].event, properties(found[0])) == ("Order Completed", {"id": 1, "total": 9.9})
    assert place.reasons() == {"no_user": 1}


def test_a_row_whose_transaction_ended_late_is_found_within_the_settling_time(till: Till) -> None:
    place, pull = till.place(cursor="id", key="", settle_s=30)
    with psycopg.connect(till.url) as slow:
        till.sell("slow", by=slow)  # takes number 1, and is not seen yet
        till.sell("fast")
        pull.step()
        assert [one.userId for one in place.messages()] == ["fast"]
    pull.step()
    pull.step()
    assert [one.userId for one in place.messages()] == ["fast", "slow"]


def test_a_changed_row_is_a_new_message_where_the_cursor_moves_with_it(till: Till) -> None:
    place, pull = till.place()
    till.sell("a")
    pull.step()
    till.database.execute("UPDATE orders SET changed_at = changed_at + interval '1 hour'")
    pull.step()
    assert len(place.messages()) == 2


@pytest.mark.parametrize("forgotten", [False, True], ids=["ids known", "ids forgotten"])
def test_a_new_process_goes_on_where_the_last_one_was(till: Till, forgotten: bool) -> None:
    """Soon after, it looks again at what was not settled, and the log knows the ids; after days it does not look again."""
    first, pull = till.place()
    till.sell("a", "b")
    pull.step()
    till.sell("c")
    pull.close()
    first.close()
    second, pull = till.place()
    if forgotten:
        with second.database.transaction() as write:
            position = second.positions.of("till")[""] | {"at": time.time() - 2 * 86_400}
            second.positions.write(write, "till", {"": position}, 0)
        second.log._met._ids.clear()  # type: ignore[attr-defined]
    pull.step()
    assert [one.userId for one in second.messages()] == ["a", "b", "c"]


def test_a_query_may_be_pulled_and_percent_signs_are_its_own(till: Till) -> None:
    query = "SELECT id AS no, member_no, changed_at, 'x' AS event FROM orders WHERE member_no LIKE 'm%';"
    place, pull = till.place(table="", query=query, cursor="no", key="")
    till.sell("m1", "n1", "m2")
    pull.step()
    till.sell("m3")
    pull.step()
    assert [one.userId for one in place.messages()] == ["m1", "m2", "m3"]
    assert [one.event for one in place.messages()] == ["x"] * 3


def test_what_is_wrong_is_said_without_password_or_values_and_mended_without_a_restart(
    till: Till, postgres: PostgresServer
) -> None:
    place, pull = till.place(table="later", cursor="id", key="")
    with pytest.raises(SourceError, match="UndefinedTable") as told:
        pull.step()
    assert postgres.password not in str(told.value)
    assert os.environ["TILL_PASSWORD"] == postgres.password
    till.database.execute("CREATE TABLE later AS SELECT 1 AS id, 'x' AS event, 'u' AS member_no, now() AS changed_at")
    pull.reset()
    pull.step()
    assert [one.userId for one in place.messages()] == ["u"]


def test_a_server_that_was_away_is_read_on_when_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = PostgresServer(tmp_path, "till-pass")
    try:
        till = Till(server, tmp_path, monkeypatch)
        monkeypatch.setattr("huaxiang.serve.pull.run.FIRST_S", 0.1)
        place = Place(tmp_path, {"till": ORDERS | {"url": till.said, "every_s": 0.05}})
        place.pullers.start()
        till.sell("a")
        _await(lambda: len(place.messages()) == 1)
        server.stop()
        _await(lambda: "pull_database" in place.pullers.all[0].error)
        server.start()
        with psycopg.connect(till.url, autocommit=True) as again:
            till.sell("b", by=again)
        _await(lambda: len(place.messages()) == 2 and place.pullers.all[0].error == "")
        place.pullers.close()
        place.close()
        till.close()
    finally:
        server.close()


def test_of_two_processes_on_one_store_one_pulls_and_the_other_takes_over(till: Till, postgres: PostgresServer) -> None:
    store = new_url(postgres)
    first, pull = till.place(store=store)
    second, _ = till.place(store=store)
    now = time.time_ns() // 1000
    assert first.positions.may_pull("till", now)
    assert not second.positions.may_pull("till", now)
    till.sell("a")
    pull.step()
    assert second.positions.may_pull("till", now + 60_000_000)  # the first was away for a minute
    till.sell("b")
    with pytest.raises(StoreError, match="another process"):
        pull.step()
    assert [one.userId for one in first.messages()] == ["a"]
    second.positions.let_go("till")
    assert first.positions.may_pull("till", now)


def _await(holds: Any) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
