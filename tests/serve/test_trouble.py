"""What breaks in a shop that lives: nothing that was acknowledged is lost, nothing counts twice, and clients are told when to come back.

Each is real: a real `huaxiang serve`, a disk of a few megabytes that is filled, a PostgreSQL that is stopped under load, bytes written
over a database.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from huaxiang.errors import StoreError, TrustError
from huaxiang.serve.backup import back_up, restore
from huaxiang.serve.doctor import examine
from huaxiang.serve.log import Log, Seal, make_request
from huaxiang.serve.open import open_running, open_store, vault_key
from huaxiang.serve.wire.message import encode, read_batch
from huaxiang.shop import Shop
from huaxiang.trust import load_key
from servers import PostgresServer, free_port
from stores import new_url


@dataclass
class Server:
    """`huaxiang serve` in a process of its own. acknowledged: ids of messages answered 200; answers: how many of each status"""

    folder: Path
    port: int = field(default_factory=free_port)
    acknowledged: list[str] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    key: str = ""

    @contextlib.contextmanager
    def running(self, *, kill: bool = False) -> Iterator[Server]:
        command = [sys.executable, "-m", "huaxiang.cli", "serve", str(self.folder), "--port", str(self.port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            self.await_health(lambda said: True, process)
            with Shop.open(self.folder) as shop, contextlib.closing(open_store(shop)) as store:
                self.key = store.rows("SELECT write_key FROM source WHERE name = 'web'")[0][0]
            yield self
        finally:
            process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert kill or process.returncode == 0, said

    def await_health(self, holds: Callable[[dict[str, Any]], bool], process: Any = None) -> None:
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if holds(httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5).json()):
                    return
            assert time.monotonic() < end and (process is None or process.poll() is None)
            time.sleep(0.05)

    def send(self, number: str, *, more: str = "", client: Any = httpx) -> int:
        """Sends one order; gives the status."""
        message = {"type": "track", "userId": "ann", "messageId": number, "event": "Order Completed", "properties": {"order_id": number, "product_id": "sku-1", "price": 2, "note": more}}  # fmt: skip
        answer = client.post(f"http://127.0.0.1:{self.port}/v1/batch", json={"batch": [message]}, auth=(self.key, ""), timeout=30)  # fmt: skip
        self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1
        if answer.status_code == 200:
            self.acknowledged.append(number)
        else:
            self.waits.append(float(answer.headers["retry-after"]))
            assert set(answer.json()) == {"success", "code", "message"}
        return int(answer.status_code)

    def send_until_acknowledged(self, number: str, client: Any) -> None:
        """As an SDK does."""
        end = time.monotonic() + 60
        while self.send(number, client=client) != 200:
            assert time.monotonic() < end
            time.sleep(0.05)


def numbers_in(folder: Path) -> list[str]:
    """The ids of the messages that count, in the order of the log."""
    with Shop.open(folder) as shop, contextlib.closing(open_store(shop)) as store:
        log, found, after = Log(store, Seal(vault_key(shop)), None), list[str](), 0
        while entries := log.read(after, most=1_000):
            after = entries[-1].offset
            for entry in entries:
                batch, _ = read_batch(entry.body)
                found += [str(one.messageId) for at, one in enumerate(batch.batch) if at not in entry.skipped]
        return found


def orders_of(folder: Path, user: str = "ann") -> float:
    """What the live states say, once all is folded."""
    with Shop.open(folder) as shop, open_running(shop) as running:
        worker = running.worker
        assert worker is not None
        end = time.monotonic() + 60
        while worker.lag():
            assert time.monotonic() < end
            time.sleep(0.02)
        with shop.live() as live:
            day = (datetime.now(UTC) + timedelta(days=1)).date()
            return float(live.values(shop.pseudonyms().of(user), day)["orders_7d"])


@pytest.fixture
def folder(small_shop: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_shop, tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A shop that only collects."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "huaxiang.toml").write_text('[shop]\nname = "bare"\n')
    load_key(tmp_path / "bare" / "keys" / "vault.key", create=True)
    return tmp_path / "bare"


def with_store(folder: Path, url: str) -> Path:
    toml = folder / "huaxiang.toml"
    toml.write_text(toml.read_text() + f'\n[live]\nstore = "{url}"\n')
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB: a tmpfs, which root may mount. (tests/serve/test_collector.py fills a store by its page limit everywhere.)"""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("a disk cannot be mounted here: needs root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_refuses_with_retry_after_and_goes_on_by_itself(small_shop: Path, small_disk: Path) -> None:
    folder = small_disk / "shop"
    shutil.copytree(small_shop, folder)
    server = Server(folder)
    with server.running():
        for number in range(20):
            assert server.send(f"before-{number}") == 200
        with (small_disk / "filler").open("wb", buffering=0) as filler:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while filler.write(b"x" * size):
                        pass
        number = 0
        while server.send(f"full-{number}", more="y" * 20_000) == 200:
            number += 1
            assert number < 1_000
        assert server.send("refused", more="y" * 20_000) == 503
        assert min(server.waits) >= 1
        server.await_health(lambda said: said["status"] == "ok")
        (small_disk / "filler").unlink()
        assert server.send(f"full-{number}", more="y" * 20_000) == 200
        for number in range(20):
            assert server.send(f"after-{number}") == 200
        server.await_health(lambda said: said["waiting"] == 0)
    found = numbers_in(folder)
    assert sorted(found) == sorted(server.acknowledged)
    assert orders_of(folder) == len(found)


def test_a_clock_that_jumps_back_loses_nothing_and_counts_nothing_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day back for some messages, then right again, then a restart: order is that of arrival, ids are known."""
    real, ahead = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: real() + ahead[0])
    with Shop.open(folder) as shop:
        for life in range(2):
            with open_running(shop) as running:
                for number, jump_s in enumerate((0, -86_400, -86_000, 0)):
                    ahead[0] = jump_s * 1_000_000_000
                    message = {"type": "track", "userId": "ann", "messageId": str(number), "event": "Order Completed", "properties": {"order_id": str(number)}}  # fmt: skip
                    body = encode({"batch": [message]})
                    request = make_request("web", time.time_ns() // 1000, body, *read_batch(body))
                    assert running.committer.put(request) == (1 if life == 0 else 0)
                entries = running.log.read(0)
                assert [entry.offset for entry in entries] == sorted(entry.offset for entry in entries)
                assert entries[1].received_at < entries[0].received_at
                upkeep, worker = running.committer.upkeep, running.worker
                assert upkeep is not None and worker is not None and upkeep.safe_upto() == worker.applied
    assert numbers_in(folder) == ["0", "1", "2", "3"]
    assert orders_of(folder) == 4.0


def test_a_second_server_on_one_sqlite_file_ends_and_says_why(bare: Path) -> None:
    with Server(bare).running() as server:
        command = [sys.executable, "-m", "huaxiang.cli", "serve", str(bare), "--port", str(free_port())]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert "another `huaxiang serve` runs" in second.stderr
        assert server.send("m") == 200


def test_two_servers_on_one_postgresql_count_each_message_once_and_a_reader_misses_none(
    bare: Path, postgres: PostgresServer, tmp_path: Path
) -> None:
    """The same messages are sent to both at once, while somebody reads on: an offset that becomes visible late would be passed over."""
    with_store(bare, new_url(postgres))
    shutil.copytree(bare, tmp_path / "other")  # another machine: the same settings and keys
    read, ended = list[int](), threading.Event()

    def read_on() -> None:
        with Shop.open(bare) as shop, contextlib.closing(open_store(shop)) as store:
            log = Log(store, Seal(vault_key(shop)), None)
            while not ended.is_set() or log.last() > (read[-1] if read else 0):
                read.extend(entry.offset for entry in log.read(read[-1] if read else 0))

    with Server(bare).running() as first, Server(tmp_path / "other").running() as second:
        reader = threading.Thread(target=read_on)
        reader.start()
        senders = [threading.Thread(target=_send_all, args=(one, range(part, 120, 2))) for one in (first, second) for part in range(2)]  # fmt: skip
        for one in senders:
            one.start()
        for one in senders:
            one.join()
        ended.set()
        reader.join()
    assert len(first.acknowledged) == len(second.acknowledged) == 120
    assert sorted(numbers_in(bare)) == sorted(str(n) for n in range(120))
    with Shop.open(bare) as shop, contextlib.closing(open_store(shop)) as store:
        assert read == [offset for (offset,) in store.rows("SELECT id FROM request ORDER BY id")]


def test_a_second_machine_with_another_key_is_refused(bare: Path, postgres: PostgresServer, tmp_path: Path) -> None:
    """It would seal what the first cannot open."""
    with_store(bare, new_url(postgres))
    shutil.copytree(bare, tmp_path / "other")
    (tmp_path / "other" / "keys" / "vault.key").unlink()
    with Server(bare).running() as server:
        server.send("m")
        with (
            Shop.open(tmp_path / "other") as other,
            pytest.raises(TrustError, match="another key"),
            open_running(other),
        ):
            pass


def _send_all(server: Server, numbers: range) -> None:
    with httpx.Client() as client:
        for number in numbers:
            server.send_until_acknowledged(str(number), client)


def test_a_torn_write_ahead_log_gives_back_every_acknowledged_message(bare: Path) -> None:
    """Killed; and behind what was acknowledged stands half of a transaction that a power cut ended, or noise."""
    server = Server(bare)
    for noise in (b"", os.urandom(3_000), None):
        with server.running(kill=True):
            for _ in range(20):
                server.send(str(len(server.acknowledged)))
        wal = bare / "live" / "store.db-wal"
        content = wal.read_bytes()
        frame = content[32 : 32 + 24 + 4096]  # an earlier page again, half written
        wal.write_bytes(content + (frame[:2_000] if noise is None else noise))
        assert sorted(numbers_in(bare), key=int) == server.acknowledged
    assert [one.check for one in examine(bare, now=time.time_ns() // 1000) if one.status == "bad"] == []


def test_a_damaged_database_is_said_with_its_mend_and_a_backup_brings_the_shop_back(
    folder: Path, tmp_path: Path
) -> None:
    server = Server(folder)
    with server.running():
        for number in range(30):
            server.send(str(number), more="z" * 3_000)
        assert {one.status for one in examine(folder, now=time.time_ns() // 1000)} == {"ok"}
        with Shop.open(folder) as shop:
            back_up(shop, tmp_path / "b.tar.zst")
    store = folder / "live" / "store.db"
    with contextlib.closing(sqlite3.connect(store)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = store.read_bytes()
    with store.open("r+b") as content:  # the last page that holds rows
        last = max(at for at in range(0, len(pages), 4096) if pages[at] == 0x0D)
        content.seek(last)
        content.write(b"\xff" * 4096)
    with pytest.raises(StoreError, match="damaged") as told:
        numbers_in(folder)
    assert "huaxiang restore" in told.value.mend()
    (found,) = [
        one for one in examine(folder, now=time.time_ns() // 1000) if one.status == "bad" and one.check == "store"
    ]
    assert "huaxiang restore" in found.mend("en")
    restore(tmp_path / "b.tar.zst", tmp_path / "again")
    assert sorted(numbers_in(tmp_path / "again"), key=int) == server.acknowledged
    assert [one for one in examine(tmp_path / "again", now=time.time_ns() // 1000) if one.status == "bad"] == []
    assert orders_of(tmp_path / "again") == 30.0


def test_a_database_that_is_damaged_while_it_runs_answers_503(bare: Path) -> None:
    server = Server(bare)
    with server.running(kill=True):
        for number in range(30):
            server.send(str(number), more="z" * 3_000)
        with (bare / "live" / "store.db").open("r+b") as content:
            content.write(b"\xff" * 100)  # its header; what is in the write-ahead log goes on until it is read
        (bare / "live" / "store.db-wal").write_bytes(b"")
        statuses = {server.send(f"late-{number}", more="z" * 3_000) for number in range(5)}
        server.await_health(lambda said: True)
    assert statuses <= {200, 503}


def test_a_postgresql_that_restarts_under_load_loses_and_doubles_nothing(folder: Path, tmp_path: Path) -> None:
    """Clients send on as SDKs do while it is away: 503 with Retry-After, then again; twice, within transactions."""
    database = PostgresServer(tmp_path, "trouble-pass")
    try:
        with_store(folder, database.url())
        with Server(folder).running() as server:
            ended, numbers = threading.Event(), iter(range(10**9))

            def send_on() -> None:
                with httpx.Client() as client:
                    while not ended.is_set():
                        server.send_until_acknowledged(str(next(numbers)), client)

            senders = [threading.Thread(target=send_on) for _ in range(4)]
            for one in senders:
                one.start()
            for _ in range(2):
                before = len(server.acknowledged)
                _await(lambda before=before: len(server.acknowledged) > before + 50)  # type: ignore[misc]
                database.stop()
                refused = server.answers.get(503, 0)
                _await(lambda refused=refused: server.answers.get(503, 0) > refused + 3)  # type: ignore[misc]
                database.start()
            before = len(server.acknowledged)
            _await(lambda: len(server.acknowledged) > before + 50)
            ended.set()
            for one in senders:
                one.join()
            server.await_health(lambda said: said["waiting"] == 0)
        assert set(server.answers) == {200, 503}
        assert min(server.waits) >= 1
        found = numbers_in(folder)
        assert len(found) == len(set(found))
        assert set(server.acknowledged) <= set(found)
        assert orders_of(folder) == len(found)
    finally:
        database.close()


def _await(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_files_that_arrive_are_folded_once_though_the_server_is_killed_within_them(folder: Path) -> None:
    """Killed twice while it reads; each life goes on where the last one's rows were on disk."""
    (folder / "in").mkdir()
    with (folder / "huaxiang.toml").open("a") as more:
        more.write('\n[live.pull.till]\nkind = "folder"\npath = "in"\nevery_s = 0.05\n')
    lines = [f"{'ann' if number % 2 else 'bob'},Order Completed,o-{number},sku-1,2" for number in range(6_000)]
    (folder / "in" / "orders.csv").write_text("user_id,event,order_id,product_id,price\n" + "\n".join(lines) + "\n")
    server = Server(folder)
    for most in (0, 1_500, 5_999):
        with server.running(kill=most < 5_999):
            _await(lambda most=most: len(numbers_in(folder)) > most)  # type: ignore[misc]
    assert [orders_of(folder, who) for who in ("ann", "bob")] == [3_000.0, 3_000.0]
