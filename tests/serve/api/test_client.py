"""The Python client against the real server."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from huaxiang.client import Client, ClientError
from huaxiang.client.calls import trait_of
from huaxiang.errors import HuaxiangError
from huaxiang.shop import Shop
from served import Served, serve_shop

USER = "1007"


def test_profiles_one_and_many(served: Served) -> None:
    with served.client() as shop:
        one = shop.profile(USER)
        trait = trait_of(one, "orders_90d")
        assert trait is not None and trait["value"] == one["sections"]["behaviour"]["orders_90d"]["value"]
        assert trait_of(one, "nothing") is None
        assert shop.profiles([USER, "nobody"] * 600) == [one | {"personal": None}, None] * 600
        personal = shop.profile(USER, personal=True)["personal"]
        assert personal is not None and personal["email"] == "person7@example.com"


def test_find_turns_every_page_and_count_agrees(served: Served) -> None:
    shop = served.client()
    found = list(shop.find("lifecycle == 'active'", fields=["spend_90d"], page=7))
    assert len(found) == shop.count("lifecycle == 'active'") == 46
    assert set(found[0]) == {"user_id", "spend_90d"}
    assert len(list(shop.find())) == shop.count() == 60


def test_every_other_call_brings_its_answer(served: Served) -> None:
    shop = served.client()
    assert shop.explained(USER)["schema"] == "huaxiang.profile/1"
    assert shop.explain(USER, "city")["value"] == "Lyon"
    assert len(list(shop.events(USER, most=3))) == 3
    assert len(shop.recommend(USER, count=4)) == 4
    assert shop.recommend(USER, place="item", items=["sku-3", "sku-4"], count=2)
    assert shop.audiences()[0]["name"] == "active_ones"
    assert len(list(shop.members("active_ones"))) == shop.preview("lifecycle == 'active'")["size"] == 46
    assert {trait["name"] for trait in shop.traits()} >= {"city", "churn_30d"}
    assert shop.guard(USER)["user_id"]
    assert shop.queue(limit=1)[0]["case_id"]
    assert shop.quality() and shop.models() and shop.leaderboard()
    keys = shop.keys()
    assert {key["name"] for key in keys} >= {"all", "service"}
    assert shop.audit(user=USER, most=2)[0]["what"] == "guard"


def test_a_refusal_is_an_error_with_the_servers_mend(served: Served) -> None:
    shop = served.client("marketing")
    with pytest.raises(HuaxiangError, match="lacks the scope") as told:
        shop.explained(USER)
    assert isinstance(told.value, ClientError)
    assert (told.value.status, told.value.problem["type"]) == (403, "urn:huaxiang:serve.api_scope")
    assert "huaxiang key add" in told.value.mend()
    with pytest.raises(ClientError, match="404 Not found"):
        shop.profile("nobody/at all?")
    zh = Client(served.url, "hxk_none", lang="zh")
    with pytest.raises(ClientError) as told:
        zh.profile(USER)
    assert told.value.say("zh").startswith("401 缺少密钥")


def test_nobody_there_and_no_address_are_told(served: Served) -> None:
    with pytest.raises(ClientError, match="nothing answers"):
        Client("http://127.0.0.1:1", "key").profile(USER)
    for url in ("127.0.0.1:8888", "ftp://x", "http://", "http://x:port"):
        with pytest.raises(ClientError, match="no address"):
            Client(url, "key")


def test_the_key_is_in_no_text_of_the_client(served: Served) -> None:
    shop = Client("http://127.0.0.1:1", "hxk_secret")
    with pytest.raises(ClientError) as told:
        shop.profile(USER)
    assert "hxk_secret" not in f"{told.value!r}{told.value}{shop!r}{shop._wire!r}"


def test_one_client_serves_several_threads(served: Served) -> None:
    shop, found = served.client(), []
    threads = [threading.Thread(target=lambda: found.append(shop.profile(USER)["user_id"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_a_connection_that_was_closed_meanwhile_is_made_anew(small_shop: Path, tmp_path: Path) -> None:
    shutil.copytree(small_shop, tmp_path / "shop")
    with serve_shop(tmp_path / "shop", work=False) as served:
        shop = served.client()
        assert shop.profile(USER)
        shop._wire._here.connection.sock.shutdown(2)
        assert shop.profile(USER)
        with Shop.open(served.folder) as opened:
            assert shop.profile(USER)["user_id"] == opened.pseudonym(USER)


def test_importing_the_client_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'pyarrow', 'pydantic', 'fastapi', 'duckdb', 'ibis', 'httpx', 'torch'}"
    code = f"import sys, huaxiang.client; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
