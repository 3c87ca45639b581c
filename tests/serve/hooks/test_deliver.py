"""What an outbox holds reaches a real HTTP receiver: at least once, in order, signed, whatever the receiver is like."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from huaxiang.apply.market import webhook
from huaxiang.serve.hooks import Change, Deliverer, Hook, Outbox
from huaxiang.serve.hooks.outbox import GIVE_UP_US, KEEP_DEAD_US, REFUSED_TRIES, SECOND_US
from huaxiang.store import Database, open_database
from receivers import Receiver, receiver

__all__ = ["receiver"]

SECRET = b"a secret of more than sixteen bytes"
NOW = 1_790_000_000 * SECOND_US


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


class Bench:
    """A hook, its outbox and a deliverer that steps by hand."""

    def __init__(self, database: Database, receiver: Receiver, **more: Any) -> None:
        self.hook = Hook("crm", receiver.url, more.pop("audiences", None), SECRET)
        self.outbox = Outbox(database, [self.hook, *more.pop("others", ())])
        self.clock = Clock()
        self.ids: dict[str, str] = {}
        self.deliverer = Deliverer(self.outbox, lambda users: self.ids, now=self.clock, chance=random.Random(1))

    def put(self, *changes: tuple[str, str, str]) -> int:
        with self.outbox.database.transaction() as write:
            return self.outbox.put(
                write, [Change(user, audience, what, self.clock.now) for user, audience, what in changes]
            )  # type: ignore[arg-type]

    def step(self) -> bool:
        return self.deliverer.step("crm")

    def wait(self) -> float:
        """Seconds until the next try."""
        return (self.outbox.states()["crm"].next_at - self.clock.now) / SECOND_US

    def until(self, holds: Callable[[], bool], *, most: int = 100) -> None:
        """Steps, and lets the clock run to each next try."""
        for _ in range(most):
            if holds():
                return
            if not self.step():
                self.clock.now = max(self.clock.now + 1, self.outbox.states()["crm"].next_at)
        raise AssertionError("it did not come to that")


@pytest.fixture
def bench(database: Database, receiver: Receiver) -> Bench:
    return Bench(database, receiver)


def told(receiver: Receiver) -> list[tuple[str, str, str]]:
    return [(one["user_id"], one["audience"], one["change"]) for one in receiver.got]


def number_of(change: dict[str, Any]) -> int:
    """The place of a change in the outbox."""
    return int(change["id"].partition(".")[0])


def test_changes_arrive_signed_in_order_under_the_shops_own_ids(bench: Bench, receiver: Receiver) -> None:
    bench.ids = {"p1": "ann"}
    bench.put(("p1", "vip", "entered"), ("p2", "vip", "entered"), ("p1", "vip", "left"))
    assert bench.step() and not bench.step()
    assert told(receiver) == [("ann", "vip", "entered"), ("p2", "vip", "entered"), ("ann", "vip", "left")]
    assert receiver.got[0]["at"] == "2026-09-21T14:13:20.000000Z"
    ((headers, body),) = receiver.requests
    stamp, mine = headers["X-Huaxiang-Signature"].removeprefix("t=").split(",v1=")
    assert mine == hmac.new(SECRET, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert int(stamp) == NOW // SECOND_US
    assert bench.outbox.states()["crm"].delivered == 3


def test_a_transaction_that_is_undone_tells_nobody(bench: Bench, receiver: Receiver) -> None:
    with contextlib.suppress(ZeroDivisionError), bench.outbox.database.transaction() as write:
        bench.outbox.put(write, [Change("p1", "vip", "entered", NOW)])
        raise ZeroDivisionError
    assert not bench.step()
    assert receiver.requests == []


def test_a_hook_is_told_of_its_audiences_alone(database: Database, receiver: Receiver) -> None:
    bench = Bench(database, receiver, audiences=frozenset({"vip"}))
    assert bench.put(("p1", "vip", "entered"), ("p1", "leaving", "entered")) == 1
    bench.step()
    assert told(receiver) == [("p1", "vip", "entered")]


@pytest.mark.parametrize("answer", [(500, {}), (302, {"Location": "/elsewhere"}), (404, {}), (401, {})], ids=str)
def test_what_is_not_taken_is_tried_again_as_the_same_delivery(bench: Bench, receiver: Receiver, answer: Any) -> None:
    receiver.answers = [answer, answer]
    bench.put(("p1", "vip", "entered"))
    bench.step()
    bench.put(("p2", "vip", "entered"))
    bench.until(lambda: len(receiver.got) == 2)
    numbers = [headers["X-Huaxiang-Id"] for headers, _ in receiver.requests]
    assert numbers[:3] == [f"crm.1.{NOW}"] * 3 and numbers[3].startswith("crm.2.")
    assert len({body for _, body in receiver.requests[:3]}) == 1, "a batch is the same at every try"
    assert (bench.deliverer.failed["crm"], bench.deliverer.delivered["crm"]) == (2, 2)


def test_waits_grow_from_a_second_to_an_hour(bench: Bench, receiver: Receiver) -> None:
    receiver.answers = [(500, {})] * 20
    bench.put(("p1", "vip", "entered"))
    waits = []
    for _ in range(16):
        assert bench.step()
        waits.append(bench.wait())
        bench.clock.now += int(waits[-1] * SECOND_US) - 1000
        assert not bench.step(), "not before its time"
        bench.clock.now += 2000
    assert all(0.75 * least <= wait <= 1.25 * least for wait, least in zip(waits, [2.0**n for n in range(12)], strict=False))  # fmt: skip
    assert all(2700 <= wait <= 4500 for wait in waits[12:])
    assert len({round(wait / 2.0**n, 3) for n, wait in enumerate(waits[:12])}) > 6, "waits differ by chance"


@pytest.mark.parametrize("said", ["7", "Mon, 21 Sep 2026 14:13:27 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_says_when_to_come_back(bench: Bench, receiver: Receiver, status: int, said: str) -> None:
    receiver.answers = [(status, {"Retry-After": said})]
    bench.put(("p1", "vip", "entered"))
    bench.step()
    assert 6.9 <= bench.wait() <= 7.1
    bench.clock.now += 6 * SECOND_US
    assert not bench.step()
    bench.clock.now += 2 * SECOND_US
    assert bench.step()
    assert len(receiver.got) == 1


def test_an_odd_retry_after_does_no_harm(bench: Bench, receiver: Receiver) -> None:
    receiver.answers = [(503, {"Retry-After": said}) for said in ("soon", "-1", "9" * 40, "Mon, 99 Foo 2026")]
    bench.put(("p1", "vip", "entered"))
    for _ in range(4):
        bench.step()
        assert 0.5 <= bench.wait() <= 12 * 3600
        bench.clock.now = bench.outbox.states()["crm"].next_at


def test_a_receiver_that_hangs_or_is_away_holds_up_no_other(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.3)
    away = Hook("away", "http://127.0.0.1:9/", None, SECRET)
    bench = Bench(database, receiver, others=[away])
    receiver.answers = [30.0]
    bench.put(("p1", "vip", "entered"))
    begun = time.monotonic()
    bench.step()
    assert time.monotonic() - begun < 5
    bench.deliverer.step("away")
    states = bench.outbox.states()
    assert (states["crm"].error, states["away"].error) == ("TimeoutError", "ConnectionRefusedError")
    bench.until(lambda: len(receiver.got) == 1)
    assert bench.outbox.states()["away"].waiting == 1


def test_gone_closes_the_hook_and_retry_opens_it(bench: Bench, receiver: Receiver) -> None:
    receiver.answers = [(410, {})]
    bench.put(("p1", "vip", "entered"))
    bench.step()
    state = bench.outbox.states()["crm"]
    assert (state.closed_at, state.dead, state.waiting, state.error) == (NOW, 1, 0, "HTTP 410")
    assert bench.put(("p2", "vip", "entered")) == 0, "nothing is kept for who does not want it"
    assert not bench.step()
    assert bench.outbox.retry("crm") == (1, 0)
    bench.put(("p3", "vip", "entered"))
    bench.until(lambda: len(receiver.got) == 2)
    assert [user for user, *_ in told(receiver)] == ["p1", "p3"]


def test_a_batch_that_is_refused_is_set_aside_and_the_next_goes_out(bench: Bench, receiver: Receiver) -> None:
    receiver.answers = [(422, {})] * REFUSED_TRIES
    bench.put(("p1", "vip", "entered"))
    bench.step()
    bench.put(("p1", "vip", "left"), ("p2", "vip", "entered"))
    bench.until(lambda: len(receiver.got) == 2)
    assert told(receiver) == [("p1", "vip", "left"), ("p2", "vip", "entered")]
    ((hook, change, _, error),) = bench.outbox.dead()
    assert (hook, change.user_id, change.change, error) == ("crm", "p1", "entered", "HTTP 422")
    assert bench.outbox.retry("crm") == (0, 1), "p1 left since: that it entered is news no more"


def test_what_nobody_takes_for_a_day_is_given_up_and_what_is_younger_is_not(bench: Bench, receiver: Receiver) -> None:
    receiver.answers = [(500, {})] * 1000
    bench.put(("p1", "vip", "entered"))
    bench.step()
    bench.put(("p2", "vip", "entered"))
    bench.clock.now += GIVE_UP_US - SECOND_US
    bench.put(("p3", "vip", "entered"))
    bench.step()
    assert bench.outbox.states()["crm"].dead == 0
    bench.clock.now += 2 * 3600 * SECOND_US
    bench.step()
    state = bench.outbox.states()["crm"]
    assert (state.dead, state.waiting) == (2, 1)
    receiver.answers = []
    bench.until(lambda: len(receiver.got) == 1)
    assert bench.outbox.retry("crm") == (2, 0)
    bench.until(lambda: len(receiver.got) == 3)
    assert [user for user, *_ in told(receiver)] == ["p3", "p1", "p2"]


def test_a_batch_is_held_by_one_process_at_a_time(database: Database, receiver: Receiver) -> None:
    bench = Bench(database, receiver)
    bench.put(("p1", "vip", "entered"))
    assert bench.outbox.take("crm", "one", NOW) is not None
    assert bench.outbox.take("crm", "other", NOW) is None
    later = bench.outbox.take("crm", "other", NOW + 61 * SECOND_US)
    assert later is not None and later.number == f"crm.1.{NOW}", "as one died, the other delivers the same"


def test_who_is_forgotten_is_not_told_of(bench: Bench, receiver: Receiver) -> None:
    bench.put(("p1", "vip", "entered"), ("p2", "vip", "entered"))
    with bench.outbox.database.transaction() as write:
        bench.outbox.forget(write, ["p1"])
    bench.step()
    assert told(receiver) == [("p2", "vip", "entered")]


def test_what_was_told_or_given_up_long_ago_is_let_go(bench: Bench, receiver: Receiver) -> None:
    receiver.answers = [(410, {})]
    bench.put(("p1", "vip", "entered"))
    bench.step()
    bench.outbox.retry("crm")
    bench.step()
    assert bench.outbox.tidy(NOW + KEEP_DEAD_US // 5) == 0
    assert bench.outbox.tidy(NOW + KEEP_DEAD_US) == 1


def test_the_threads_deliver_by_themselves_and_end(database: Database, receiver: Receiver) -> None:
    outbox = Outbox(database, [Hook("crm", receiver.url, None, SECRET)])
    deliverer = Deliverer(outbox, lambda users: {})
    deliverer.start()
    receiver.answers = [(503, {"Retry-After": "1"})]
    for number in range(1_200):
        with database.transaction() as write:
            outbox.put(write, [Change(f"p{number % 7}", "vip", "left" if number % 14 > 6 else "entered", NOW + number)])
        if number % 100 == 0:
            deliverer.wake()
    end = time.monotonic() + 30
    while len(receiver.got) < 1_200 and time.monotonic() < end:
        time.sleep(0.02)
    deliverer.close()
    assert [number_of(one) for one in receiver.got] == list(range(1, 1_201))
    assert all(len(json.loads(body)["changes"]) <= 500 for _, body in receiver.requests)


PUTTER = """
import sys, time
from huaxiang.serve.hooks import Change, Deliverer, Hook, Outbox
from huaxiang.store import open_database
store = open_database(sys.argv[1])
outbox = Outbox(store, [Hook("crm", sys.argv[2], None, b"a secret of more than sixteen bytes")])
deliverer = Deliverer(outbox, lambda users: {})
deliverer.start()
(before,) = store.rows("SELECT coalesce(max(at), 0) FROM outbox")[0]
for number in range(int(before) + 1, 10**9):
    with store.transaction() as write:
        outbox.put(write, [Change(f"p{number % 5}", "vip", "entered", number)])
    print(number, flush=True)
    deliverer.wake()
