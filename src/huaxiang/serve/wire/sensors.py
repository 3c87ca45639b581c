"""神策 (Sensors Data): form POST or GET /sa with `data_list` (or `data`) = base64(gzip(JSON)).

source: the vendor's documentation of its import API and the source of sa-sdk-python
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec

from huaxiang.serve.wire.message import WireError, make_batch
from huaxiang.serve.wire.squeezed import unzip

_PROFILE = ("profile_set", "profile_set_once", "profile_append", "profile_increment", "profile_unset")


def read(body: bytes, query: Mapping[str, str]) -> tuple[bytes, str | None]:
    """The form (or the query) as a batch, and the project's token; raises WireError."""
    try:
        form = {name: values[0] for name, values in parse_qs(body.decode(), strict_parsing=False, max_num_fields=20).items()}  # fmt: skip
    except (UnicodeDecodeError, ValueError) as error:
        raise WireError("bad_form", "the body is no form") from error
    given = {**query, **form}
    packed = given.get("data_list") or given.get("data")
    if packed is None:
        raise WireError("bad_form", "data_list or data is missing")
    # A '+' that was not escaped arrives as a space.
    try:
        content = base64.b64decode(packed.replace(" ", "+"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError("bad_form", "data is no base64") from error
    if given.get("gzip", "1" if content[:2] == b"\x1f\x8b" else "0") == "1":
        content = unzip(content)
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError("bad_json", "data is no JSON") from error
    found = found if isinstance(found, list) else [found]
    return make_batch([to_message(one) if isinstance(one, dict) else {"type": one} for one in found]), given.get(
        "token"
    )


def to_message(one: dict[str, Any]) -> dict[str, Any]:
    """One of its events in our shape."""
    kind, properties = one.get("type"), one.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    known = properties.get("$is_login_id", True) is not False
    message: dict[str, Any] = {
        "messageId": _id(one),
        "timestamp": _time(one.get("time")),
        "context": {"ip": properties.get("$ip"), "os": {"name": properties.get("$os")}},
    }
    who = one.get("distinct_id")
    message["userId" if known else "anonymousId"] = who
    if kind == "track":
        return message | {"type": "track", "event": one.get("event"), "properties": properties}
    if kind == "track_signup":
        return message | {
            "type": "identify",
            "userId": who,
            "anonymousId": one.get("original_id"),
            "traits": {name: value for name, value in properties.items() if not name.startswith("$")},
        }
    if kind in _PROFILE:
        return message | {"type": "identify", "traits": properties if kind != "profile_unset" else {}}
    return message | {"type": kind}


def _id(one: dict[str, Any]) -> str | None:
    """`_track_id` is a random number of 31 bits: unique only beside its customer and time."""
    track = one.get("_track_id")
    return None if track is None else f"{track}-{one.get('time')}-{one.get('distinct_id')}"[:512]


def _time(millis: Any) -> str | None:
    try:
        return datetime.fromtimestamp(float(millis) / 1000, UTC).isoformat().replace("+00:00", "Z")
    except (TypeError, ValueError, OverflowError, OSError):  # absent or no time: the time of receipt stands
        return None
