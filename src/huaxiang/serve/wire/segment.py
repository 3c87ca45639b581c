"""Segment's and RudderStack's HTTP API: POST /v1/batch, and one message a call at /v1/track, /v1/t …"""

from __future__ import annotations

from typing import Any

from huaxiang.serve.wire.message import encode, read_object

# The path's last part → the type of its message; browsers send the first letter alone. None: the body is a batch.
PATHS: dict[str, str | None] = {
    "batch": None, "b": None, "import": None,
    "track": "track", "t": "track", "identify": "identify", "i": "identify", "page": "page", "p": "page",
    "screen": "screen", "s": "screen", "group": "group", "g": "group", "alias": "alias", "a": "alias", "merge": "merge",
}  # fmt: skip


def wrap(type: str, body: bytes) -> bytes:
    """One call's body as a batch of one; raises WireError."""
    message: dict[str, Any] = read_object(body)
    message["type"] = message.get("type") or type
    sent = message.get("sentAt")
    return encode({"batch": [message], "sentAt": sent, "writeKey": message.pop("writeKey", None)})
