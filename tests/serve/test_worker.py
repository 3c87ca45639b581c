"""From a message to a live state: what was sent is folded once, whatever it is like."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from huaxiang.errors import ShopError
from huaxiang.features.live.store import LiveStore
from huaxiang.serve.log import Request
from huaxiang.serve.log.ids import hash_id
from huaxiang.serve.open import Running, open_running
from huaxiang.serve.wire.message import read_batch
from huaxiang.shop import Shop


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path) -> Iterator[Shop]:
    folder = tmp_path / "shop"
    shutil.copytree(small_shop, folder)
    with Shop.open(folder) as opened:
        yield opened


def send(running: Running, *messages: dict[str, Any], context: Any = None) -> int:
    """Puts a batch on the log as the collector does, and waits until it is folded."""
    outer = {"batch": list(messages)} | ({} if context is None else {"context": context})
    body = msgspec.json.encode(outer)
    batch, refused = read_batch(body)
    ids = [None if one.messageId is None else hash_id("web", one.messageId) for one in batch.batch]
    (new,) = running.log.append([Request("web", time.time_ns() // 1000, body, ids, refused)])
    running.committer.written.set()
    await_true(lambda: idle(running))
    return new


def idle(running: Running) -> bool:
    """Whether all that was sent is folded and every profile made."""
    worker = running.worker
    return worker is not None and worker.ready.is_set() and worker.lag() == 0 and worker.waiting() == 0


def await_true(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def order(number: str, user: str = "new-customer", **more: Any) -> dict[str, Any]:
    return {"type": "track", "userId": user, "messageId": number, "event": "Order Completed", "properties": {"order_id": number, "product_id": "sku-1", "price": 2}} | more  # fmt: skip


def orders(shop: Shop, user: str) -> float:
    with shop.live() as live:
        return count(live, shop.pseudonyms().of(user))


def count(live: LiveStore, user: str) -> float:
    return float(live.values(user, (datetime.now(UTC) + timedelta(days=1)).date())["orders_7d"])


def test_what_is_sent_is_in_the_state_once_and_after_a_restart_too(shop: Shop) -> None:
    with open_running(shop) as running:
        assert send(running, order("m1"), order("m2")) == 2
        assert send(running, order("m2"), order("m3")) == 1
    assert orders(shop, "new-customer") == 3.0
    with open_running(shop) as running:
        assert send(running, order("m3"), order("m4")) == 1
    assert orders(shop, "new-customer") == 4.0


def test_odd_messages_do_not_hold_up_the_good_ones(shop: Shop) -> None:
    with open_running(shop) as running:
        assert running.worker is not None
        send(running, order("c1"), context=[1, 2])
        send(running, order("c2"), context={"traits": 7, "device": "x"})
        send(
            running,
            order("s1"),
            {"type": "track", "userId": 2**70, "event": "x", "messageId": "b"},
        )
        send(
            running,
            order("n1", properties={"price": 10**400, "quantity": [1]}),
            order("n2", properties={"products": [{}, {}]}),
        )
        send(running, order("t1", timestamp="0001-01-01T00:00:00+14:00"), order("t2", timestamp="9999-12-31T23:59:59Z"))
        send(
            running,
            {"type": "identify", "userId": "new-customer", "traits": {"address": {"city": [1]}, "name": {"a": 1}}},
        )
        send(running, order("last"))
        assert running.worker.stuck == 0
        reasons = {reason: n for (_, _, reason), n in running.log.refusals().items()}
    # c1, c2, s1, t2 and the last are orders with an id of their own; n2 has none: the order of its day
    assert orders(shop, "new-customer") == 6.0
    assert reasons == {"no_number:quantity": 1, "time": 1}


def test_a_text_cut_within_a_character_costs_that_character_alone(shop: Shop) -> None:
    """`\\ud802` is half of one: browsers write it, and it is no text."""
    body = b'{"batch":[{"type":"track","userId":"new-customer","event":"Order Completed","messageId":"h","properties":{"order_id":"o\\ud802"}}]}'
    with open_running(shop) as running:
        assert running.worker is not None
        batch, refused = read_batch(body)
        running.log.append([Request("web", time.time_ns() // 1000, body, [hash_id("web", "h")], refused)])
        send(running, order("after"))
        assert (len(batch.batch), running.worker.stuck, running.log.refusals()) == (1, 0, {})
    assert orders(shop, "new-customer") == 2.0


def test_a_second_server_on_the_same_file_is_refused(shop: Shop) -> None:
    with open_running(shop), pytest.raises(ShopError, match="another `huaxiang serve`"), open_running(shop):
        pass
    with open_running(shop):  # once the first has ended, another may run
        pass


def test_the_worker_outlives_what_it_did_not_expect(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_running(shop) as running:
        assert running.worker is not None
        step, failed = running.worker.step, threading.Event()

        def fail_once() -> int:
            if failed.is_set():
                return step()
            failed.set()
            raise ZeroDivisionError

        monkeypatch.setattr(running.worker, "step", fail_once)
        send(running, order("m1"))
        assert running.worker.stuck == 1
    assert orders(shop, "new-customer") == 1.0
