"""The demo shop live: its last days happen again over HTTP, and its profiles then know what a batch build of all days knows."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from conftest import run_huaxiang
from huaxiang.client import Client
from huaxiang.client.calls import trait_of
from huaxiang.demo.living import MESSAGES, SENT, open_living
from huaxiang.demo.living.replay import Replay
from huaxiang.demo.simulated import lay_out_simulated
from huaxiang.demo.simulated.world import year_until
from huaxiang.errors import ShopError
from huaxiang.shop import SETTINGS, Shop
from servers import free_port

DAYS = 7
TODAY = datetime.now(ZoneInfo("Asia/Shanghai")).date()  # the simulated shop's
COUNTED = ("orders_total", "spend_total", "views_30d")


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny shop laid out, with little to learn, and nothing built."""
    folder = tmp_path_factory.mktemp("living")
    open_living(folder, users=60, days=DAYS, today=TODAY).close()
    settings = (folder / SETTINGS).read_text(encoding="utf-8").partition("[outcomes.purchase_7d]")[0]
    settings = settings.replace("reads = 250_000", "reads = 3_000").replace("as_of_count = 3", "as_of_count = 2")
    (folder / SETTINGS).write_text(settings, encoding="utf-8")
    return folder


def messages(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / MESSAGES).read_text(encoding="utf-8").splitlines()]


