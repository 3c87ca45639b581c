"""The log: on disk before it is acknowledged, once each, never in clear."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from huaxiang.errors import StoreError, TrustError
from huaxiang.serve.log import Log, Request, Seal
from huaxiang.serve.log.ids import Ids, hash_id
from huaxiang.serve.log.log import DAY_US
from huaxiang.store import Database, open_database

KEY = b"k" * 32
NOW = 1_900_000_000_000_000


def request(*numbers: str | None, source: str = "web", at: int = NOW) -> Request:
    return Request(
        source, at, b"body of customer@example.com", [hash_id(source, one) if one else None for one in numbers]
    )


def open_log(database: Database, folder: Path) -> Log:
    return Log(database, Seal(KEY), folder / "ids")


def test_requests_are_read_back_in_order_with_what_does_not_count(database: Database, tmp_path: Path) -> None:
    log = open_log(database, tmp_path)
    assert log.append([request("a", "b"), request("b", "c", None)]) == [2, 2]  # b came twice
    assert log.append([request("c"), request(None)]) == [0, 1]  # the first brings nothing: no row
    first, second, third = log.read(0)
    assert [set(entry.skipped) for entry in (first, second, third)] == [set(), {0}, set()]
    assert first.offset < second.offset < third.offset
    assert first.body == b"body of customer@example.com"
    assert log.read(second.offset) == [third]
    assert log.last() == third.offset


def test_the_same_id_of_another_source_is_another_message(database: Database, tmp_path: Path) -> None:
    assert open_log(database, tmp_path).append([request("a"), request("a", source="app")]) == [1, 1]


def test_ids_are_known_after_a_restart(database: Database, tmp_path: Path) -> None:
    now = 4_000_000_000_000_000
    open_log(database, tmp_path).append([request("a", "b", at=now)])
    assert open_log(database, tmp_path).append([request("b", "c", at=now)]) == [1]


def test_nothing_a_customer_typed_is_in_clear_on_disk(tmp_path: Path) -> None:
    database = open_database(tmp_path / "store.db")
    open_log(database, tmp_path).append([request("a")])
    database.close()
    assert b"customer@example.com" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_another_key_does_not_open_it(database: Database, tmp_path: Path) -> None:
    open_log(database, tmp_path).append([request("a")])
    with pytest.raises(TrustError, match="another key"):
        Log(database, Seal(b"o" * 32), tmp_path / "ids").read(0)


def test_what_could_not_be_written_is_new_when_it_comes_again(tmp_path: Path) -> None:
    database = open_database(tmp_path / "store.db")
    log = open_log(database, tmp_path)
    database.rows("PRAGMA max_page_count = 20")
    large = Request("web", NOW, random.Random(1).randbytes(1_000_000), [hash_id("web", "a")])
    with pytest.raises(StoreError, match="full"):
        log.append([large])
    database.rows("PRAGMA max_page_count = 100000")
    assert log.append([large]) == [1]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"batch":[]}' * 100, bytes(range(256)) * 3, b"\x01\x00\x00"], ids=len)
def test_bodies_come_back_from_the_log_as_they_were(database: Database, tmp_path: Path, body: bytes) -> None:
    log = open_log(database, tmp_path)
    log.append([Request("web", NOW, body, [None])])
    assert [entry.body for entry in log.read(0)] == [body]


def test_bodies_written_before_they_were_squeezed_are_read_as_they_stand(database: Database, tmp_path: Path) -> None:
    log = open_log(database, tmp_path)
    with database.transaction() as write:
        sealed = Seal(b"k" * 32).close(b'{"batch":[1]}')
        write.insert(
            "INSERT INTO request (source, received_at, messages, body) VALUES (?, ?, ?, ?)", ("web", NOW, 1, sealed)
        )
    assert [entry.body for entry in log.read(0)] == [b'{"batch":[1]}']


def test_squeezed_bodies_take_a_tenth_of_the_room(tmp_path: Path) -> None:
    database = open_database(tmp_path / "store.db")
    body = b'{"batch":[' + b",".join(b'{"type":"track","userId":"u%d","event":"Product Viewed","messageId":"m%d"}' % (n, n) for n in range(100)) + b"]}"  # fmt: skip
    open_log(database, tmp_path).append([Request("web", NOW, body, [None])])
    ((size,),) = database.rows("SELECT length(body) FROM request")
    assert size * 8 < len(body)
    database.close()


@pytest.mark.parametrize("seed", range(3))
def test_index_of_ids_answers_as_a_set_does(tmp_path: Path, seed: int) -> None:
    """Small runs, so that merges happen; opened anew every now and then, the ids behind `upto` handed in again as the log does."""
    chance, known, log = random.Random(seed), set[bytes](), list[list[bytes]]()
    ids = Ids(tmp_path, run=16)
    for offset in range(1, 400):
        asked = [hash_id("web", chance.randrange(2_000)) for _ in range(chance.randrange(1, 12))]
        asked = list(dict.fromkeys(asked))
        assert ids.find(asked) == {place for place, one in enumerate(asked) if one in known}
        new = [one for one in asked if one not in known]
        ids.add(new, offset=offset, at=offset)
        log.append(new)
        known.update(new)
        if chance.random() < 0.05:
            ids = Ids(tmp_path, run=16)
            for again, added in enumerate(log, start=1):
                if again > ids.upto:
                    ids.add(added, offset=again, at=again)
    assert len(ids) == len(known)
    assert len(list(tmp_path.glob("*.ids"))) < 30  # 100 runs of 16, merged


def test_ids_are_let_go_of_after_their_time_and_not_before(tmp_path: Path) -> None:
    ids = Ids(tmp_path, run=4)
    for day in range(6):
        ids.add([hash_id("web", f"{day}-{n}") for n in range(4)], offset=day + 1, at=day * DAY_US)
    assert ids.forget(3 * DAY_US) == 12  # days 0, 1 and 2
    assert ids.find([hash_id("web", "2-0"), hash_id("web", "3-0")]) == {1}


def test_an_index_of_another_log_is_forgotten(tmp_path: Path) -> None:
    """The database was deleted, the index beside it was not: its ids would hide the first messages of the new log."""
    old = Log(open_database(tmp_path / "old.db"), Seal(KEY), tmp_path / "ids", run=2)
    assert old.append([request(str(n)) for n in range(4)]) == [1] * 4
    new = Log(open_database(tmp_path / "new.db"), Seal(KEY), tmp_path / "ids", run=2)
    assert new.append([request("0")]) == [1]


def test_an_index_that_cannot_be_written_loses_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids stay in memory, and the log has them: what comes twice counts once, before and after a restart."""
    log = Log(open_database(tmp_path / "store.db"), Seal(KEY), tmp_path / "ids", run=2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Ids, "_write", full)
        assert log.append([request("a", at=4 * NOW), request("b", "c", at=4 * NOW), request("a", at=4 * NOW)]) == [
            1,
            2,
            0,
        ]
        assert log.append([request("b", at=4 * NOW)]) == [0]
    assert Log(log.database, Seal(KEY), tmp_path / "ids", run=2).append([request("c", "d", at=4 * NOW)]) == [1]


