"""Profiles that follow the customer: what is sent shows in the profile, visitors become users, the lake knows the log once, and what lives
equals what a batch run makes of the same events."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from tests.serve.test_worker import await_true, idle, order, send

from conftest import run_huaxiang
from huaxiang.collect.door import REFUSED_SCHEMA
from huaxiang.engine import Lake
from huaxiang.serve.beside import bring_in
from huaxiang.serve.live.check import check_live, read_check, same
from huaxiang.serve.live.core import build_mark
from huaxiang.serve.live.to_lake import write_some, written_upto
from huaxiang.serve.log import make_request
from huaxiang.serve.map import Mapper
from huaxiang.serve.open import Running, open_running
from huaxiang.serve.wire.message import read_batch
from huaxiang.shop import Shop


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path) -> Iterator[Shop]:
    folder = tmp_path / "shop"
    shutil.copytree(small_shop, folder)
    with Shop.open(folder) as opened:
        if not opened.lake.note("profile"):
            opened.profiles()
        yield opened


def profile(running: Running, shop: Shop, user: str) -> dict[str, Any]:
    found = running.profiles.one(shop.pseudonyms().of(user))
    return {} if found is None else dict(found)


def view(number: str, *, visitor: str | None = None, user: str | None = None, **more: Any) -> dict[str, Any]:
    made = {"type": "track", "event": "Product Viewed", "messageId": number, "properties": {"product_id": "sku-1"}}
    return made | {"anonymousId": visitor, "userId": user} | more


def test_an_order_shows_in_the_profile(shop: Shop) -> None:
    with open_running(shop) as running:
        assert profile(running, shop, "new-customer") == {}
        send(running, order("m1"))
        first = profile(running, shop, "new-customer")
        send(running, order("m2"), order("m3"))
        then = profile(running, shop, "new-customer")
    assert (first["orders_30d"], first["lifecycle"], first["recency_days"]) == (1.0, "new", 1.0)
    assert (then["orders_30d"], then["spend_30d"]) == (3.0, 6.0)


def test_a_customer_of_the_build_keeps_what_no_event_changes(shop: Shop) -> None:
    someone = shop.examples(1)[0]
    before = {row["user_id"]: row for row in shop.engine.rows(shop.lake.table("profiles"))}[someone]
    with open_running(shop) as running:
        await_true(lambda: idle(running))
        assert running.worker is not None
        running.worker.want([someone])
        await_true(lambda: idle(running) and running.worker is not None and running.worker.profiles > 0)
        now = running.profiles.one(someone)
    assert now is not None
    assert now["spend_total"] == pytest.approx(before["spend_total"])
    for name in ("gender", "orders_total", "next_items"):
        assert now[name] == before[name], name
    assert now["registered_at"] == f"{before['registered_at'].isoformat()}Z"
    assert before["churn_30d"] is not None
    assert now["churn_30d"] is None  # bought long ago by now: whether they leave is no question any more


def test_conditions_are_asked_of_what_lives(shop: Shop) -> None:
    with open_running(shop) as running:
        send(running, order("m1"), order("m2"), view("a", visitor="v"))
        find = lambda where: [row["user_id"] for row in running.profiles.find(where, columns=["orders_30d"], limit=9)]  # noqa: E731
        name = shop.pseudonyms().of
        await_true(lambda: find("orders_30d == 2") == [name("new-customer")])  # the others bought long ago by now
        everybody = running.profiles.count("")
        send(running, order("m3"), {"type": "identify", "userId": "new-customer", "anonymousId": "v", "messageId": "i"})
        assert (find("orders_30d == 2"), find("orders_30d == 3")) == ([], [name("new-customer")])
        assert running.profiles.count("") == everybody - 1  # the visitor is nobody else any more
        assert running.profiles.one(name("v")) == running.profiles.one(name("new-customer"))


def test_the_behaviour_model_and_the_predictors_follow(shop: Shop) -> None:
    item = shop.engine.rows(shop.lake.table("ready.items"))[0]["item_id"]
    with open_running(shop) as running:
        for number in range(3):
            send(running, order(f"m{number}", properties={"order_id": f"o{number}", "product_id": item, "price": 20}))
        await_true(lambda: bool(profile(running, shop, "new-customer").get("next_items")))
        found = profile(running, shop, "new-customer")
        ((content,),) = running.profiles.database.rows("SELECT content FROM foreseen")
    vector = msgspec.msgpack.decode(content)["embedding"]
    assert len(vector) == len(shop.engine.rows(shop.lake.table("behaviour"))[0]["embedding"])
    assert 0 <= found["churn_30d"] <= 1
    assert found["churn_30d_confidence"] > 0


def test_a_visitors_past_comes_along_at_login_and_the_visitor_is_gone(shop: Shop) -> None:
    with open_running(shop) as running:
        send(running, view("a", visitor="v"), view("b", visitor="v"))
        assert profile(running, shop, "v")["views_30d"] == 2.0
        send(running, {"type": "identify", "userId": "ann", "anonymousId": "v", "messageId": "i", "traits": {"city": "杭州", "email": "a@b.cn"}})  # fmt: skip
        ann = profile(running, shop, "ann")
        assert profile(running, shop, "v") == ann  # who the visitor is
        assert ann["views_30d"] == 2.0
        assert "a@b.cn" not in str(ann)
        send(running, view("c", visitor="v"))
        assert profile(running, shop, "ann")["views_30d"] == 3.0
    assert shop.vault().get(shop.pseudonyms().of("ann")) == {"email": "a@b.cn", "shop_id": "ann"}


def test_an_erased_customer_is_gone_from_profile_vault_and_lake(shop: Shop) -> None:
    with open_running(shop) as running:
        send(running, view("a", user="ann"), {"type": "identify", "userId": "ann", "messageId": "i", "traits": {"email": "a@b.cn"}})  # fmt: skip
        assert running.worker is not None
        ann = shop.pseudonyms().of("ann")
        assert running.worker.erase(ann, upto=2**60)
        assert profile(running, shop, "ann") == {}
        assert shop.vault().get(ann) == {}
        drain(running, shop)
    events = shop.engine.rows(shop.lake.table("raw.events")) if shop.lake.has("raw.events") else []
    assert not [row for row in events if row["user_id"] == ann]


def test_a_customer_of_the_build_who_was_erased_does_not_come_back_with_the_next(shop: Shop) -> None:
    gone, other = shop.examples(2)
    with open_running(shop) as running:
        await_true(lambda: idle(running))
        worker = running.worker
        assert worker is not None
        assert worker.erase(gone, upto=time.time_ns() // 1000)
        assert running.profiles.one(gone) is None
        bring_in(shop)
        shop.clean()
        shop.build()
        shop.profiles()
        built = {row["user_id"] for row in shop.engine.rows(shop.lake.table("profiles"))}
        assert gone not in built
        assert other in built
        await_true(lambda: worker.core is not None and worker.core.build == build_mark(shop) and idle(running))
        assert running.profiles.one(gone) is None
        assert running.profiles.one(other) is not None
        assert gone not in [row["user_id"] for row in running.profiles.find("", columns=[], limit=1000)]


def drain(running: Running, shop: Shop) -> int:
    """Writes all of the log into the lake."""
    worker = running.worker
    assert worker is not None
    mapper = Mapper(shop.pseudonyms(), shop.settings.live)
    erased = dict[str, int](running.profiles.database.rows("SELECT user_id, upto FROM erased"))
    while write_some(shop, running.log, mapper, upto=worker.applied, erased=erased):
        pass
    return written_upto(shop)


def test_the_log_goes_into_the_lake_once_even_when_a_step_dies(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shop.lake.rows("raw.events")
    with open_running(shop) as running:
        send(running, view("a", user="ann"), view("b", visitor="v"))
        send(running, order("c"))
        with monkeypatch.context() as patch:
            patch.setattr(Lake, "_finish", fail)
            with pytest.raises(ZeroDivisionError):
                drain(running, shop)
        assert (shop.lake.rows("raw.events"), written_upto(shop)) == (before, 0)
        assert drain(running, shop) == running.log.last() == 2
        assert drain(running, shop) == 2
        send(running, view("d", user="ann"))
        drain(running, shop)
    rows = [row for row in shop.engine.rows(shop.lake.table("raw.events")) if row["source"] == "live:web"]
    assert sorted(row["event_id"] for row in rows) == ["a", "b", "c", "d"]
    delta = shop.lake._delta("raw.events", shop.lake.manifest().tables["raw.events"].version)
    assert delta.transaction_version("huaxiang-live") == 3


def fail(*args: Any) -> None:
    raise ZeroDivisionError


def test_after_a_nightly_run_the_live_profiles_go_on_from_the_build(shop: Shop) -> None:
    day = timedelta(days=1)
    with open_running(shop) as running:
        send(running, view("a", visitor="v"), order("m1", "ann", timestamp=(datetime.now(UTC) - 2 * day).isoformat()))
        send(running, {"type": "identify", "userId": "ann", "anonymousId": "v", "messageId": "i"})
        drain(running, shop)
        send(running, view("later", visitor="v"))  # not in the build
        before = profile(running, shop, "ann")
        assert running.committer.upkeep.safe_upto() == 0  # the states may have to be made anew from the log's start
        shop.clean()
        shop.build()
        shop.profiles()
        send(running, view("still later", user="ann"))
        await_true(lambda: profile(running, shop, "ann").get("views_30d") == 3.0)
        running.worker._looked = -1e9  # type: ignore[union-attr]  # look for the build now
        await_true(lambda: running.worker is not None and running.worker.core is not None and running.worker.core.build != "" and idle(running) and tail_of(running) == 2)  # fmt: skip
        running.worker.want([shop.pseudonyms().of("ann")])  # type: ignore[union-attr]
        await_true(lambda: idle(running) and "orders_30d" in profile(running, shop, "ann"))
        after = profile(running, shop, "ann")
        assert running.worker.built() == 2  # type: ignore[union-attr]
        checked = running.worker.checked  # type: ignore[union-attr]
    assert checked is not None
    assert checked.users > 50
    assert checked.features > 60
    assert (checked.differing, checked.examples) == ({}, [])
    assert (before["views_30d"], before["orders_30d"]) == (2.0, 1.0)
    assert (after["views_30d"], after["orders_30d"], after["spend_30d"]) == (3.0, 1.0, 2.0)


def tail_of(running: Running) -> int:
    """Rows of the tail: what is not in the build."""
    return int(running.profiles.database.rows("SELECT count(*) FROM tail")[0][0])


def test_the_check_finds_a_state_that_is_not_what_batch_says(shop: Shop) -> None:
    with open_running(shop) as running:
        await_true(lambda: idle(running))
    as_of = (datetime.now(UTC) + timedelta(days=2)).date()
    with shop.live() as live:
        assert check_live(shop, live, as_of=as_of).differing == {}
        user = next(iter(shop.examples(1)))
        live.apply(pa.Table.from_pylist([{"event_id": "x", "user_id": user, "event": "purchase", "amount": 5.0, "ts": datetime(2024, 1, 1)}]))  # fmt: skip
        found = check_live(shop, live, as_of=as_of)
        (differs,) = {example[0] for example in found.examples}
    assert differs == user
    assert {"orders_total", "spend_total"} <= set(found.differing)
    assert read_check(shop) == json.loads(json.dumps(found.to_dict(), default=str))


def test_equal_but_for_the_order_of_adding() -> None:
    assert same([{"key": "a", "score": 0.1 + 0.2}], [{"key": "a", "score": 0.3}])
    assert not same([{"key": "a", "score": 0.3}], [{"key": "b", "score": 0.3}])
    assert not same(None, 0.0)
    assert not same([1.0], [1.0, 1.0])


def traffic(seed: int, count: int) -> list[dict[str, Any]]:
    """Messages of some weeks as they come: late, out of order, by visitors who log in, on computers that several share."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        at = datetime.now(UTC) - timedelta(days=chance.choice([0, 0, 1, 3, 20, 45]), seconds=chance.randrange(80_000))
        visitor, user = f"v{chance.randrange(12)}", f"c{chance.randrange(8)}"
        draw = chance.random()
        who = (
            {"anonymousId": visitor}
            if draw < 0.4
            else {"userId": user} | ({"anonymousId": visitor} if draw < 0.6 else {})
        )
        about = {"messageId": f"t{number}", "timestamp": at.isoformat()} | who
        kind = chance.choice(
            [
                "Product Viewed",
                "Product Viewed",
                "Product Added",
                "Order Completed",
                "Products Searched",
                "Product Shared",
            ]
        )
        properties: dict[str, Any] = {
            "product_id": f"sku-{chance.randrange(9)}",
            "session_id": chance.choice(["s1", "s2", None]),
        }
        if kind == "Order Completed":
            properties |= {
                "order_id": f"o{number}",
                "price": chance.randrange(1, 90),
                "quantity": chance.randrange(1, 4),
                "coupon": chance.choice(["c1", None]),
            }
        found.append(
            {"type": "identify", "userId": user, "anonymousId": visitor, "traits": {"city": "杭州"}} | about
            if draw > 0.97
            else {"type": "track", "event": kind, "properties": properties} | about
        )
    return found


