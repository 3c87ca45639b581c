"""The quarantine: looked at without a personal value, sent through again once, with its time and its id."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import run_huaxiang
from huaxiang.serve.log import Log, Seal, make_request
from huaxiang.serve.open import open_running
from huaxiang.serve.pull.shape import Shape
from huaxiang.serve.quarantine import Quarantine
from huaxiang.serve.wire.message import encode, read_batch
from huaxiang.shop import Shop
from huaxiang.store import Database
from huaxiang.trust import Pseudonyms
from pulls import Place

NOW = 1_777_593_600_000_000  # 2026-05-01 00:00 UTC
LATER = NOW + 3_600_000_000


class Kept:
    """A log with a quarantine."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.log = Log(database, Seal(b"k" * 32), folder / "ids")
        self.quarantine = Quarantine(self.log, Pseudonyms(b"p" * 32), {})

    def send(self, *messages: Any, at: int = NOW) -> None:
        body = encode({"batch": messages})
        self.log.append([make_request("web", at, body, *read_batch(body))])

    def refuse(self, reason: str, message: dict[str, Any], offset: int) -> None:
        """As the worker does with a message that the mapping does not take."""
        with self.log.database.transaction() as write:
            self.log.refuse(write, "web", NOW, "map", reason, encode(message), (offset, 0))

    def messages(self) -> list[Any]:
        return [one for entry in self.log.read(0) for at, one in enumerate(read_batch(entry.body)[0].batch) if at not in entry.skipped]  # fmt: skip


@pytest.fixture
def kept(database: Database, tmp_path: Path) -> Iterator[Kept]:
    yield Kept(database, tmp_path)


def test_what_is_shown_holds_no_personal_value(kept: Kept) -> None:
    kept.send(
        {"type": "track", "userId": "ann@example.com", "properties": {"text": "call 13812345678", "phone": "13812345678", "sku": "x"}},
        {"type": "identify", "anonymousId": {"a": 1}, "traits": {"firstName": "Ann", "address": {"street": "Rue X"}, "hobby": "Ann sails"}},
        "Ann Smith",
    )  # fmt: skip
    shown = " ".join(one.content for one in kept.quarantine.newest())
    assert kept.quarantine.counts() == {("web", "collect", "shape"): 2, ("web", "collect", "no_event"): 1}
    assert all(value not in shown for value in ("ann@", "Ann", "13812345678", "Rue", "Smith"))
    assert all(value in shown for value in ("[phone]", '"sku":"x"', Pseudonyms(b"p" * 32).of("ann@example.com")))
    assert len(kept.quarantine.newest("no_event")) == len(kept.quarantine.newest(limit=1)) == 1


