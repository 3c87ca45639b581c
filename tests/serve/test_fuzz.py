"""A storm over real sockets: whatever arrives, no answer is a 500, the worker goes on, and what is good afterwards is stored and folded."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from huaxiang.serve import bodies, lines
from huaxiang.serve.api.rooms import Rooms, open_rooms
from huaxiang.serve.bodies import Bodies
from huaxiang.serve.open import open_running
from huaxiang.serve.run import config_of
from huaxiang.shop import Shop

FINAL = {200, 400, 401, 405, 408, 413, 415, 429, 503}
SEGMENT = ["batch", "track", "identify", "page", "screen", "group", "alias", "merge", "t", "b", "import"]
PATHS = [*(f"/v1/{name}" for name in SEGMENT), "/beacon/v1/batch", "/batch/", "/capture/", "/e/", "/i/v0/e/", "/com.snowplowanalytics.snowplow/tp2"]  # fmt: skip


class Shore:
    """A shop that is served on a port of its own."""

    def __init__(self, rooms: Rooms) -> None:
        self.running = running = rooms.running
        ((_, self.key),) = running.sources.all()
        self.server = uvicorn.Server(config_of(rooms, host="127.0.0.1", port=0))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        await_true(lambda: self.server.started)
        self.port = int(self.server.servers[0].sockets[0].getsockname()[1])
        self.basic = f"Basic {base64.b64encode(f'{self.key}:'.encode()).decode()}"
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers={"authorization": self.basic}, timeout=30)  # fmt: skip
        self.orders = 0

    def raw(self, content: bytes = b"") -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        made.sendall(content)
        return made

    def head(self, length: int | str, path: str = "/v1/batch", more: str = "") -> bytes:
        return f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {self.basic}\r\nContent-Length: {length}\r\n{more}\r\n".encode()  # fmt: skip

    def still_works(self) -> None:
        """A good order is acknowledged, and folded, and nothing was ever stuck."""
        worker = self.running.worker
        assert worker is not None
        before, self.orders = worker.events, self.orders + 1
        event = {"type": "track", "userId": "good", "event": "Order Completed", "messageId": f"good-{self.orders}", "properties": {"order_id": f"o{self.orders}", "product_id": "sku-1", "price": 2}}  # fmt: skip
        answer = self.client.post("/v1/batch", json={"batch": [event]})
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        await_true(lambda: worker.lag() == 0 and worker.events > before)
        assert worker.stuck == 0
        assert self.running.collector.answers.get(500, 0) == 0
        assert self.running.collector.bodies.held == 0

    def close(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join(20)


def await_true(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def shore(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shore]:
    folder = tmp_path_factory.mktemp("fuzz") / "shop"
    shutil.copytree(small_shop, folder)
    with Shop.open(folder) as shop, open_running(shop) as running, open_rooms(running, running.profiles) as rooms:
        made = Shore(rooms)
        yield made
        made.close()


def check(answer: httpx.Response) -> None:
    assert answer.status_code in FINAL, answer.text[:300]
    if answer.status_code >= 400:
        told = answer.json()
        assert told["success"] is False and told["code"] and told["message"], (
            "Python SDKs try again and again without both"
        )
    if answer.status_code in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1


# ---- bodies by chance ------------------------------------------------------------------------------------------------

odd_numbers = st.sampled_from([10**400, -(2**63), 2**64, 1e308, -0.0, float("nan"), float("inf"), 0, -1, 0.1])
odd_texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "\ud800", "\x00", "a" * 600, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "２０２６-01-01", "2026-02-30T00:00", "用户", "\u202e", "NaN", "-", "[object Object]"]),
)  # fmt: skip
plain = st.one_of(st.none(), st.booleans(), odd_numbers, odd_texts)
anything: st.SearchStrategy[Any] = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_texts, inner, max_size=4), max_leaves=12
)
NAMES = ["type", "messageId", "userId", "anonymousId", "previousId", "groupId", "event", "name", "category", "timestamp", "originalTimestamp", "sentAt", "properties", "traits", "context", "distinct_id", "uuid", "$set", "e", "eid", "ue_px", "dtm", "cx", "uid", "_track_id", "time"]  # fmt: skip
PROPERTIES = ["products", "items", "price", "quantity", "order_id", "product_id", "total", "value", "rating", "query", "session_id", "$set", "distinct_id", "$is_login_id", "$process_person_profile", "alias"]  # fmt: skip
properties = st.dictionaries(st.sampled_from(PROPERTIES), anything, max_size=5)
types = st.sampled_from(["track", "identify", "page", "screen", "group", "alias", "merge", "$identify", "$create_alias", "ue", "se", "pv", "tr", "ti", "profile_set", "track_signup"])  # fmt: skip
messages = st.builds(
    lambda given, type, told, user: {"type": type, "event": "Order Completed", "userId": user, **given, **({} if told is None else {"properties": told})},
    st.dictionaries(st.sampled_from(NAMES), anything, max_size=6),
    types,
    st.none() | properties,
    st.sampled_from(["ann", "bob", "good", 7]),
)  # fmt: skip
envelopes = st.one_of(
    anything,
    messages,
    st.builds(lambda key, some, more: {key: some, **more}, st.sampled_from(["batch", "data"]), st.lists(messages | anything, max_size=5), st.dictionaries(st.sampled_from(["sentAt", "writeKey", "context", "api_key", "sent_at", "schema", "token"]), anything, max_size=3)),
)  # fmt: skip


def to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


squeezers: dict[str, Callable[[bytes], bytes]] = {
    "": lambda body: body,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "gzip ": lambda body: gzip.compress(body)[:-9],
    "GZIP": lambda body: gzip.compress(gzip.compress(body)),
    "gzip,": lambda body: gzip.compress(body) + b"more",
    "br": lambda body: body,
}
asked = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@asked
@given(
    path=st.sampled_from(PATHS), content=envelopes, coding=st.sampled_from(sorted(squeezers)), cut=st.integers(0, 400)
)
def test_json_of_any_shape_is_answered(shore: Shore, path: str, content: Any, coding: str, cut: int) -> None:
    body = to_json(content)
    if cut % 5 == 0:  # one byte changed
        place = cut % max(1, len(body))
        body = body[:place] + bytes([cut % 256]) + body[place + 1 :]
    headers = {"content-encoding": coding.strip(" ,").lower()} if coding else {}
    check(shore.client.post(path, content=squeezers[coding](body), headers=headers))


@asked
@given(content=st.lists(messages, min_size=1, max_size=6))
def test_messages_that_are_nearly_good_are_stored_or_set_aside(shore: Shore, content: list[Any]) -> None:
    check(shore.client.post("/v1/batch", content=to_json({"batch": content})))


@asked
@given(
    content=envelopes,
    form=st.sampled_from(["data", "data_list"]),
    packed=st.sampled_from(["", "gzip", "gzip "]),
    query=st.booleans(),
)
def test_forms_of_sensors_are_answered(shore: Shore, content: Any, form: str, packed: str, query: bool) -> None:
    value = base64.b64encode(squeezers[packed](to_json(content))).decode()
    given = {form: value, "gzip": "1" if packed else "0", "token": shore.key}
    if query and len(value) < 8_000:
        check(shore.client.get("/sa", params=given))
    else:
        check(shore.client.post("/sa", data=given))


@asked
@given(
    content=st.dictionaries(st.sampled_from([*NAMES, "aid", "ue_pr", "tr_id", "ti_sk"]), odd_texts, max_size=8),
    path=st.sampled_from(["/i", "/sa"]),
)
def test_queries_of_any_text_are_answered(shore: Shore, content: dict[str, str], path: str) -> None:
    clean = {name: value.encode("utf-8", "surrogatepass") for name, value in content.items()}
    check(shore.client.get(path, params=clean | {"aid": shore.key}))


@asked
@given(content=st.binary(max_size=300), path=st.sampled_from([*PATHS, "/sa"]))
def test_bytes_of_any_kind_are_answered(shore: Shore, content: bytes, path: str) -> None:
    check(shore.client.post(path, content=content))


def test_what_was_good_in_all_that_is_folded_and_more_is_too(shore: Shore) -> None:
    shore.still_works()


# ---- what is known to hurt -------------------------------------------------------------------------------------------

DEEP = (
    b'{"batch":[{"type":"track","userId":"a","event":"x","properties":'
    + b'{"a":' * 3_000
    + b"1"
    + b"}" * 3_000
    + b"}]}"
)
HURTS = {
    "deep": b"[" * 200_000,
    "deep_object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep_properties": DEEP,
    "long_number": b'{"batch":[{"type":"track","userId":' + b"9" * 100_000 + b',"event":"x"}]}',
    "long_exponent": b'{"batch":[{"type":"track","userId":"a","event":"x","properties":{"price":1e999999999}}]}',
    "no_utf8": b'{"batch":[{"type":"track","userId":"\xff\xfe","event":"x"}]}',
    "half_pair": b'{"batch":[{"type":"track","userId":"\\ud800","event":"x"}]}',
    "nan": b'{"batch":[{"type":"track","userId":"a","event":"x","properties":{"price":NaN}}]}',
    "bom": b'\xef\xbb\xbf{"batch":[]}',
    "utf16": '{"batch":[]}'.encode("utf-16"),
    "twice": b'{"batch":[],"batch":[{"type":"track","userId":"a","event":"x"}]}',
    "many": b'{"batch":[' + b",".join([b"1"] * 20_000) + b"]}",
    "bomb": gzip.compress(b" " * 60_000_000, 9),
    "bomb_many": gzip.compress(b"a" * 1_000) * 50_000,
}


@pytest.mark.parametrize("name", HURTS)
@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track", "/batch/", "/com.snowplowanalytics.snowplow/tp2"])
def test_what_is_known_to_hurt_is_answered(shore: Shore, name: str, path: str) -> None:
    check(shore.client.post(path, content=HURTS[name]))
    check(shore.client.post("/sa", data={"data": base64.b64encode(HURTS[name]).decode()}))


@pytest.mark.parametrize("length", ["-1", "9" * 5_000, "0x10", "1e3", "", "99999999999999999999", "10, 20"])
def test_odd_lengths_end_the_request(shore: Shore, length: str) -> None:
    with shore.raw(shore.head(length) + b'{"batch":[]}') as line:
        line.shutdown(socket.SHUT_WR)
        answer = line.recv(65536)
    assert answer == b"" or int(answer.split()[1]) in FINAL


@pytest.mark.parametrize("path", ["/i", "/sa", "/v1/batch"])
def test_queries_of_many_fields_are_refused(shore: Shore, path: str) -> None:
    ask = shore.client.post if path == "/v1/batch" else shore.client.get
    answer = ask(f"{path}?{'&'.join(f'f{n}=1' for n in range(2_000))}")
    check(answer)
    assert answer.status_code == 400


def test_chunks_that_are_none_end_the_request(shore: Shore) -> None:
    head = shore.head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    for chunks in (
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"5\r\nabc",
        b"ffffffffffffffffff\r\na",
        b"3\r\nabcdef\r\n0\r\n\r\n",
        b"-1\r\n\r\n",
    ):
        with shore.raw(head + chunks) as line:
            line.shutdown(socket.SHUT_WR)
            answer = line.recv(65536)
        assert answer == b"" or int(answer.split()[1]) in FINAL
    body = to_json({"batch": [{"type": "track", "userId": "good", "event": "x", "messageId": "chunked"}]})
    with shore.raw(head + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n") as line:
        assert line.recv(65536).split()[1] == b"200"


# ---- clients that take their time, and many of them ------------------------------------------------------------------


def ended(line: socket.socket) -> bytes:
    """All that comes until the server closes."""
    found = b""
    while part := line.recv(65536):
        found += part
    return found


def test_a_body_that_does_not_come_is_given_up(shore: Shore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_S", 0.3)
    with shore.raw(shore.head(1_000) + b'{"batch":[') as line:
        assert line.recv(65536).split()[1] == b"408"


def test_a_head_that_does_not_come_is_given_up(shore: Shore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "HEAD_S", 0.4)
    first = shore.raw(b"")
    slow = shore.raw(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nX-A: ")
    good = shore.raw(shore.head(12) + b'{"batch":[]}')
    assert good.recv(65536).split()[1] == b"200"
    good.sendall(b"\r\n\r\n")  # line ends keep no connection open
    begun = time.monotonic()
    for _ in range(3):
        slow.sendall(b"a")
        time.sleep(0.05)
    assert ended(first) == ended(slow) == ended(good) == b""
    assert time.monotonic() - begun < 5
    for line in (first, slow, good):
        line.close()


def test_a_head_without_end_is_refused(shore: Shore) -> None:
    with shore.raw(b"POST /v1/batch HTTP/1.1\r\n") as line:
        try:
            for number in range(200):
                line.sendall(b"X-%d: " % number + b"a" * 4_000 + b"\r\n")
            answer = ended(line)
        except ConnectionError:  # closed while more was sent
            answer = b""
    assert answer == b"" or answer.split()[1] == b"400"


def test_bodies_in_progress_are_bounded_together(shore: Shore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow clients hold a megabyte: another large body is told to come again, what SDKs send passes; then all is free."""
    collector = shore.running.collector
    monkeypatch.setattr(collector, "bodies", Bodies(together=1_000_000))
    slow = [shore.raw(shore.head(5_000_000) + b" " * 400_000) for _ in range(2)]
    await_true(lambda: collector.bodies.held > 600_000)
    large = to_json(
        {"batch": [{"type": "track", "userId": "good", "event": "x", "properties": {"t": "y" * 20_000}}] * 30}
    )
    answer = shore.client.post("/v1/batch", content=large)
    assert (answer.status_code, answer.json()["code"], int(answer.headers["retry-after"]) >= 1) == (503, "busy", True)
    check(shore.client.post("/v1/batch", content=large[:60_000]))
    assert shore.client.post("/v1/batch", json={"batch": []}).status_code == 200
    for line in slow:
        line.close()
    await_true(lambda: collector.bodies.held == 0)
    assert shore.client.post("/v1/batch", content=large).status_code == 200


def test_many_connections_that_do_nothing_let_others_through(shore: Shore) -> None:
    idle = [shore.raw(shore.head(5_000) + b"{") for _ in range(300)]
    assert shore.client.post("/v1/batch", json={"batch": []}).status_code == 200
    for line in idle:
        line.close()


def test_a_storm_of_all_that_leaves_nothing_behind(shore: Shore) -> None:
    """Half of the clients go away within their body, half send what hurts, all at once."""
    names = list(HURTS)

    def storm(number: int) -> None:
        for place in range(12):
            body = HURTS[names[(number + place) % len(names)]]
            with shore.raw(shore.head(len(body)) + body[: len(body) // (1 + place % 2)]) as line:
                if place % 2 == 0:
                    line.recv(65536)

    threads = [threading.Thread(target=storm, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    await_true(lambda: shore.running.collector.bodies.held == 0)
    shore.still_works()
