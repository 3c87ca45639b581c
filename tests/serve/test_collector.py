"""The endpoints, asked as clients that are wrong, hasty or hostile ask them: never a 500, and what is said is of use."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from huaxiang.serve.collector import Collector
from huaxiang.serve.log import Committer, Log, Seal
from huaxiang.serve.sources import Sources
from huaxiang.store import Database, open_database

GOOD = {"type": "track", "userId": "ann", "event": "Product Viewed", "messageId": "m1"}


class Door:
    """A collector of its own, and its log."""

    def __init__(self, folder: Path, *, rate: float = 1e9, waiting_bytes: int = 1 << 26) -> None:
        self.database: Database = open_database(folder / "store.db")
        self.log = Log(self.database, Seal(b"k" * 32), folder / "ids")
        self.sources = Sources(self.database, rate=rate)
        self.key = self.sources.add("web", now=0)
        self.committer = Committer(self.log, waiting_bytes=waiting_bytes)
        self.collector = Collector(self.sources, self.committer)

    def ask(self, method: str, path: str, *, key: str | None = "", **how: Any) -> httpx.Response:
        headers = dict(how.pop("headers", {}))
        if key is not None:
            headers.setdefault("authorization", "Basic " + b64encode(f"{key or self.key}:".encode()).decode())

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.collector)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                return await client.request(method, path, headers=headers, **how)

        return asyncio.run(go())

    def post(self, *messages: Any, **how: Any) -> httpx.Response:
        return self.ask("POST", "/v1/batch", json={"batch": list(messages)}, **how)

    def count(self) -> int:
        return sum(int(n) for (n,) in self.database.rows("SELECT messages FROM request"))

    def close(self) -> None:
        self.committer.close()
        self.database.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    made = Door(tmp_path)
    yield made
    made.close()


def test_success_is_200_and_says_so(door: Door) -> None:
    answer = door.post(GOOD)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert door.count() == 1


def test_repeated_message_is_acknowledged_and_counts_once(door: Door) -> None:
    assert [door.post(GOOD, GOOD | {"messageId": "m2"}, GOOD).status_code for _ in range(3)] == [200] * 3
    assert door.count() == 2


@pytest.mark.parametrize("how", ["basic", "no_colon", "body", "query"])
def test_write_key_is_found_where_clients_put_it(door: Door, how: str) -> None:
    if how == "basic":
        assert door.post(GOOD).status_code == 200
    elif how == "no_colon":
        assert door.post(GOOD, key=None, headers={"authorization": "Basic " + b64encode(door.key.encode()).decode()}).status_code == 200  # fmt: skip
    elif how == "body":
        assert door.ask("POST", "/v1/track", key=None, json=GOOD | {"writeKey": door.key}).status_code == 200
    else:
        assert door.ask("POST", f"/beacon/v1/batch?writeKey={door.key}", key=None, json={"batch": [GOOD]}).status_code == 200  # fmt: skip
    assert door.count() == 1


@pytest.mark.parametrize("key", ["nobody", None])
def test_unknown_key_is_401_with_code_and_message(door: Door, key: str | None) -> None:
    answer = door.post(GOOD, key=key)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unknown_key"
    assert "huaxiang source list" in answer.json()["message"]
    assert door.count() == 0


def test_closed_source_is_refused(door: Door) -> None:
    door.sources.close("web", now=1)
    assert door.post(GOOD).status_code == 401


def test_body_is_json_whatever_the_content_type_says_and_may_be_squeezed(door: Door) -> None:
    body = json.dumps({"batch": [GOOD]}).encode()
    for number, (content, headers) in enumerate(
        [
            (body, {"content-type": "text/plain"}),
            (gzip.compress(body.replace(b"m1", b"m2")), {"content-encoding": "gzip"}),
            (zlib.compress(body.replace(b"m1", b"m3")), {"content-encoding": "deflate"}),
            (gzip.compress(body.replace(b"m1", b"m4")), {"content-type": "application/x-www-form-urlencoded"}),
        ],
        start=1,
    ):
        assert door.ask("POST", "/v1/batch", content=content, headers=headers).status_code == 200
        assert door.count() == number


def test_chunked_body_is_put_together(door: Door) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for byte in json.dumps({"batch": [GOOD]}).encode():
            yield bytes([byte])

    assert door.ask("POST", "/v1/batch", content=parts()).status_code == 200
    assert door.count() == 1


def test_preflight_allows_what_browsers_ask_for(door: Door) -> None:
    answer = door.ask("OPTIONS", "/v1/t", key=None, headers={"origin": "https://shop.example"})
    assert answer.status_code == 200
    allowed = answer.headers["access-control-allow-headers"]
    assert all(name in allowed for name in ("authorization", "content-type", "x-retry-count", "anonymousid"))


def test_messages_that_are_no_good_go_to_the_quarantine_and_the_rest_counts(door: Door) -> None:
    bad = [
        {"type": "track", "userId": "ann"},
        {"type": "dance", "userId": "ann"},
        {"type": "track", "event": "x"},
        {"type": "track", "userId": {"a": 1}, "event": "x"},
        {"type": "track", "userId": "ann", "event": "x", "properties": {"text": "y" * 40_000}},
        {"type": "track", "userId": "u" * 600, "event": "x"},
        {"type": "track", "userId": "ann", "event": "x", "timestamp": "yesterday"},
        "not a message",
        None,
    ]
    assert door.post(GOOD, *bad, GOOD | {"messageId": "m2"}).status_code == 200
    assert door.count() == 2
    reasons = {reason: n for (_, _, reason), n in door.log.refusals().items()}
    assert reasons == {"no_event": 1, "type": 1, "no_user": 1, "shape": 3, "too_large": 1, "long_id": 1, "time": 1}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"[]", 400, "bad_json"),
        (b'{"batch": 7}', 400, "bad_json"),
        (b'{"batch": [\xff\xfe]}', 400, "bad_json"),
        (b'{"batch": ' + b"[" * 100_000, 400, None),
        (gzip.compress(b"x")[:-3], 400, "bad_gzip"),
        (b"\x1f\x8bnothing", 400, "bad_gzip"),
        (gzip.compress(b" " * 30_000_000), 413, "too_large"),
        (b" " * (20 * 1024 * 1024 + 1), 413, "too_large"),
    ],
    ids=["empty", "cut", "list", "number", "latin", "deep", "cut_gzip", "no_gzip", "bomb", "large"],
)
def test_body_that_cannot_be_read_is_a_final_error(door: Door, content: bytes, status: int, code: str | None) -> None:
    answer = door.ask("POST", "/v1/batch", content=content)
    assert answer.status_code == status
    assert set(answer.json()) == {"success", "code", "message"}
    assert code in (None, answer.json()["code"])


def test_too_fast_is_429_with_the_seconds_to_wait(tmp_path: Path) -> None:
    door = Door(tmp_path, rate=5)
    messages = [GOOD | {"messageId": f"m{n}"} for n in range(10)]
    assert door.post(*messages).status_code == 200  # two seconds' worth fit in
    answer = door.post(*messages)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert door.count() == 10
    door.close()


def test_full_disk_is_503_and_the_message_is_new_afterwards(door: Door) -> None:
    pages = door.database.rows("PRAGMA page_count")[0][0]

    class Full:
        kind = "sqlite"

        def transaction(self) -> Any:
            inner = door.database.transaction()

            class Limited:
                def __enter__(self) -> Any:
                    write = inner.__enter__()
                    write.rows(f"PRAGMA max_page_count = {pages + 2}")
                    return write

                def __exit__(self, *said: Any) -> Any:
                    return inner.__exit__(*said)

            return Limited()

    whole, door.log.database = door.log.database, Full()  # type: ignore[assignment]
    large = [
        GOOD | {"messageId": f"m{n}", "properties": {"t": random.Random(n).randbytes(15_000).hex()}} for n in range(4)
    ]
    answer = door.post(*large)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["code"] == "store.full"
    door.log.database = whole
    with door.database.transaction() as write:
        write.rows("PRAGMA max_page_count = 1000000")
    assert door.count() == 0


def test_more_than_may_wait_is_refused_at_once(tmp_path: Path) -> None:
    """The writer is held: the second request would make more than 10 bytes wait."""
    door = Door(tmp_path, waiting_bytes=10)

    async def go() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(door.collector), base_url="http://shop") as client:
            with door.database.transaction():
                headers = {"authorization": "Basic " + b64encode(f"{door.key}:".encode()).decode()}
                asked = [
                    asyncio.create_task(
                        client.post("/v1/batch", json={"batch": [GOOD | {"messageId": str(n)}]}, headers=headers)
                    )
                    for n in range(3)
                ]
                done, _ = await asyncio.wait(asked, timeout=20, return_when=asyncio.FIRST_COMPLETED)
                assert all(one.result().status_code == 503 for one in done)
                assert all(one.result().headers["retry-after"] for one in done)
            return sorted([(await one).status_code for one in asked])

    assert asyncio.run(go()) == [200, 503, 503]
    door.close()


def test_random_bodies_never_make_an_error_of_ours(door: Door) -> None:
    chance = random.Random(11)
    scraps = [b'{"batch":[', b'{"type":"track",', b'"userId":', b"null", b"1e999", b"-0", b'"\\ud800"', b'"a"', b"]", b"}", b",", b'"event":"x"', b"NaN", b"\xc3\x28", b'"properties":{', b'"sentAt":5', b"true", b'"context":[]']  # fmt: skip
    paths = [
        "/v1/batch",
        "/v1/track",
        "/v1/i",
        "/batch/",
        "/com.snowplowanalytics.snowplow/tp2",
        "/sa",
        "/e/",
        "/v1/alias",
    ]
    for _ in range(400):
        content = b"".join(chance.choice(scraps) for _ in range(chance.randrange(0, 14)))
        if chance.random() < 0.2:
            content = gzip.compress(content)
        answer = door.ask("POST", chance.choice(paths), content=content)
        assert answer.status_code in (200, 400, 401, 413), (answer.status_code, content)
        assert answer.status_code == 200 or {"code", "message"} <= set(answer.json())