def test_what_weeks_of_traffic_made_of_the_states_is_what_batch_makes_of_it(shop: Shop) -> None:
    messages = traffic(7, 900)
    with open_running(shop) as running:
        for start in range(0, len(messages), 60):
            send(running, *messages[start : start + 60])
        drain(running, shop)
        shop.clean()
        shop.build()
        worker = running.worker
        assert worker is not None
        assert worker.stuck == 0
    with shop.live() as live:  # as they have grown; no profiles were made since the build
        found = check_live(shop, live, as_of=(datetime.now(UTC) + timedelta(days=1)).date())
        grown = [user for (user,) in live.database.rows("SELECT user_id FROM state")]
    assert {shop.pseudonyms().of(f"c{number}") for number in range(8)} <= set(grown)
    assert found.users > 60
    assert (found.differing, found.examples) == ({}, [])
    assert found.cleaned < 20


def test_the_command_compares_and_says_what_differs(shop: Shop) -> None:
    with open_running(shop) as running:
        await_true(lambda: idle(running))
        busy = run_huaxiang("check", str(shop.folder), "--json")
        assert (busy.returncode, json.loads(busy.stdout)) == (2, None)
    good = run_huaxiang("check", str(shop.folder))
    assert (good.returncode, "customers compared in" in good.stdout) == (0, True), good.stderr
    assert "Nothing differs." in good.stdout
    with shop.live() as live:
        live.apply(pa.Table.from_pylist([{"event_id": "x", "user_id": shop.examples(1)[0], "event": "purchase", "amount": 5.0, "ts": datetime(2024, 1, 1)}]))  # fmt: skip
    bad = run_huaxiang("check", str(shop.folder), "--json")
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["differing"]["orders_total"] == 1


