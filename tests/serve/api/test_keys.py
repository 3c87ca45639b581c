"""API keys: hashed, closed at once, never told twice."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from conftest import run_huaxiang
from huaxiang.errors import ShopError
from huaxiang.serve.api.keys import PREFIX, Keys
from huaxiang.store import Database
from served import Served


def test_a_key_is_found_by_its_secret_and_kept_as_its_hash(database: Database) -> None:
    keys = Keys(database)
    secret = keys.add("crm", ["service", "personal", "service"], now=7)
    assert secret.startswith(PREFIX) and len(secret) > 40
    found = keys.find(secret)
    assert found is not None
    assert (found.name, found.scopes, found.created_at, found.last_used) == ("crm", {"service", "personal"}, 7, None)
    assert keys.find(secret + "x") is None and keys.find("") is None
    assert secret not in str(database.rows("SELECT * FROM api_key"))


def test_a_closed_key_is_refused_and_its_name_stays_taken(database: Database) -> None:
    keys = Keys(database)
    secret = keys.add("crm", ["service"], now=1)
    keys.close_key("crm", now=2)
    assert keys.find(secret) is None and keys.all() == []
    with pytest.raises(ShopError, match="already"):
        keys.add("crm", ["service"], now=3)
    with pytest.raises(ShopError, match="no open key"):
        keys.close_key("crm", now=4)


@pytest.mark.parametrize(("name", "scopes", "said"), [("a b", ["service"], "no name"), ("x" * 65, ["service"], "no name"), ("a", ["root"], "root"), ("a", [], "no such scope")])  # fmt: skip
def test_odd_names_and_scopes_are_refused(database: Database, name: str, scopes: list[str], said: str) -> None:
    with pytest.raises(ShopError, match=said):
        Keys(database).add(name, scopes, now=1)


def test_the_day_of_use_is_noted_once(database: Database) -> None:
    keys = Keys(database)
    keys.add("crm", ["service"], now=1)
    keys.note_used({"crm"})
    (found,) = keys.all()
    assert found.last_used is not None and found.last_used[:2] == "20"


def test_commands_make_list_and_close_keys_that_a_running_server_knows(bare: Served) -> None:
    folder = str(bare.folder)
    made = run_huaxiang("key", "add", folder, "crm", "--scope", "service", "--scope", "personal")
    secret = made.stdout.strip()
    await_status(bare, secret, 200)
    listed = json.loads(run_huaxiang("key", "list", folder, "--json").stdout)
    assert [key["scopes"] for key in listed if key["name"] == "crm"] == [["personal", "service"]]
    assert secret not in run_huaxiang("key", "list", folder).stdout
    assert run_huaxiang("key", "close", folder, "crm").returncode == 0
    await_status(bare, secret, 401)
    refused = run_huaxiang("key", "add", folder, "bad", "--scope", "everything")
    assert refused.returncode == 1 and "profiling" in refused.stderr


def await_status(served: Served, secret: str, status: int) -> None:
    end = time.monotonic() + 10
    while served.get("/profiles/1007", key=secret).status_code != status:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_no_file_of_the_shop_holds_a_key(bare: Served) -> None:
    secret = bare.keys["all"].encode()
    assert bare.get("/profiles/1007").status_code == 200
    files = [path for path in Path(bare.folder).rglob("*") if path.is_file()]
    assert [path for path in files if secret in path.read_bytes()] == []
