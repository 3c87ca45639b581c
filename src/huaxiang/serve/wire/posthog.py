"""PostHog's clients: POST /batch/ with `{api_key, batch: [{event, distinct_id, properties, timestamp, uuid}], sent_at}`."""

from __future__ import annotations

from typing import Any

from huaxiang.serve.wire.message import WireError, make_batch, read_object

_SPECIAL = {"$identify": "identify", "$set": "identify", "$create_alias": "alias", "$pageview": "page", "$screen": "screen", "$groupidentify": "group"}  # fmt: skip


def read(body: bytes) -> tuple[bytes, str | None]:
    """The body as a batch, and its write key; raises WireError."""
    found = read_object(body)
    events = found.get("batch", [found] if "event" in found else None)
    if not isinstance(events, list):
        raise WireError("bad_batch", "batch must be a list")
    key = found.get("api_key") or found.get("token")
    sent = found.get("sent_at")
    messages = [to_message(event) if isinstance(event, dict) else {"type": event} for event in events]
    return make_batch(messages, sent if isinstance(sent, str) else None), key if isinstance(key, str) else None


def to_message(event: dict[str, Any]) -> dict[str, Any]:
    """One of PostHog's events in our shape."""
    properties = event.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    name, who = event.get("event"), event.get("distinct_id", properties.get("distinct_id"))
    type = _SPECIAL.get(name, "track") if isinstance(name, str) else "track"
    message: dict[str, Any] = {
        "type": type,
        "messageId": event.get("uuid") or event.get("messageId"),
        "timestamp": event.get("timestamp"),
        "userId": who,
    }
    if type == "track":
        message["event"] = name
    if type == "identify":
        traits = {**_dict(event.get("$set_once")), **_dict(properties.get("$set_once"))}
        message["traits"] = {**traits, **_dict(event.get("$set")), **_dict(properties.get("$set"))}
        message["anonymousId"] = properties.get("$anon_distinct_id")
    elif type == "alias":
        message["previousId"], message["userId"] = properties.get("distinct_id", who), properties.get("alias")
    elif type == "group":
        message["groupId"], message["traits"] = properties.get("$group_key"), _dict(properties.get("$group_set"))
    if type in ("track", "page", "screen", "alias"):
        message["properties"] = {key: value for key, value in properties.items() if key != "distinct_id"}
    if properties.get("$process_person_profile") is False and type == "track":  # a visitor nobody has identified
        message["anonymousId"], message["userId"] = who, None
    return message


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
