"""A pulled row, or a message as an SDK would have sent it → messages of the one shape (wire/message.py)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from huaxiang.serve.wire import posthog, sensors
from huaxiang.serve.wire.message import TYPES, WireError, read_object

_NAMES = {"user_id": "userId", "anonymous_id": "anonymousId", "event": "event", "event_id": "messageId"}
_WHO = ("userId", "anonymousId", "previousId")
DEEPEST = 50


class UnfitError(Exception):
    """A row that cannot be a message. reason: for the quarantine"""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Shape:
    """How the rows of one pull are read. fields: column of ours → the shop's; event: what a row without one is; zone: of times without one"""

    def __init__(self, fields: Mapping[str, str], *, event: str, zone: str) -> None:
        self._of = {ours: fields.get(ours, ours) for ours in (*_NAMES, "ts")}
        self._taken = set(self._of.values())
        self._event, self._zone = event or None, ZoneInfo(zone)

    def messages(
        self, content: Mapping[str, Any] | bytes, made: str, at: datetime | None = None
    ) -> list[dict[str, Any]]:
        """The messages of one row (or of a whole batch in JSON). made: the id of one that brings none; at: when, where it does not say.

        raises: UnfitError
        """
        if isinstance(content, bytes):
            try:
                content = read_object(content)
            except WireError as error:
                raise UnfitError(error.code) from error
        batch = content.get("batch")
        if not isinstance(batch, list):
            return [self._one(content, made, at)]
        sent = {"sentAt": content["sentAt"]} if isinstance(content.get("sentAt"), str) else {}
        found = []
        for number, one in enumerate(batch):
            if not isinstance(one, dict):
                raise UnfitError("shape")
            found.append(self._one(sent | one, f"{made}.{number}", at))
        return found

    def _one(self, row: Mapping[str, Any], made: str, at: datetime | None) -> dict[str, Any]:
        if row.get("type") in TYPES and any(name in row for name in _WHO):
            message = dict(row)
        elif "distinct_id" in row and "time" in row and isinstance(row.get("type"), str):
            message = sensors.to_message(dict(row))
        elif isinstance(row.get("event"), str) and _has_distinct_id(row):
            message = posthog.to_message(dict(row))
        else:
            message = self._flat(row)
        if message.get("messageId") in (None, ""):
            message["messageId"] = made
        if at is not None and not message.get("timestamp") and not message.get("originalTimestamp"):
            message["timestamp"] = at.isoformat()
        return {name: value for name, value in message.items() if value is not None}

    def _flat(self, row: Mapping[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = {"type": "track", "timestamp": self._time(row.get(self._of["ts"]))}
        for ours, name in _NAMES.items():
            value = plain(row.get(self._of[ours]))
            if value is not None and value != "":
                message[name] = value if isinstance(value, str | int) and not isinstance(value, bool) else str(value)
        message.setdefault("event", self._event)
        if message["event"] is not None:
            message["event"] = str(message["event"])
        properties = {name: plain(value) for name, value in row.items() if name not in self._taken}
        message["properties"] = {name: value for name, value in properties.items() if value is not None}
        return message

    def _time(self, value: Any) -> str | None:
        """ISO 8601 of a time, a text or a number of seconds, milliseconds or microseconds since 1970; raises UnfitError."""
        if value is None or value == "":
            return None
        try:
            if isinstance(value, bool):
                raise UnfitError("time")
            if isinstance(value, str):
                text = value.strip().replace("/", "-")
                counted = text.replace(".", "", 1).isdigit() and len(text) != 8  # eight digits are a day
                value = float(text) if counted else datetime.fromisoformat(text)
            if isinstance(value, int | float | Decimal):
                number = float(value)
                seconds = number / (1 if number < 1e11 else 1e3 if number < 1e14 else 1e6)
                return datetime.fromtimestamp(seconds, UTC).isoformat()
            if isinstance(value, date) and not isinstance(value, datetime):
                value = datetime.combine(value, time())
            return (value if value.tzinfo else value.replace(tzinfo=self._zone)).astimezone(UTC).isoformat()
        except (ValueError, OverflowError, OSError, AttributeError, TypeError) as error:
            raise UnfitError("time") from error


def plain(value: Any, depth: int = 0) -> Any:
    """A value of a database or a file as JSON has it; None of what has no place there."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | Decimal):
        number = float(value)
        if not isfinite(number):
            return None
        return int(number) if isinstance(value, Decimal) and number == int(number) else number
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if depth >= DEEPEST:
        raise UnfitError("too_deep")
    if isinstance(value, Mapping):
        return {str(name): plain(one, depth + 1) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, depth + 1) for one in value]
    return None  # bytes and the like


def _has_distinct_id(row: Mapping[str, Any]) -> bool:
    properties = row.get("properties")
    return "distinct_id" in row or (isinstance(properties, dict) and "distinct_id" in properties)
