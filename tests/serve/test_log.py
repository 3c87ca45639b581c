"""The log: on disk before it is acknowledged, once each, never in clear."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from huaxiang.errors import StoreError, TrustError
from huaxiang.serve.log import Committer, Log, Request, Seal, Upkeep
from huaxiang.serve.log.ids import Ids, hash_id
from huaxiang.serve.log.log import DAY_US
from huaxiang.serve.log.upkeep import EVERY_S, FIRST_S, MORE_S
from huaxiang.store import Database, Writer, open_database
from servers import PostgresServer
from stores import new_url

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
        Log(database, Seal(b"o" * 32), tmp_path / "ids")


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


def test_what_else_changes_goes_with_the_request_or_not_at_all(database: Database, tmp_path: Path) -> None:
    log = open_log(database, tmp_path)
    with database.transaction() as write:
        write.run("CREATE TABLE beside (n INTEGER)")

    def note(write: Writer) -> None:
        write.run("INSERT INTO beside VALUES (1)")

    def break_off(write: Writer) -> None:
        note(write)
        raise ZeroDivisionError

    log.append([replace(request("a"), then=note), replace(request("a"), then=note)])  # the second brings nothing new
    with pytest.raises(ZeroDivisionError):
        log.append([replace(request("b"), then=break_off)])
    assert database.rows("SELECT count(*) FROM beside") == [(2,)]
    assert log.append([request("b")]) == [1]


def test_an_id_sent_to_two_collectors_of_one_postgres_counts_once(postgres: PostgresServer, tmp_path: Path) -> None:
    """Both write at once, from two connections each with an index folder of its own; offsets are read in their order."""
    url = new_url(postgres)
    logs = [open_log(open_database(url), tmp_path / str(n)) for n in range(3)]
    counts: list[int] = []

    def send(log: Log) -> None:
        for start in range(0, 300, 5):
            counts.extend(log.append([request(*(str(n) for n in range(start, start + 5)))]))

    senders = [threading.Thread(target=send, args=(log,)) for log in logs[:2]]
    for one in senders:
        one.start()
    for one in senders:
        one.join()
    assert sum(counts) == 300
    entries = logs[0].read(0, most=1_000)
    assert sum(5 - len(entry.skipped) for entry in entries) == 300
    assert [entry.offset for entry in entries] == sorted({entry.offset for entry in entries})
    assert logs[2].append([request("7", "300")]) == [1]
    for log in logs:
        log.database.close()


def test_old_requests_go_once_they_are_safe_and_the_newest_stays(database: Database, tmp_path: Path) -> None:
    log = open_log(database, tmp_path)
    log.append([request(str(day), at=NOW + day * DAY_US) for day in range(6)])
    now = NOW + 100 * DAY_US
    offsets = [entry.offset for entry in log.read(0)]
    assert log.purge(now, keep_days=97, upto=offsets[4]) == 3  # days 0, 1, 2
    assert log.purge(now, keep_days=1, upto=offsets[3]) == 1  # day 4 is not safe yet
    assert log.purge(now, keep_days=1, upto=offsets[5]) == 1  # day 5 is the newest
    assert [entry.offset for entry in log.read(0)] == offsets[5:]
    assert log.append([request("new", at=now)]) == [1]
    assert log.last() > offsets[5]


def test_upkeep_forgets_and_purges_in_slices_and_not_by_a_clock_that_jumped(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huaxiang.serve.log.upkeep.SLICE", 2)
    monkeypatch.setattr("huaxiang.serve.log.log.SLICE", 2)
    log = open_log(database, tmp_path)
    log.append([request(str(n)) for n in range(6)])
    at = [NOW / 1e6 + 2 * 86_400, 1_000.0]  # the clock, and the time that passed
    kept = Upkeep(log, keep_days=1, safe_upto=log.last, clock=lambda: at[0], ticks=lambda: at[1])
    assert kept.rest() == FIRST_S
    kept.run()
    assert (kept.purged, round(kept.rest(), 3)) == (2, MORE_S)
    for _ in range(3):
        kept.run()
    assert (kept.purged, len(log.read(0)), kept.rest()) == (5, 1, EVERY_S)
    log.append([request(str(n)) for n in range(10, 13)])
    at[0] += 400 * 86_400  # somebody set the clock: all that is known would be old
    kept.run()
    assert (kept.purged, len(log.read(0))) == (5, 4)


@pytest.mark.parametrize("sealed", [True, False], ids=["runs", "memory"])
def test_ids_that_came_while_the_clock_had_fallen_back_are_remembered(
    database: Database, tmp_path: Path, sealed: bool
) -> None:
    """The clock shows ten days ago for a while; a restart and the upkeep believe the neighbours."""
    run = 2 if sealed else 1_000
    now = time.time_ns() // 1000
    log = Log(database, Seal(KEY), tmp_path / "ids", run=run)
    log.append([request("a", at=now - DAY_US // 2)])
    log.append([request("b", at=now - 10 * DAY_US)])
    log.append([request("c", at=now - 10 * DAY_US)])
    again = Log(database, Seal(KEY), tmp_path / "ids", run=run)
    again.append([request("d", at=now - 10 * DAY_US)])
    again.append([request("x", at=now)])
    again.append([request("y", at=now)])  # one run more: the newest always stays
    again.forget_ids(now)
    assert again.append([request("a", "b", "c", "d", "e", at=now)]) == [1]
    assert [entry.offset for entry in again.read(0)] == sorted(entry.offset for entry in again.read(0))


def test_a_thread_waits_until_its_request_is_on_disk_and_for_room(tmp_path: Path) -> None:
    log = open_log(open_database(tmp_path / "store.db"), tmp_path)
    committer = Committer(log, waiting_bytes=60)  # a body is 28 bytes: one may wait, a second finds half of it taken
    counts: list[int] = []
    with log.database.transaction():  # the writer is held
        senders = [threading.Thread(target=lambda n=n: counts.append(committer.put(request(str(n))))) for n in range(4)]
        for one in senders:
            one.start()
        senders[0].join(0.2)
        assert (counts, committer.waiting_bytes) == ([], 28)
    for one in senders:
        one.join()
    committer.close()
    assert (counts, len(log.read(0))) == ([1] * 4, 4)
    with pytest.raises(StoreError, match="ending"):
        committer.put(request("late"))
