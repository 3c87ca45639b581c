"""From an event that a client sends to the webhook of the audience that its customer enters."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from huaxiang.serve.hooks import Follower, Members, Outbox
from huaxiang.serve.log import Request
from huaxiang.serve.open import Running, open_running
from huaxiang.serve.wire.message import read_batch
from huaxiang.shop import Shop
from huaxiang.store import open_database
from receivers import Receiver, receiver

__all__ = ["receiver"]

DECLARED = """
[audiences.buyers]
when = "orders_30d >= 2"

[audiences.lookers]
when = "not in_audience('buyers')"

[audiences.coffee]
when = "bought('coffee', days=60)"

[live.hooks.crm]
url = "{url}"
"""


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path, receiver: Receiver) -> Iterator[Shop]:
    folder = tmp_path / "shop"
    shutil.copytree(small_shop, folder)
    toml = folder / "huaxiang.toml"
    toml.write_text(toml.read_text() + DECLARED.format(url=receiver.url))
    with Shop.open(folder) as opened:
        yield opened


def send(running: Running, *messages: dict[str, Any]) -> None:
    body = msgspec.json.encode({"batch": messages})
    batch, refused = read_batch(body)
    running.log.append([Request("web", time.time_ns() // 1000, body, [None] * len(batch.batch), refused)])
    running.committer.written.set()


def await_true(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def order(number: str, **who: str) -> dict[str, Any]:
    return {"type": "track", **who, "event": "Order Completed", "properties": {"order_id": number, "product_id": "sku-1", "price": 2}}  # fmt: skip


def told(receiver: Receiver, *users: str) -> list[tuple[str, str, str]]:
    """What was told of some users: others may leave since time has passed after the build."""
    return [(one["user_id"], one["audience"], one["change"]) for one in list(receiver.got) if one["user_id"] in users]


def test_an_order_makes_a_buyer_and_the_receiver_hears_of_it(shop: Shop, receiver: Receiver) -> None:
    of = shop.pseudonyms().of
    visitor = of("visitor")
    with open_running(shop) as running:
        assert running.worker is not None
        await_true(running.worker.ready.is_set)
        send(running, order("a1", userId="1006"), order("a2", userId="1006"))
        await_true(lambda: len(told(receiver, "1006")) >= 2)
        assert told(receiver, "1006") == [("1006", "lookers", "left"), ("1006", "buyers", "entered")]
        send(running, order("v1", anonymousId="visitor"), order("v2", anonymousId="visitor"))
        await_true(lambda: len(told(receiver, visitor)) >= 1)
        assert told(receiver, visitor) == [(visitor, "buyers", "entered")]
        send(running, {"type": "identify", "anonymousId": "visitor", "userId": "someone-new"})
        await_true(lambda: len(told(receiver, visitor, "someone-new")) >= 3)
        assert told(receiver, visitor)[1:] == [(visitor, "buyers", "left")]
        assert told(receiver, "someone-new") == [("someone-new", "buyers", "entered")], (
            "by the shop's own id, though no build knows it"
        )
        assert running.worker.stuck == 0
        assert running.worker.erase(of("1006"), upto=running.log.last())
        assert shop.vault().get(of("1006")) == {}
        members = Members(running.outbox.database, {"buyers": "", "lookers": ""})
        assert members.of(of("1006")) == {}
        assert running.outbox.database.rows("SELECT 1 FROM outbox WHERE user_id = ?", (of("1006"),)) == []
        await_true(lambda: running.outbox.waiting("crm") == 0)
    known = (visitor, "someone-new", of("someone-new"), "1006", of("1006"))
    before = told(receiver, *known)
    with open_running(shop) as running:  # a restart tells nothing anew
        assert running.worker is not None
        await_true(running.worker.ready.is_set)
        time.sleep(0.6)
    assert told(receiver, *known) == before


def test_members_of_a_build_are_where_it_begins(shop: Shop, tmp_path: Path) -> None:
    database = open_database(tmp_path / "own.db")
    follower = Follower(Outbox(database, []))
    follower.open(shop)
    profiles = shop.lake.engine.arrow("SELECT user_id, orders_30d FROM (" + shop.lake.engine.sql(shop.lake.table("profiles")) + ")")  # fmt: skip
    for row in profiles.to_pylist():
        assert list(follower.of(row["user_id"])) == (["buyers"] if (row["orders_30d"] or 0) >= 2 else ["lookers"])
    database.close()
