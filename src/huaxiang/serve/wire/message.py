"""The one shape that everything on the wire is brought to: Segment's messages, in batches.

source: https://segment.com/docs/connections/spec/common/ ; the names are the specification's own
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

TYPES = frozenset({"track", "identify", "page", "screen", "group", "alias", "merge"})
LONGEST_ID = 512
LONGEST_NAME = 512
EVENT_BYTES = 32 * 1024  # of one message; Segment's own limit
EMPTY = msgspec.Raw(b"{}")
Id = str | int | None


class Message(msgspec.Struct, gc=False):
    """One message. What is `Raw` is read only when it is mapped."""

    type: str = "track"
    messageId: Id = None  # noqa: N815
    userId: Id = None  # noqa: N815
    anonymousId: Id = None  # noqa: N815
    previousId: Id = None  # noqa: N815
    groupId: Id = None  # noqa: N815
    event: str | None = None
    name: str | None = None
    category: str | None = None
    timestamp: str | None = None
    originalTimestamp: str | None = None  # noqa: N815
    sentAt: str | None = None  # noqa: N815
    properties: msgspec.Raw = EMPTY
    traits: msgspec.Raw = EMPTY
    context: msgspec.Raw = EMPTY


class Batch(msgspec.Struct, gc=False):
    """What one request brought. context: merged into that of each message"""

    batch: list[Message]
    sentAt: str | None = None  # noqa: N815
    writeKey: str | None = None  # noqa: N815
    context: msgspec.Raw = EMPTY


class _Envelope(msgspec.Struct):
    batch: list[msgspec.Raw]
    sentAt: Any = None  # noqa: N815
    writeKey: Any = None  # noqa: N815
    context: msgspec.Raw = EMPTY


class WireError(Exception):
    """A whole request that cannot be read. code: for machines; detail: for people, without any of the content"""

    def __init__(self, code: str, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.code, self.detail, self.status = code, detail, status


class LaterError(WireError):
    """What may come again after `seconds`."""

    def __init__(self, code: str, detail: str, status: int, *, seconds: float) -> None:
        super().__init__(code, detail, status)
        self.seconds = seconds


@dataclass(frozen=True)
class Refused:
    """A message that is no good. index: its place in the request; content: as it came; stage: see Log.refuse"""

    index: int
    reason: str
    content: bytes
    stage: str = "collect"


batch_decoder = msgspec.json.Decoder(Batch)
_message = msgspec.json.Decoder(Message)
_envelope = msgspec.json.Decoder(_Envelope)
_object = msgspec.json.Decoder(dict[str, Any])
encode = msgspec.json.encode
_is_time = re.compile(r"\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}|$)").match


def read_batch(body: bytes) -> tuple[Batch, list[Refused]]:
    """The batch of a body, and what of it is no good (the messages left stay in their order; see `Refused.index`).

    raises: WireError where the body is no batch at all
    """
    try:
        return batch_decoder.decode(body), []
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return _read_one_by_one(body)


def find_faults(batch: Batch) -> list[tuple[int, str]]:
    """The places in `batch` of messages that break the contract, and why."""
    return [(at, why) for at, message in enumerate(batch.batch) if (why := _fault(message))]


def _fault(message: Message) -> str:
    """Asked of every message, so in as few steps as may be."""
    type, user, visitor, before = message.type, message.userId, message.anonymousId, message.previousId
    if type not in TYPES:
        return "type"
    if not visitor and (user == "" or (user is None and (before is None and visitor is None))):
        return "no_user"
    name = message.event
    if name is None:
        if type == "track":
            return "no_event"
    elif len(name) > LONGEST_NAME:
        return "long_name"
    elif not name and type == "track":
        return "no_event"
    if len(message.properties) + len(message.traits) + len(message.context) > EVENT_BYTES:
        return "too_large"
    number = message.messageId
    if (
        (user.__class__ is str and len(user) > LONGEST_ID)
        or (visitor.__class__ is str and len(visitor) > LONGEST_ID)
        or (number.__class__ is str and len(number) > LONGEST_ID)
        or (before.__class__ is str and len(before) > LONGEST_ID)
    ):
        return "long_id"
    if (time := message.timestamp) is not None and _is_time(time) is None:
        return "time"
    if (time := message.originalTimestamp) is not None and _is_time(time) is None:
        return "time"
    return ""


def _read_one_by_one(body: bytes) -> tuple[Batch, list[Refused]]:
    """A batch of which some message (or all of it) does not have the shape."""
    outer = _open_envelope(body)
    good: list[Message] = []
    bad: list[Refused] = []
    for index, raw in enumerate(outer.batch):
        try:
            good.append(_message.decode(raw))
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            bad.append(Refused(index, "shape", bytes(raw)))
    context = outer.context
    made = Batch(good, _text(outer.sentAt), _text(outer.writeKey), context)
    return made, bad


def _open_envelope(body: bytes) -> _Envelope:
    """raises: WireError where the body is no batch"""
    try:
        try:
            return _envelope.decode(body)
        except msgspec.DecodeError:
            return _envelope.decode(_without_halves(body))
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise WireError("bad_json", f"the body is no JSON batch: {_place(error)}") from error
    except RecursionError as error:
        raise WireError("too_deep", "the body is nested too deeply") from error


def _without_halves(body: bytes) -> bytes:
    """The JSON with `?` for each half of a surrogate pair: a browser writes one where a text was cut within a character, and a whole
    batch must not be lost for it. Raises ValueError where it is no JSON at all."""
    return json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object; raises WireError."""
    try:
        return _object.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise WireError("bad_json", f"the body is no JSON object: {_place(error)}") from error
    except RecursionError as error:
        raise WireError("too_deep", "the body is nested too deeply") from error


def make_batch(messages: Sequence[dict[str, Any]], sent_at: str | None = None) -> bytes:
    """The body of a batch from messages as plain dictionaries; what is None is left out."""
    plain = [{name: value for name, value in message.items() if value is not None} for message in messages]
    return encode({"batch": plain, "sentAt": sent_at} if sent_at else {"batch": plain})


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _place(error: Exception) -> str:
    """msgspec says where and what kind, never the content; of other errors only their kind is told."""
    return str(error) if isinstance(error, msgspec.MsgspecError) else type(error).__name__
