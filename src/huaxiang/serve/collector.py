"""The endpoints that SDKs send to. A request is answered 200 when all of it is on disk.

    POST /v1/{batch,track,identify,page,screen,group,alias,…}   Segment, RudderStack      key: Basic, or writeKey in the body or the query
    POST /batch/  /capture/  /e/  /i/v0/e/                      PostHog                   key: api_key in the body
    POST /com.snowplowanalytics.snowplow/tp2, GET /i            Snowplow                  key: aid (the tracker's app_id)
    POST, GET /sa                                               神策                      key: token
    GET  /v1/projects/KEY/settings                              analytics-next asks for it

Errors are JSON with `code` and `message` (without both, Python SDKs try a final error again and again); 429 and 503 say when to come
back. One message that is no good does not stop its batch: it goes to the quarantine.
"""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from huaxiang.errors import StoreError
from huaxiang.serve.bodies import Bodies, Receive
from huaxiang.serve.log import Committer, OverloadedError, make_request
from huaxiang.serve.sources import Sources
from huaxiang.serve.wire import posthog, segment, sensors, snowplow
from huaxiang.serve.wire.message import Batch, LaterError, Refused, WireError, encode, read_batch

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
MESSAGES = 10_000  # of one request
FIELDS = 300  # of a query
OK = b'{"success": true}'
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
SNOWPLOW = "/com.snowplowanalytics.snowplow/tp2"
POSTHOG = ("/batch", "/capture", "/e", "/i/v0/e")
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type, content-encoding, x-retry-count, anonymousid"),
    (b"access-control-max-age", b"86400"),
]


class Collector:
    """An ASGI application for the paths above; `takes` says whether a path is its own."""

    def __init__(self, sources: Sources, committer: Committer) -> None:
        self._sources = sources
        self._committer = committer
        self.bodies = Bodies()
        self.answers: dict[int, int] = {}
        self.refused: dict[str, int] = {}

    @staticmethod
    def takes(path: str) -> bool:
        bare = path.rstrip("/") or "/"
        return (
            bare in (SNOWPLOW, "/i", "/sa", "/beacon/v1/batch", *POSTHOG)
            or (bare.startswith("/v1/") and bare[4:] in segment.PATHS)
            or (bare.startswith("/v1/projects/") and bare.endswith("/settings"))
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, body, kind, extra = await self._answer(scope, receive)
        except WireError as error:
            status, body, kind = error.status, _error(error.code, error.detail), b"application/json"
            extra = (
                [(b"retry-after", str(max(1, round(error.seconds))).encode())] if isinstance(error, LaterError) else []
            )
        except OverloadedError:
            status, body, kind = 503, _error("overloaded", "more is waiting to be written than may wait"), b"application/json"  # fmt: skip
            extra = [(b"retry-after", b"1")]
        except StoreError as error:
            status, body, kind = 503, _error(error.key, error.what()), b"application/json"
            extra = [(b"retry-after", b"5")]
        except Exception as error:  # noqa: BLE001 - what we did not foresee; its text might be personal
            log.error("a request could not be taken: %s", type(error).__name__)
            status, body, kind, extra = 500, _error("unexpected", "the request could not be taken"), b"application/json", []  # fmt: skip
        self.answers[status] = self.answers.get(status, 0) + 1
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *_CORS, *extra]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes, bytes, list[tuple[bytes, bytes]]]:
        method, path = scope["method"], scope["path"].rstrip("/") or "/"
        if method == "OPTIONS":
            return 200, b"", b"text/plain", []
        query = _query(scope["query_string"])
        if path.startswith("/v1/projects/"):
            return self._settings(method, path)
        if method not in ("POST", "GET") or (method == "GET" and path not in ("/i", "/sa")):
            raise WireError("method_not_allowed", f"{path} takes POST", 405)
        headers = dict(scope["headers"])
        body = await self.bodies.read(receive, headers) if method == "POST" else b""
        batch_body, keys = _to_batch(path, method, body, query)
        batch, refused = read_batch(batch_body)
        source = self._who(headers, batch, query, keys)
        await self._take(source, batch_body, batch, refused)
        if method == "GET":
            return 200, PIXEL, b"image/gif", [(b"cache-control", b"no-store")]
        return 200, OK, b"application/json", []

    async def _take(self, source: str, body: bytes, batch: Batch, refused: list[Refused]) -> None:
        """On disk when it returns."""
        count = len(batch.batch) + len(refused)
        if count > MESSAGES:
            raise WireError("too_many", f"a batch may hold {MESSAGES} messages; this one holds {count}", 413)
        if wait := self._sources.wait(source, count):
            raise LaterError("too_fast", "this source sends faster than it may", 429, seconds=wait)
        request = make_request(source, time.time_ns() // 1000, body, batch, refused)
        for one in request.refused:
            self.refused[one.reason] = self.refused.get(one.reason, 0) + 1
        if count:
            await self._committer.append(request)

    def _who(self, headers: dict[bytes, bytes], batch: Batch, query: dict[str, str], keys: list[str | None]) -> str:
        """The source that a request is from; raises WireError (401)."""
        for key in (_basic(headers.get(b"authorization")), batch.writeKey, query.get("writeKey"), *keys):
            if (found := self._sources.find(key)) is not None:
                return found
        raise WireError("unknown_key", "no source has this write key; `huaxiang source list` shows them", 401)

    def _settings(self, method: str, path: str) -> tuple[int, bytes, bytes, list[tuple[bytes, bytes]]]:
        """What analytics-next asks for before it sends: where Segment.io's messages go is the page's own setting."""
        key = path.removeprefix("/v1/projects/").removesuffix("/settings")
        if self._sources.find(key) is None:
            raise WireError("unknown_key", "no source has this write key", 404)
        content = {"integrations": {"Segment.io": {"apiKey": key}}, "plan": {"track": {}}}
        return 200, encode(content), b"application/json", []


def _to_batch(path: str, method: str, body: bytes, query: dict[str, str]) -> tuple[bytes, list[str | None]]:
    """The body as a batch of messages, and the write keys that stand elsewhere than Segment's; raises WireError."""
    if path == "/beacon/v1/batch":
        return body, []
    if path.startswith("/v1/"):
        kind = segment.PATHS[path[4:]]
        return (body if kind is None else segment.wrap(kind, body)), []
    if path == SNOWPLOW:
        return snowplow.read(body)
    if path == "/i":
        return snowplow.read_query(query), [query.get("aid")]
    if path == "/sa":
        made, token = sensors.read(body, query)
        return made, [token, query.get("token"), query.get("project")]
    made, key = posthog.read(body)
    return made, [key]


def _query(text: bytes) -> dict[str, str]:
    """The fields of a query, the last of each name; raises WireError for more than FIELDS."""
    try:
        return dict(parse_qsl(text.decode("latin-1"), max_num_fields=FIELDS)) if text else {}
    except ValueError as error:
        raise WireError("bad_query", f"a query may hold {FIELDS} fields") from error


def _basic(header: bytes | None) -> str | None:
    """The user of `Basic base64(user:password)`; a missing colon is forgiven."""
    if header is None or header[:6].lower() != b"basic ":
        return None
    try:
        return base64.b64decode(header[6:].strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):  # no key in it; the request is refused as one without
        return None


def _error(code: str, message: str) -> bytes:
    return encode({"success": False, "code": code, "message": message})