def test_who_refuses_has_no_live_profile_and_nothing_of_them_goes_into_the_lake(shop: Shop) -> None:
    name = shop.pseudonyms().of
    with shop.lake.step("collect") as step:
        row = {"user_id": name("no"), "source": "shop", "file": "f", "at": datetime(2024, 1, 1)}
        step.replace("raw.refused", pa.Table.from_pylist([{field: row.get(field) for field in REFUSED_SCHEMA.names} for _ in [0]], REFUSED_SCHEMA))  # fmt: skip
    with open_running(shop) as running:
        send(running, order("m1", "no"), order("m2", "yes"), view("a", visitor="v", user="no"))
        assert profile(running, shop, "no") == {}
        assert profile(running, shop, "yes")["orders_30d"] == 1.0
        assert running.worker is not None
        mapper = Mapper(shop.pseudonyms(), shop.settings.live)
        write_some(shop, running.log, mapper, upto=running.worker.applied, erased=running.worker.erased())
    sent = [row["user_id"] for row in shop.engine.rows(shop.lake.table("raw.events")) if row["source"] == "live:web"]
    assert sent == [name("yes")]


def test_who_says_what_and_what_was_guessed_stands_beside_the_live_traits(shop: Shop) -> None:
    people = shop.engine.rows(shop.lake.table("ready.users"))
    person = next(row for row in people if len(row["sources"]) > 2)
    with open_running(shop) as running:
        await_true(lambda: idle(running))
        before = running.profiles.one(person["user_id"])
        assert running.worker is not None
        running.worker.want([person["user_id"]])
        await_true(lambda: running.worker is not None and running.worker.profiles > 0)
        after = running.profiles.one(person["user_id"])
    assert before is not None
    assert after is not None
    assert before["filled"] == after["filled"] == person["filled"]
    assert before["sources"] == after["sources"] == json.loads(person["sources"])