@contextmanager
def demo(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """`huaxiang demo --serve` in a process of its own, and its lines; ended as with Ctrl-C."""
    command = [sys.executable, "-m", "huaxiang.cli", "demo", "--serve", "--folder", str(folder), "--port", str(free_port())]  # fmt: skip
    environ = os.environ | {"LANG": "en_US.UTF-8", "LC_ALL": "en_US.UTF-8", "HUAXIANG_SHOP__MEMORY_GB": "0.6"}
    process = subprocess.Popen([*command, *words], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout is not None
    try:
        yield process, iter(process.stdout.readline, "")
        process.send_signal(signal.SIGINT)
        rest, wrong = process.communicate(timeout=60)
        assert process.returncode == 0, wrong
        assert "Ended" in rest, rest
        assert "Traceback" not in wrong, wrong
    finally:
        process.kill()
        process.communicate()


def read_until(lines: Iterator[str], text: str) -> str:
    read = []
    for line in lines:
        read.append(line)
        if text in line:
            return "".join(read)
    raise AssertionError("".join(read))


def batch_of_all_days(folder: Path, as_of: date) -> dict[str, dict[str, Any]]:
    """Features of every customer by the shop's own id, where all days were there from the start."""
    lay_out_simulated(folder, folder / SETTINGS, users=60, until=TODAY)
    with Shop.open(folder) as shop:
        shop.collect()
        shop.clean()
        shop.build(as_of=as_of)
        ids = pq.read_table(folder / "data" / "users.parquet", columns=["uid"]).column("uid").to_pylist()
        names = {shop.pseudonyms().of(user): user for user in ids}
        rows = shop.engine.rows(shop.lake.table("features"))
        return {names[row["user_id"]]: row for row in rows if row["user_id"] in names}


def test_what_is_replayed_counts_as_if_it_had_been_there(living: Path, tmp_path: Path) -> None:
    with demo(living, "--speed", "0") as (_, lines):
        said = read_until(lines, "The shop lives on")
        found = re.search(r'Bearer (\S+)" (http://\S+?)/api/v1/profiles/(\w+)', said)
        assert found is not None, said
        with Client(found[2], found[1]) as client:
            as_of = (
                datetime.fromisoformat(client.profile(found[3])["as_of"]).astimezone(ZoneInfo("Asia/Shanghai")).date()
            )
        expected = batch_of_all_days(tmp_path, as_of)
        gave_back = {one.get("userId") for one in messages(living) if one.get("event") == "Order Refunded"}
        bought = {
            one["userId"] for one in messages(living) if one.get("event") == "Order Completed" and "userId" in one
        }
        asked = sorted((bought & expected.keys()) - gave_back)
        assert len(asked) >= 2
        with Client(found[2], found[1]) as client:
            end = time.monotonic() + 30
            while (live := counts(client, asked)) != wanted(expected, asked):
                assert time.monotonic() < end, (live, wanted(expected, asked))
                time.sleep(0.2)
            assert found[3] in {one.get("userId") for one in messages(living)}
            assert "lifecycle" in client.profile(found[3])["sections"]["basic"]
    assert int((living / SENT).read_text(encoding="utf-8")) == len(messages(living))
    with demo(living) as (_, lines):  # a second start goes on where the first was, with the same key
        again = read_until(lines, "The shop lives on")
    assert "0 events of its last days" in again
    assert found[1] in again


def counts(client: Client, users: list[str]) -> dict[str, list[Any]]:
    """What the live profiles say, by customer."""
    profiles = {user: client.profile(user) for user in users}
    traits = {user: [trait_of(profile, name) for name in COUNTED] for user, profile in profiles.items()}
    return {user: [None if one is None else round(one["value"], 6) for one in some] for user, some in traits.items()}


def wanted(expected: dict[str, dict[str, Any]], users: list[str]) -> dict[str, list[Any]]:
    return {user: [round(expected[user][name], 6) for name in COUNTED] for user in users}


def test_the_last_days_are_in_the_messages_and_not_in_the_export(living: Path) -> None:
    sent = messages(living)
    times = [datetime.fromisoformat(one["timestamp"]) for one in sent]
    first = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC) - timedelta(days=DAYS, hours=8)
    assert times == sorted(times)
    assert first <= times[0]
    assert times[-1] < first + timedelta(days=DAYS)
    clicks = pq.read_table(living / "data" / "clicks.parquet").column("ts").to_pylist()
    orders = pq.read_table(living / "data" / "orders.parquet").column("paid_at").to_pylist()
    assert max(clicks) < first.replace(tzinfo=None)
    assert max(orders) < (first + timedelta(hours=8)).replace(tzinfo=None)
    assert len({one["messageId"] for one in sent}) == len(sent)
    logins = [place for place, one in enumerate(sent) if one.get("event") == "login" and "userId" in one]
    assert logins
    assert all(sent[place - 1]["type"] == "identify" for place in logins)


def test_who_agreed_to_no_profiling_is_not_tracked(tmp_path: Path) -> None:
    open_living(tmp_path, users=1_000, days=60, today=TODAY).close()
    users = pq.read_table(tmp_path / "data" / "users.parquet", columns=["uid", "agreed"]).to_pylist()
    refused = {row["uid"] for row in users if row["agreed"] == "orders_only"}
    told = {one.get("userId") for one in messages(tmp_path)}
    assert refused
    assert not refused & told


def test_a_year_ends_where_it_should_and_begins_on_a_monday() -> None:
    for day in range(14):
        end = TODAY + timedelta(days=day)
        start, days = year_until(end)
        assert start.weekday() == 0
        assert 360 <= days <= 366
        assert (start + timedelta(days=days)).date() == end


class Collector(http.server.BaseHTTPRequestHandler):
    """Notes what comes and when; the first request is told to come again."""

    def do_POST(self) -> None:
        taken: list[tuple[float, dict[str, Any]]] | None = self.server.taken  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(503 if taken is None else 200)
        self.end_headers()
        if taken is None:
            self.server.taken = []  # type: ignore[attr-defined]
        else:
            taken += [(time.monotonic(), message) for message in body["batch"]]

    def log_message(self, *about: object) -> None: ...


def test_a_message_is_sent_when_its_time_has_come_and_again_where_it_was_not_taken(
    living: Path, tmp_path: Path
) -> None:
    shutil.copytree(living / "replay", tmp_path / "replay")
    (tmp_path / SENT).write_text("0", encoding="utf-8")
    speed, server = 10 * 3600.0, http.server.HTTPServer(("127.0.0.1", 0), Collector)
    server.taken = None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    start = time.monotonic()
    replay = Replay(tmp_path, host="127.0.0.1", port=server.server_port, write_key="x", speed=speed)
    replay.start()
    time.sleep(2.5)
    replay.close()
    server.shutdown()
    thread.join()
    server.server_close()
    taken: list[tuple[float, dict[str, Any]]] = server.taken  # type: ignore[attr-defined]
    expected = messages(living)
    assert 0 < len(taken) < len(expected)
    assert [message for _, message in taken] == expected[: len(taken)]
    assert replay.sent == len(taken) == int((tmp_path / SENT).read_text(encoding="utf-8"))
    first = datetime.fromisoformat(expected[0]["timestamp"])
    for at, message in taken:
        assert (at - start) * speed >= (datetime.fromisoformat(message["timestamp"]) - first).total_seconds()


def test_a_shop_without_a_replay_is_refused(tmp_path: Path) -> None:
    (tmp_path / SETTINGS).write_text("", encoding="utf-8")
    with pytest.raises(ShopError, match="nothing to replay"):
        open_living(tmp_path)


def test_a_port_that_is_taken_is_told_before_anything_is_built(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run_huaxiang("demo", "--serve", "--folder", str(tmp_path / "new"), "--port", port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert not (tmp_path / "new").exists()
