"""Messages of Kafka, read from the mock cluster within librdkafka (real client and protocol; the brokers are its own, in this process)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from huaxiang.errors import SourceError, StoreError
from huaxiang.serve.pull.run import Pull
from pulls import Place

confluent_kafka = pytest.importorskip("confluent_kafka", reason="needs huaxiang[kafka]")


class Cluster:
    """Three brokers; what sends to them must live as long as they do."""

    def __init__(self) -> None:
        self._producer = confluent_kafka.Producer({"test.mock.num.brokers": 3, "log_level": 0})
        metadata = self._producer.list_topics(timeout=10)
        self.brokers = ",".join(f"{one.host}:{one.port}" for one in metadata.brokers.values())
        self._sender = confluent_kafka.Producer({"bootstrap.servers": self.brokers, "log_level": 0})

    def send(self, topic: str, *contents: Any, partition: int = 0) -> None:
        for one in contents:
            value = one if isinstance(one, bytes) or one is None else json.dumps(one).encode()
            self._sender.produce(topic, value, partition=partition)
        assert self._sender.flush(20) == 0


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def topic(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    name = f"topic-{abs(hash(request.node.name))}"
    cluster.send(name, b"", partition=3)  # makes it, with its four partitions
    return name


@pytest.fixture
def make(cluster: Cluster, topic: str, tmp_path: Path) -> Iterator[Callable[..., tuple[Place, Pull]]]:
    opened: list[Any] = []

    def make(**more: Any) -> tuple[Place, Pull]:
        said = {"kind": "kafka", "brokers": cluster.brokers, "topics": [topic], "fields": {"user_id": "who"}}
        place = Place(tmp_path, {"bus": said | more})
        pull = place.pull("bus")
        opened[:0] = [pull, place]
        return place, pull

    yield make
    for one in opened:
        one.close()


def step_until(pull: Pull, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        pull.step()


def row(who: int) -> dict[str, Any]:
    return {"who": who, "event": "Search"}


def test_messages_of_every_partition_are_pulled_and_the_bad_ones_set_aside(
    cluster: Cluster, topic: str, make: Callable[..., tuple[Place, Pull]]
) -> None:
    place, pull = make()
    for partition in range(3):
        cluster.send(topic, row(partition), b"{", None, partition=partition)
    step_until(pull, lambda: len(place.messages()) == 3 and place.reasons().get("bad_json") == 4)
    found = place.messages()
    assert {one.userId for one in found} == {0, 1, 2}
    assert {one.messageId for one in found} == {f"{topic}/{n}/0" for n in range(3)}
    assert all(one.timestamp and one.timestamp.endswith("+00:00") for one in found)  # that of Kafka
    assert place.pullers.all[0].counts.behind == 0


def test_a_new_process_goes_on_behind_what_is_on_disk_and_reads_nothing_twice(
    cluster: Cluster, topic: str, make: Callable[..., tuple[Place, Pull]], tmp_path: Path
) -> None:
    """The first process dies between two transactions; its ids are forgotten, so that only the offsets can tell."""
    first, pull = make()
    cluster.send(topic, *map(row, range(50)))
    step_until(pull, lambda: len(first.messages()) == 50)
    put = first.committer.put

    def fail(request: object) -> int:
        raise StoreError("store.away", kind="test")

    first.committer.put = fail  # type: ignore[method-assign]
    cluster.send(topic, *map(row, range(50, 80)))
    with pytest.raises(StoreError):
        step_until(pull, lambda: False)
    first.committer.put = put  # type: ignore[method-assign]
    pull.close()
    with first.database.transaction() as write:
        write.run("UPDATE request SET ids = x''")
    first.close()
    second, pull = make()
    step_until(pull, lambda: len(second.messages()) >= 80)
    for _ in range(3):
        pull.step()
    assert [one.userId for one in second.messages()] == list(range(80))


def test_the_end_may_be_the_beginning(cluster: Cluster, topic: str, make: Callable[..., tuple[Place, Pull]]) -> None:
    """The end of the first look: what comes while nobody reads is read afterwards."""
    cluster.send(topic, row(1))
    place, pull = make(start="end")
    pull.step()
    pull.close()
    place.close()
    cluster.send(topic, row(2))
    place, pull = make(start="end")
    step_until(pull, lambda: bool(place.messages()))
    assert [one.userId for one in place.messages()] == [2]


def test_what_is_wrong_is_said(make: Callable[..., tuple[Place, Pull]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huaxiang.serve.pull.kafka.ASK_S", 0.5)
    _, pull = make(brokers="127.0.0.1:1")
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1"):
        step_until(pull, lambda: False)
    with pytest.raises(SourceError, match="NOT_SET"):
        make(options={"sasl.password": "${NOT_SET}"})