KILLED = """
import os, sys
from pathlib import Path
from huaxiang.serve.log import Log, Request, Seal
from huaxiang.serve.log.ids import hash_id
from huaxiang.store import open_database
folder = Path({folder!r})
log = Log(open_database(folder / "store.db"), Seal(b"k" * 32), folder / "ids", run=64)
number = int(sys.argv[1])
while True:
    log.append([Request("web", {now}, str(number).encode(), [hash_id("web", number)])])
    os.write(1, f"{{number}}\\n".encode())
    number += 1
"""


def test_killed_at_any_moment_every_acknowledged_request_is_there_once(tmp_path: Path) -> None:
    """Killed ten times; each life begins with the number that the last one may or may not have written."""
    chance, said = random.Random(3), list[int]()
    script = KILLED.format(folder=str(tmp_path), now=4_000_000_000_000_000)
    for _ in range(10):
        command = [sys.executable, "-c", script, str(said[-1] if said else 0)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as life:
            assert life.stdout is not None
            for _ in range(chance.randrange(5, 60)):
                said.append(int(life.stdout.readline()))
            life.kill()
            said.extend(int(line) for line in life.stdout.read().split(b"\n") if line)
    bodies = [
        int(entry.body) for entry in open_log(open_database(tmp_path / "store.db"), tmp_path).read(0, most=100_000)
    ]
    assert len(bodies) == len(set(bodies))
    assert set(said) <= set(bodies)
