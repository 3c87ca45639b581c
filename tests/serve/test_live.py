"""Profiles that follow the customer: what is sent shows in the profile, visitors become users, the lake knows the log once, and what lives
equals what a batch run makes of the same events."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.serve.test_worker import await_true, idle, order, send

from huaxiang.engine import Lake
from huaxiang.serve.live.to_lake import write_some, written_upto
from huaxiang.serve.map import Mapper
from huaxiang.serve.open import Running, open_running
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
    return {} if found is None else found


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
    for name in ("gender", "orders_total", "churn_30d", "embedding", "next_items"):
        assert now[name] == before[name], name
    assert now["registered_at"] == before["registered_at"].isoformat()


def test_a_visitors_past_comes_along_at_login_and_the_visitor_is_gone(shop: Shop) -> None:
    with open_running(shop) as running:
        send(running, view("a", visitor="v"), view("b", visitor="v"))
        assert profile(running, shop, "v")["views_30d"] == 2.0
        send(running, {"type": "identify", "userId": "ann", "anonymousId": "v", "messageId": "i", "traits": {"city": "杭州", "email": "a@b.cn"}})  # fmt: skip
        assert profile(running, shop, "v") == {}
        ann = profile(running, shop, "ann")
        assert ann["views_30d"] == 2.0
        assert "a@b.cn" not in str(ann)
        send(running, view("c", visitor="v"))
        assert profile(running, shop, "ann")["views_30d"] == 3.0
    assert shop.vault().get(shop.pseudonyms().of("ann")) == {"email": "a@b.cn"}


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


def drain(running: Running, shop: Shop) -> int:
    """Writes all of the log into the lake."""
    worker = running.worker
    assert worker is not None
    mapper = Mapper(shop.pseudonyms(), shop.settings.live)
    erased = dict[str, int](running.profiles._database.rows("SELECT user_id, upto FROM erased"))
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
    rows = [row for row in shop.engine.rows(shop.lake.table("raw.events")) if row["source"] == "web"]
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
    assert (before["views_30d"], before["orders_30d"]) == (2.0, 1.0)
    assert (after["views_30d"], after["orders_30d"], after["spend_30d"]) == (3.0, 1.0, 2.0)


def tail_of(running: Running) -> int:
    """Rows of the tail: what is not in the build."""
    return int(running.profiles._database.rows("SELECT count(*) FROM tail")[0][0])
