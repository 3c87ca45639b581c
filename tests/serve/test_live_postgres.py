"""Several processes over one PostgreSQL: all of them collect, one folds, and another takes over when it ends."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import msgspec
from tests.serve.test_live import drain, order, profile, view
from tests.serve.test_worker import await_true, idle

from huaxiang.errors import StoreError
from huaxiang.serve.log import make_request
from huaxiang.serve.open import Running, open_running
from huaxiang.serve.wire.message import read_batch
from huaxiang.shop import Shop
from servers import PostgresServer
from stores import new_url


def put(running: Running, *messages: dict[str, object]) -> None:
    body = msgspec.json.encode({"batch": messages})
    batch, refused = read_batch(body)
    request = make_request("web", time.time_ns() // 1000, body, batch, refused)
    for _ in range(50):
        try:
            running.log.append([request])
        except StoreError:  # a client is told 503, and comes again
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the log takes nothing")


def folded(running: Running) -> bool:
    return running.worker is not None and running.worker.ready.is_set() and idle(running)


def test_two_processes_collect_one_folds_and_the_other_takes_over(
    small_shop: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(small_shop, folder)
    with (folder / "huaxiang.toml").open("a") as settings:
        settings.write(f'\n[live]\nstore = "{new_url(postgres)}"\nforesee_s = 0\n')
    with Shop.open(folder) as shop, open_running(shop) as first:
        put(first, order("m1", "ann"), view("a", visitor="v"))
        await_true(lambda: folded(first))
        with Shop.open(folder) as again, open_running(again) as second:
            put(second, order("m2", "ann"), order("m1", "ann"))
            put(second, {"type": "identify", "userId": "ann", "anonymousId": "v", "messageId": "i"})
            await_true(lambda: profile(second, again, "ann").get("orders_30d") == 2.0)
            assert profile(second, again, "ann")["views_30d"] == 1.0
            assert second.worker is not None
            assert (second.worker.core, second.worker.stuck) == (None, 0)
            assert first.worker is not None
            first.worker.close()
            put(first, order("m3", "ann"))
            await_true(lambda: profile(second, again, "ann").get("orders_30d") == 3.0)
            await_true(lambda: folded(second))
            assert drain(second, again) == second.log.last()
            put(second, view("b", visitor="v"))
            await_true(lambda: profile(second, again, "ann").get("views_30d") == 2.0)
            assert second.worker.stuck == first.worker.stuck == 0


def test_postgresql_that_is_restarted_costs_no_event_and_counts_none_twice(
    small_shop: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(small_shop, folder)
    with (folder / "huaxiang.toml").open("a") as settings:
        settings.write(f'\n[live]\nstore = "{new_url(postgres)}"\nforesee_s = 0\n')
    with Shop.open(folder) as shop, open_running(shop) as running:
        for number in range(20):
            put(running, *(order(f"a{number}.{place}", f"user{place}") for place in range(5)))
        postgres.stop()
        postgres.start()
        for number in range(20):
            put(running, *(order(f"b{number}.{place}", f"user{place}") for place in range(5)))
        await_true(lambda: folded(running))
        found = [profile(running, shop, f"user{place}")["orders_30d"] for place in range(5)]
    assert found == [40.0] * 5
