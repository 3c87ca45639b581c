"""Snowplow's tracker protocol v2: POST /com.snowplowanalytics.snowplow/tp2 with `{schema, data: [{e, eid, …}]}`, GET /i?…

source: https://docs.snowplow.io/docs/events/going-deeper/event-parameters/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from huaxiang.serve.wire.message import WireError, make_batch, read_object

_TYPES = {"pv": "page", "pp": "track", "se": "track", "ue": "track", "tr": "track", "ti": "track"}
_NAMES = {"pp": "Page Ping", "tr": "Order Completed", "ti": "Product Purchased"}


def read(body: bytes) -> tuple[bytes, list[str | None]]:
    """The body of a POST as a batch, and its tracker's app_id, which is the write key; raises WireError."""
    data = read_object(body).get("data")
    if not isinstance(data, list):
        raise WireError("bad_batch", "data must be a list of events")
    made = make_batch([_message(one) if isinstance(one, dict) else {"type": one} for one in data], _sent(data))
    keys = (one.get("aid") for one in data if isinstance(one, dict))
    return made, [next((key for key in keys if isinstance(key, str)), None)]


def read_query(query: Mapping[str, str]) -> bytes:
    """The query of a GET as a batch."""
    return make_batch([_message(query)], _sent([query]))


def _message(one: Mapping[str, Any]) -> dict[str, Any]:
    kind = one.get("e")
    message: dict[str, Any] = {
        "type": _TYPES.get(kind, kind) if isinstance(kind, str) else kind,
        "messageId": one.get("eid"),
        "timestamp": _time(one.get("ttm") or one.get("dtm")),
        "userId": one.get("uid"),
        "anonymousId": one.get("duid") or one.get("nuid") or one.get("sid"),
        "context": {"page": {"url": one.get("url"), "referrer": one.get("refr")}, "userAgent": one.get("ua")},
    }
    if kind == "pv":
        return message | {"name": one.get("page"), "properties": {"title": one.get("page"), "url": one.get("url")}}
    if kind == "se":
        said = {"category": "se_ca", "action": "se_ac", "label": "se_la", "property": "se_pr", "value": "se_va"}
        properties = {name: one[key] for name, key in said.items() if one.get(key) is not None}
        return message | {"event": one.get("se_ac"), "properties": properties}
    if kind == "ue":
        name, properties = _self_described(one)
        return message | {"event": name, "properties": properties}
    return message | {"event": _NAMES.get(str(kind)), "properties": dict(one)}


def _self_described(one: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Name and properties of a self-describing event: base64 (`ue_px`) or plain (`ue_pr`)."""
    packed, plain = one.get("ue_px"), one.get("ue_pr")
    try:
        if isinstance(packed, str):
            plain = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
        outer = msgspec.json.decode(plain) if isinstance(plain, str) else {}
    except (binascii.Error, ValueError, RecursionError):  # no JSON; the message is refused for its missing name
        return None, {}
    inner = outer.get("data") if isinstance(outer, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("data", {}), dict):
        return None, {}
    schema = str(inner.get("schema", ""))  # iglu:com.acme/add_to_cart/jsonschema/1-0-0
    parts = schema.removeprefix("iglu:").split("/")
    return (parts[1] if len(parts) > 1 else None), inner.get("data", {})


def _time(millis: Any) -> str | None:
    """ISO 8601 of milliseconds since 1970, which trackers send as text."""
    try:
        return datetime.fromtimestamp(int(millis) / 1000, UTC).isoformat().replace("+00:00", "Z")
    except (TypeError, ValueError, OverflowError, OSError):  # absent or no time: the time of receipt stands
        return None


def _sent(data: list[Any]) -> str | None:
    return next((_time(one["stm"]) for one in data if isinstance(one, Mapping) and one.get("stm")), None)
