"""Hooks as a shop declares them: their secrets, their errors, the command line."""

from __future__ import annotations

import json
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import run_huaxiang
from huaxiang.errors import ShopError, TrustError
from huaxiang.serve.api.metrics import write_metrics
from huaxiang.serve.api.rooms import open_rooms
from huaxiang.serve.hooks import Change, open_hooks
from huaxiang.serve.open import open_running
from huaxiang.settings import load_settings
from huaxiang.shop import Shop
from receivers import Receiver, receiver

__all__ = ["receiver"]

DECLARED = """
[audiences.vip]
when = "orders_90d > 3"

[live.hooks.crm]
url = "{url}?token=hidden"
audiences = ["vip"]
"""


@pytest.fixture
def folder(small_shop: Path, tmp_path: Path, receiver: Receiver) -> Iterator[Path]:
    folder = tmp_path / "shop"
    shutil.copytree(small_shop, folder)
    toml = folder / "huaxiang.toml"
    toml.write_text(toml.read_text() + DECLARED.format(url=receiver.url))
    yield folder


def test_a_running_shop_delivers_and_counts_and_the_command_line_tells(folder: Path, receiver: Receiver) -> None:
    with Shop.open(folder) as shop, open_running(shop) as running, open_rooms(running, running.profiles) as rooms:
        pseudonym = shop.pseudonyms().of("1001")
        receiver.answers = [(500, {}), (410, {})]
        with running.outbox.database.transaction() as write:
            running.outbox.put(write, [Change(pseudonym, "vip", "entered", time.time_ns() // 1000)])
        end = time.monotonic() + 30
        while not running.outbox.dead() and time.monotonic() < end:
            time.sleep(0.05)
        metrics = write_metrics(rooms)
    assert 'huaxiang_hooks_failed_total{hook="crm"} 2' in metrics
    assert 'huaxiang_hooks_dead_total{hook="crm"} 1' in metrics
    assert 'huaxiang_hooks_waiting{hook="crm"} 0' in metrics

    told = run_huaxiang("hooks", "list", str(folder)).stdout
    assert "crm  127.0.0.1  0 waiting, 0 delivered this week, 1 given up" in told
    assert "closed by its receiver" in told and "keys/hook-crm.key" in told and "hidden" not in told
    assert json.loads(run_huaxiang("hooks", "list", str(folder), "--json").stdout)[0]["dead"] == 1
    dead = run_huaxiang("hooks", "dead", str(folder), lang="zh_CN.UTF-8").stdout
    assert pseudonym in dead and "进入" in dead and "HTTP 410" in dead and "1001" not in dead.replace(pseudonym, "")
    assert "1 changes are sent again" in run_huaxiang("hooks", "retry", str(folder), "crm").stdout

    with Shop.open(folder) as shop, open_running(shop):
        while not receiver.got and time.monotonic() < end:
            time.sleep(0.05)
    assert [one["user_id"] for one in receiver.got] == ["1001"], "the shop's own id, by the vault"


def test_a_test_request_is_signed_and_its_answer_told(folder: Path, receiver: Receiver) -> None:
    taken = run_huaxiang("hooks", "test", str(folder), "crm")
    assert (taken.returncode, "127.0.0.1 took it: HTTP 200" in taken.stdout) == (0, True)
    receiver.answers = [(401, {})]
    refused = run_huaxiang("hooks", "test", str(folder), "crm", lang="zh_CN.UTF-8")
    assert (refused.returncode, "未接收：HTTP 401" in refused.stdout) == (1, True)
    unknown = run_huaxiang("hooks", "test", str(folder), "crn")
    assert unknown.returncode == 1 and "there is crm" in unknown.stderr
    assert json.loads(receiver.requests[0][1]) == {"hook": "crm", "test": True, "changes": []}


def test_a_secret_is_made_for_its_owner_alone_and_kept(folder: Path) -> None:
    settings = load_settings(folder / "huaxiang.toml", {})
    (hook,) = open_hooks(folder, settings)
    path = folder / "keys" / "hook-crm.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert hook.secret == path.read_bytes().strip() and len(hook.secret) == 64
    assert hook.secret.decode() not in repr(hook)
    assert open_hooks(folder, settings)[0].secret == hook.secret
    path.chmod(0o644)
    with pytest.raises(TrustError, match="644"):
        open_hooks(folder, settings)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(TrustError, match="5 bytes"):
        open_hooks(folder, settings)


def test_what_is_declared_amiss_says_how_to_mend_it(folder: Path) -> None:
    toml = folder / "huaxiang.toml"
    text = toml.read_text()
    toml.write_text(text.replace('audiences = ["vip"]', 'audiences = ["vipp"]'))
    with pytest.raises(ShopError, match="follows the audience 'vipp', which is not declared; there is vip"):
        open_hooks(folder, load_settings(toml, {}))
    toml.write_text(text.replace('url = "http', 'url = "ftp'))
    with pytest.raises(ShopError, match="not ftp"):
        open_hooks(folder, load_settings(toml, {}))