def test_a_shop_that_has_nothing_but_sdks_gets_its_first_profiles_from_what_they_sent(tmp_path: Path) -> None:
    folder = tmp_path / "sdkonly"
    folder.mkdir()
    (folder / "huaxiang.toml").write_text('[shop]\nname = "sdkonly"\n[train]\nzoo = "quick"\n')
    with Shop.open(folder) as shop, open_running(shop) as running:
        for number in range(40):
            day = (datetime.now(UTC) - timedelta(days=number % 20)).isoformat()
            put(running, order(f"m{number}", f"user{number % 5}", timestamp=day))
        ran = run_huaxiang("run", str(folder))
        assert ran.returncode == 0, ran.stderr
        assert "40 requests of the live log brought into the lake" in ran.stdout
        send(running, order("last", "user1"))
        assert profile(running, shop, "user1")["orders_total"] == 9.0
        assert shop.lake.rows("raw.events") == 40


def put(running: Running, message: dict[str, Any]) -> None:
    """Puts one message on the log."""
    body = msgspec.json.encode({"batch": [message]})
    batch, refused = read_batch(body)
    running.log.append([make_request("web", time.time_ns() // 1000, body, batch, refused)])


def test_what_an_erased_customer_said_of_themselves_does_not_come_back_when_the_log_is_read_again(shop: Shop) -> None:
    ann = shop.pseudonyms().of("ann")
    said = {"type": "identify", "userId": "ann", "messageId": "i", "traits": {"email": "a@b.cn", "city": "杭州"}}
    with open_running(shop) as running:
        send(running, said, order("m1", "ann"), order("m2", "bo"))
        worker = running.worker
        assert worker is not None
        assert worker.erase(ann, upto=time.time_ns() // 1000)
        shop.profiles()  # a build that does not know the log: it is read from its start again
        await_true(lambda: worker.core is not None and worker.core.build == build_mark(shop) and idle(running))
        assert profile(running, shop, "bo")["orders_30d"] == 1.0
        assert profile(running, shop, "ann") == {}
        assert shop.vault().get(ann) == {}
        assert running.profiles.database.rows("SELECT user_id FROM declared") == []


def test_an_erasure_happens_whole_or_not_at_all(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = shop.pseudonyms().of("ann")
    with open_running(shop) as running:
        send(running, order("m1", "ann"))
        worker = running.worker
        assert worker is not None
        with monkeypatch.context() as patch:
            patch.setattr("huaxiang.serve.live.worker.drop_users", fail)
            assert not worker.erase(ann, upto=2**60, timeout_s=1)
            await_true(lambda: worker.stuck > 0)
            assert profile(running, shop, "ann")["orders_30d"] == 1.0
            assert running.profiles.database.rows("SELECT user_id FROM erased") == []
        assert worker.erase(ann, upto=2**60)
        assert profile(running, shop, "ann") == {}


def test_the_lake_remembers_who_was_erased_when_the_live_states_are_lost(shop: Shop) -> None:
    ann = shop.pseudonyms().of("ann")
    with open_running(shop) as running:
        send(running, order("m1", "ann"), order("m2", "bo"))
        assert running.worker is not None
        assert running.worker.erase(ann, upto=time.time_ns() // 1000)
    bring_in(shop)
    for path in shop.folder.glob("live.db*"):
        path.unlink()
    bring_in(shop)
    with open_running(shop) as running:
        send(running, order("m3", "bo"))
        assert profile(running, shop, "bo")["orders_30d"] >= 1.0
        assert profile(running, shop, "ann") == {}
    assert [row["user_id"] for row in shop.engine.rows(shop.lake.table("raw.erased"))] == [ann]


def test_a_shop_that_never_served_has_nothing_to_compare(shop: Shop) -> None:
    assert run_huaxiang("check", str(shop.folder)).returncode == 2
    assert not (shop.folder / "live.db").exists()


def test_conditions_see_what_changed_after_the_clock_fell_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_running(shop) as running:
        send(running, order("m1"))

        def find() -> list[float]:
            found = running.profiles.find("orders_30d >= 1", columns=["orders_30d"], limit=9)
            return [row["orders_30d"] for row in found]

        await_true(lambda: find() == [1.0])
        monkeypatch.setattr("huaxiang.serve.live.refresh.now_us", lambda: time.time_ns() // 1000 - 3_600_000_000)
        send(running, order("m2"))
        assert find() == [2.0]