"""


def test_kills_between_put_and_delivery_lose_nothing_and_keep_the_order(tmp_path: Path, receiver: Receiver) -> None:
    """What stood in an outbox when its process was killed is delivered by the next; once more at most, in order."""
    chance, acknowledged = random.Random(5), 0
    src = str(Path(__file__).parents[3] / "src")
    for _ in range(4):
        command = [sys.executable, "-c", PUTTER, str(tmp_path / "store.db"), receiver.url]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": src}
        ) as putter:
            assert putter.stdout is not None
            acknowledged = int(putter.stdout.readline())
            end = time.monotonic() + chance.uniform(0.05, 0.4)
            while time.monotonic() < end:
                acknowledged = int(putter.stdout.readline())
            os.kill(putter.pid, signal.SIGKILL)
            for line in putter.stdout.read().split("\n")[:-1]:
                acknowledged = int(line)
    database = open_database(tmp_path / "store.db")
    outbox = Outbox(database, [Hook("crm", receiver.url, None, SECRET)])
    deliverer = Deliverer(outbox, lambda users: {})
    while deliverer.step("crm"):
        pass
    (put,) = database.rows("SELECT count(*) FROM outbox")[0]
    database.close()
    assert put >= acknowledged > 20
    first = list(dict.fromkeys(number_of(one) for one in receiver.got))
    assert first == list(range(1, put + 1)), "each, and in order where it is met first"
    by_number: dict[str, set[bytes]] = {}
    for headers, body in receiver.requests:
        by_number.setdefault(headers["X-Huaxiang-Id"], set()).add(body)
    assert all(len(bodies) == 1 for bodies in by_number.values()), "a delivery that comes again is the same"


def test_an_address_that_cannot_be_asked_fails_as_one_that_does_not_answer() -> None:
    for url in ("http://127.0.0.1:9/\u7528\u6237", "http://127.0.0.1:9/a b", "http://a:b@127.0.0.1:9/"):
        assert webhook.post_signed(url, b"{}", number="1", secret=SECRET, stamp=1).status == 0


def test_addresses_that_are_none_are_refused() -> None:
    from huaxiang.errors import ShopError

    bad: Sequence[str] = ("ftp://x/", "file:///etc/passwd", "//x", "http://", "http://[::1", "http://x:99999/")
    for url in bad:
        with pytest.raises(ShopError, match="webhook"):
            webhook.check_url(url)