def test_a_replay_sends_once_and_what_fails_again_is_a_new_entry(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    late = {"type": "track", "userId": "a", "event": "e" * 600, "messageId": "m1"}
    kept.send(late, {"type": "track", "userId": "b", "messageId": "m2"}, "nothing")
    monkeypatch.setattr("huaxiang.serve.wire.message.LONGEST_NAME", 1_000)  # mended
    assert kept.quarantine.replay(LATER, "no_event").__dict__ == {"sent": 0, "again": 1, "left": 0}
    assert kept.quarantine.replay(LATER).__dict__ == {"sent": 1, "again": 2, "left": 0}
    assert kept.quarantine.counts() == {("web", "collect", "no_event"): 1, ("web", "collect", "shape"): 1}
    assert [one.messageId for one in kept.messages()] == ["m1"]
    kept.send(late)  # the SDK sends it again
    assert len(kept.messages()) == 1


def test_what_the_mapping_refused_counts_although_its_id_is_known(kept: Kept) -> None:
    bad = {"type": "track", "userId": "a", "event": "x", "messageId": "m1", "properties": {"price": "dear"}}
    kept.send(bad)
    kept.refuse("no_number:price", bad, kept.log.last())
    assert kept.quarantine.replay(LATER).sent == 1
    assert kept.quarantine.replay(LATER).sent == 0
    assert [one.messageId for one in kept.messages()] == ["m1", "m1"]


@pytest.mark.parametrize(
    ("said", "happened"),
    [
        ({}, "2026-05-01T00:00:00+00:00"),  # when it was received
        ({"timestamp": "2026-04-30T10:00:00Z"}, "2026-04-30T10:00:00Z"),
        ({"timestamp": "2026-05-02T10:00:00Z", "sentAt": "2026-05-02T10:00:05Z"}, "2026-04-30T23:59:55+00:00"),
        ({"originalTimestamp": "2026-05-02T10:00:00", "sentAt": "2026-05-02T10:00:05"}, "2026-04-30T23:59:55+00:00"),
    ],
)
def test_a_replayed_message_happened_when_it_did(kept: Kept, said: dict[str, str], happened: str) -> None:
    kept.refuse("x", {"type": "track", "userId": "a", "event": "x"} | said, 7)
    kept.quarantine.replay(LATER)
    (found,) = kept.messages()
    assert (found.originalTimestamp or found.timestamp, found.sentAt) == (happened, None)
    assert kept.log.read(0)[0].received_at == LATER


def test_pulled_rows_are_read_anew_by_the_mended_settings(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    place = Place(tmp_path, {"till": {"kind": "folder", "path": "in"}})
    (tmp_path / "in" / "a.csv").write_text("member,event,ts\n1,x,\n2,x,soon\n")
    (tmp_path / "in" / "b.parquet").write_text("nothing")
    pull = place.pull("till")
    pull.step()
    pull.step()
    assert place.reasons() == {"no_user": 1, "time": 1, "no_parquet": 1}
    shapes = {"till": Shape({"user_id": "member"}, event="", zone="UTC")}
    done = Quarantine(place.log, Pseudonyms(b"p" * 32), shapes).replay(LATER)
    assert done.__dict__ == {"sent": 1, "again": 1, "left": 1}
    assert [one.userId for one in place.messages()] == ["1"]
    pull.close()
    place.close()


def test_a_replay_that_cannot_be_written_leaves_all_as_it_was(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.refuse("x", {"type": "track", "userId": "a", "event": "x"}, 7)
    insert = Log._insert

    def fail(*given: Any) -> int:
        insert(*given)
        raise ZeroDivisionError

    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(Log, "_insert", fail)
        kept.quarantine.replay(LATER)
    assert (kept.messages(), sum(kept.quarantine.counts().values())) == ([], 1)


def test_old_entries_are_dropped(kept: Kept) -> None:
    for at in (NOW, LATER):
        kept.send("nothing", at=at)
    assert kept.quarantine.drop(LATER) == 1
    assert sum(kept.quarantine.counts().values()) == 1


def test_the_command_lists_beside_a_server_and_replays_without_one(small_shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(small_shop, folder)
    with Shop.open(folder) as shop, open_running(shop) as running:
        body = encode({"batch": [{"type": "track", "userId": "a", "event": "x", "timestamp": "soon"}]})
        running.committer.put(make_request("web", time.time_ns() // 1000, body, *read_batch(body)))
        listed = run_huaxiang("quarantine", "list", str(folder), "--show")
        assert "a time that is none" in listed.stdout
        assert '"event":"x"' in listed.stdout
        refused = run_huaxiang("quarantine", "replay", str(folder))
        assert refused.returncode == 1
        assert "stop it first" in refused.stderr
    assert "再次进入隔离区" in run_huaxiang("quarantine", "replay", str(folder), lang="zh_CN.UTF-8").stdout
    listed = run_huaxiang("quarantine", "list", str(folder), "--json")
    assert json.loads(listed.stdout)["counts"] == [{"source": "web", "stage": "collect", "reason": "time", "messages": 1}]  # fmt: skip
    assert "1 message deleted" not in run_huaxiang("quarantine", "drop", str(folder)).stdout
    assert "2 messages deleted" in run_huaxiang("quarantine", "drop", str(folder), "--before", "0").stdout
    assert "nothing is in" in run_huaxiang("quarantine", "list", str(folder)).stdout
