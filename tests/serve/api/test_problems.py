"""Whatever comes in, what goes out is a problem with its mend: never a 500, never what was sent."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import random
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest

from huaxiang.errors import DefinitionError, GuardError, ModelError, ShopError, StoreError, UnknownUserError
from huaxiang.serve.api.desk import Desk
from huaxiang.serve.api.problems import BY_KEY, ApiError, problem_of, status_of
from huaxiang.words import catalogue
from served import Served

USER = "1007"


def raw(
    served: Served, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, Any], bytes]:
    """As httpx would not send it."""
    parts = urlsplit(served.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    said = {"Authorization": f"Bearer {served.keys['all']}", "Content-Type": "application/json"} | headers
    connection.request(method, path, body, said)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), text


def is_problem(status: int, headers: dict[str, Any], text: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    assert headers["content-type"] == "application/problem+json"
    assert set(found) >= {"type", "title", "status", "detail", "mend"}
    assert (found["status"], found["type"].startswith("urn:huaxiang:")) == (status, True)
    assert found["mend"]
    return found


DEEP = b"[" * 100_000 + b"]" * 100_000
BODIES: dict[str, bytes] = {
    "empty": b"", "null": b"null", "list": b"[]", "text": b'"x"', "cut": b'{"users": ["1', "deep": b'{"users": ' + DEEP + b"}",
    "nan": b'{"users": [NaN]}', "inf": b'{"users": ["a"], "x": Infinity}', "huge": b'{"users": [' + b"9" * 5_000 + b"]}",
    "exponent": b'{"users": [1e999999]}', "latin1": b'{"users": ["\xff\xfe"]}', "half": b'{"users": ["\\ud800"]}',
    "nul": b'{"users": ["\\u0000"]}', "twice": b'{"users": ["a"], "users": 3}', "more": b'{"users": ["a"], "no_such": 1}',
    "many": json.dumps({"users": ["u"] * 1_001}).encode(), "long": json.dumps({"users": ["u" * 513]}).encode(),
    "squeezed": gzip.compress(b'{"users": ["a"]}'), "utf16": '{"users": ["a"]}'.encode("utf-16"), "bytes": bytes(range(256)),
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("path", ["/api/v1/lookup", "/api/v1/audiences/preview", "/api/v1/guard/cases/x/verdict"])
def test_bad_bodies_are_told_as_such(served: Served, path: str, body: bytes) -> None:
    status, headers, text = raw(served, "POST", path, body)
    if (path.endswith("lookup") and body == BODIES["nul"]) or status == 200:
        assert status == 200
        return
    assert status in (400, 422)
    is_problem(status, headers, text)


CONDITIONS = {
    "deep": "not " * 900 + "lifecycle == 'x'", "brackets": "(" * 900 + "1" + ")" * 900, "huge": f"spend_90d > {'9' * 1_500}",
    "infinite": "spend_90d > 1e999", "nan": "spend_90d > nan", "nul": "lifecycle == '\x00'", "quote": "lifecycle == \"'; DROP TABLE x; --\"",
    "call": "__import__('os').system('x')", "lambda": "(lambda: 1)()", "walrus": "(x := 1) > 0", "attribute": "lifecycle.upper == 'x'",
    "power": "9**9**9 > spend_90d", "zero": "spend_90d / 0 > 1", "mixed": "lifecycle > 3", "text": "spend_90d == 'x'", "bool": "spend_90d",
    "list": "spend_90d in (1, 'x')", "tags": "tags == 'x'", "unknown": "nothing == 1", "empty call": "bought()", "days": "bought(days=10000000000)",
    "float days": "bought(days=1.5)", "circle": "in_audience('active_ones') and in_audience('none')", "chinese": "生命周期 == '活跃'",
    "overflow": "orders_90d + 9223372036854775807 > 9223372036854775807", "negative": "-birth_year < -9223372036854775808",
    "half": "lifecycle == '\ud83d'", "lines": "lifecycle\n==\n'active'", "comment": "lifecycle == 'active' # x", "bytes": "lifecycle == b'x'",
    "wide": " or ".join(f"spend_90d > {n}" for n in range(90)), "date": "registered_at > '2020-13-45'", "int": f"birth_year == {2**63}",
}  # fmt: skip


@pytest.mark.parametrize("where", CONDITIONS.values(), ids=CONDITIONS)
def test_conditions_that_are_none_are_422_or_hold_for_somebody(served: Served, where: str) -> None:
    body = json.dumps({"when": where}).encode()  # halves of characters as escapes
    status, headers, text = raw(served, "POST", "/api/v1/audiences/preview", body)
    if status != 200:
        assert status in (404, 422), text
        is_problem(status, headers, text)
    if not any("\ud800" <= letter <= "\udfff" for letter in where):
        answer = served.get("/profiles", params={"where": where, "count": "true"})
        assert answer.status_code == (200 if status == 200 else status), answer.text


@pytest.mark.parametrize("user", ["%00", "%ff%fe", "a%00b", "..", "%2e%2e", "%2F", "'", "%27%20OR%201=1--", "x" * 512, "%F0%9F%98%80", "%E7%94%A8%E6%88%B7", "%20", "%0a", "%ed%a0%80"])  # fmt: skip
def test_odd_users_are_404_on_every_route(served: Served, user: str) -> None:
    for path in (
        "",
        "?personal=true",
        "/explained",
        "/events",
        "/recommendations",
        "/intent",
        "/guard",
        "/explain/city",
    ):
        status, headers, text = raw(served, "GET", f"/api/v1/profiles/{user}{path}")
        assert status in (404, 409), (path, text)
        is_problem(status, headers, text)


def test_a_user_that_is_too_long_is_422_the_quick_way_too(served: Served) -> None:
    for path in ("", "?personal=false"):
        assert raw(served, "GET", f"/api/v1/profiles/{'x' * 513}{path}")[0] == 422


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=1e3", "limit=99999999999999999999999", "after='", "after=%ff", "count=maybe", "where=" + "x" * 2_001, "limit=NaN"])  # fmt: skip
def test_queries_that_do_not_fit_say_where(served: Served, query: str) -> None:
    status, headers, text = raw(served, "GET", f"/api/v1/profiles?{query}")
    assert status == 422
    (place,) = is_problem(status, headers, text)["places"]
    assert place["at"] == f"query.{query.partition('=')[0]}"


def test_what_was_sent_is_not_told_again(served: Served) -> None:
    secret = "ann@example.com"
    for status, _, text in (
        raw(served, "POST", "/api/v1/lookup", json.dumps({"users": [{"mail": secret}]}).encode()),
        raw(served, "POST", "/api/v1/lookup", json.dumps({"users": secret}).encode()),
        raw(served, "GET", f"/api/v1/profiles?limit={secret}"),
        raw(served, "GET", f"/api/v1/profiles/{secret}"),
        raw(served, "GET", f"/api/v1/profiles/{USER}", Authorization=f"Bearer {secret}"),
    ):
        assert status >= 400
        assert secret.encode() not in text


def test_a_body_that_is_too_large_is_413_whether_it_says_so_or_not(served: Served) -> None:
    large = b'{"users": ["' + b"x" * 1_100_000 + b'"]}'
    assert raw(served, "POST", "/api/v1/lookup", large)[0] == 413
    parts = urlsplit(served.url)
    with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=30) as wire:
        wire.sendall(b"POST /api/v1/lookup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer " + served.keys["all"].encode() + b"\r\n\r\n")  # fmt: skip
        try:
            for _ in range(40):
                wire.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        except OSError:
            pass  # it has answered already
        assert b" 413 " in wire.recv(4096)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "bearer\thxk", "Bearer " + "x" * 10_000, "Bearer \xff\xfe"]
)
def test_odd_authorization_is_401(served: Served, header: str) -> None:
    status, headers, text = raw(served, "GET", f"/api/v1/profiles/{USER}", Authorization=header)
    assert status == 401
    is_problem(status, headers, text)


def test_bearer_is_understood_in_any_case(served: Served) -> None:
    assert raw(served, "GET", f"/api/v1/profiles/{USER}", Authorization=f"bEARER {served.keys['all']}")[0] == 200


def test_paths_and_methods_that_are_none(served: Served) -> None:
    assert served.get("/nothing").json()["type"] == "urn:huaxiang:serve.api_no_route"
    for method in ("PUT", "PATCH", "TRACE", "OPTIONS"):
        answer = served.ask(method, f"/api/v1/profiles/{USER}")
        assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")
    assert served.get("/nothing", key=None).status_code == 401  # nobody learns what there is


def test_problems_speak_chinese_where_the_client_does(served: Served) -> None:
    told = served.get("/profiles/nobody", headers={"accept-language": "zh-CN,zh;q=0.9"})
    assert "顾客" in told.json()["detail"] or "用户" in told.json()["detail"]
    assert served.get(f"/profiles/{USER}", key="x", headers={"accept-language": "zh"}).json()["title"] == "缺少密钥"


def test_noise_is_never_a_500(served: Served) -> None:
    chance = random.Random(3)
    paths = [
        "lookup",
        "audiences/preview",
        f"profiles/{USER}",
        "profiles",
        "audit",
        "guard/queue",
        f"profiles/{USER}/events",
    ]
    for _ in range(300):
        noise = bytes(chance.randrange(256) for _ in range(chance.randrange(60)))
        query = "".join(chance.choice("abcdefile&=%01f;'\"<>") for _ in range(chance.randrange(30)))
        path = f"/api/v1/{chance.choice(paths)}?{query}".replace('"', "%22").replace("<", "%3C").replace(">", "%3E")
        status, _, text = raw(served, chance.choice(["GET", "POST"]), path, noise)
        assert status < 500, (path, noise, text)


def test_each_class_of_error_has_its_status() -> None:
    assert status_of(UnknownUserError("profile.unknown_user")) == 404
    assert status_of(ShopError("lake.no_table", name="profiles", have="-")) == 409
    assert status_of(ShopError("lake.busy", folder="x")) == 503
    assert status_of(ModelError("recommend.not_trained")) == 409
    assert status_of(DefinitionError("market.empty", name="x")) == 422
    assert status_of(StoreError("store.away", kind="x")) == 503
    assert status_of(GuardError("guard.no_case", case="x")) == 404
    told = problem_of(ApiError("serve.api_invalid", more={"places": []}), "zh")
    assert (told["status"], told["title"], told["places"]) == (422, "不符合要求", [])


def test_every_error_of_the_api_has_a_status_of_its_own_and_a_title() -> None:
    texts = catalogue()
    mine = {key.split(".", 1)[1].rsplit(".", 1)[0] for key in texts if key.startswith("errors.serve.api_")}
    assert mine <= set(BY_KEY)
    assert all(f"errors.{key}.what" in texts for key in BY_KEY)
    assert all(f"serve.status.{status}" in texts for status in BY_KEY.values())


def test_more_than_may_wait_for_a_thread_is_503(decided_shop: Any) -> None:
    desk, held = Desk(decided_shop, threads=1, most=2), threading.Event()

    async def go() -> None:
        waiting = [asyncio.create_task(desk.run(held.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="wait already"):
            await desk.run(held.wait)
        held.set()
        await asyncio.gather(*waiting)
        assert desk.waiting == 0
        await desk.run(lambda: None)

    asyncio.run(go())
    desk.close()
