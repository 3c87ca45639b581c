"""What broke the contract: looked at with personal values masked, sent through the log again, let go of."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from huaxiang.serve.log import Log, make_request
from huaxiang.serve.pull.shape import Shape, UnfitError
from huaxiang.serve.wire.message import Refused, WireError, encode, read_batch, read_object
from huaxiang.store import Writer
from huaxiang.trust import Pseudonyms
from huaxiang.trust.scrub import mask_text, mask_value

AT_ONCE = 500
SHOWN = 600  # characters of a message
_IDS = frozenset({"userid", "anonymousid", "previousid", "user_id", "anonymous_id", "distinct_id", "groupid", "$anon_distinct_id"})  # fmt: skip
_PERSONAL = frozenset(
    {"name", "firstname", "lastname", "email", "phone", "mobile", "address", "birthday", "username", "ip", "avatar", "row", "useragent", "street", "postalcode"}
)  # fmt: skip
_OF_PEOPLE = frozenset({"traits", "set", "set_once"})


@dataclass(frozen=True)
class Kept:
    """A message in the quarantine. content: masked, fit to be shown"""

    number: int
    source: str
    received_at: datetime
    stage: str
    reason: str
    content: str


@dataclass(frozen=True)
class Replayed:
    """What a replay came to. sent: messages that are in the log now; again: back in the quarantine; left: files, which are read anew when
    they change"""

    sent: int
    again: int
    left: int


class Quarantine:
    """That of one log. shapes: how the rows of each pull are read, by its name"""

    def __init__(self, log: Log, pseudonyms: Pseudonyms, shapes: Mapping[str, Shape]) -> None:
        self._log, self._pseudonyms, self._shapes = log, pseudonyms, shapes

    def counts(self, reason: str = "") -> dict[tuple[str, str, str], int]:
        """(source, stage, reason) → messages that were not sent through again, the most first."""
        found = {key: n for key, n in self._log.refusals().items() if reason in ("", key[2])}
        return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))

    def newest(self, reason: str = "", *, limit: int = 20) -> list[Kept]:
        """The newest that were not sent through again."""
        sql, values = _where(reason)
        found = self._log.database.rows(
            f"SELECT id, source, received_at, stage, reason, body FROM refused WHERE {sql} ORDER BY id DESC LIMIT ?",
            (*values, limit),
        )
        return [
            Kept(number, source, datetime.fromtimestamp(at / 1e6, UTC), stage, why, self._masked(self._log.open(body)))
            for number, source, at, stage, why, body in found
        ]

    def replay(self, now: int, reason: str = "") -> Replayed:
        """Sends what was not sent through again; each is marked in the transaction that writes it. now: µs since 1970"""
        sql, values = _where(reason)
        ask = self._log.database.rows
        left = int(ask(f"SELECT count(*) FROM refused WHERE {sql} AND stage = 'file'", values)[0][0])
        upto = int(ask("SELECT coalesce(max(id), 0) FROM refused")[0][0])  # not those that fail again
        sent = again = after = 0
        while found := ask(
            f"SELECT id, source, stage, received_at, body FROM refused WHERE {sql} AND stage <> 'file' AND id > ? AND id <= ? "
            "ORDER BY id LIMIT ?",
            (*values, after, upto, AT_ONCE),
        ):
            after = found[-1][0]
            for (source, stage), rows in itertools.groupby(sorted(found, key=lambda row: row[1:3]), key=lambda row: row[1:3]):  # fmt: skip
                new, bad = self._send(source, stage, [(number, at, self._log.open(body)) for number, *_, at, body in rows], now)  # fmt: skip
                sent, again = sent + new, again + bad
        return Replayed(sent, again, left)

    def drop(self, before: int) -> int:
        """Deletes what came before (µs since 1970); gives how many."""
        with self._log.database.transaction() as write:
            return write.run("DELETE FROM refused WHERE received_at < ?", (before,))

    def _send(self, source: str, stage: str, rows: Sequence[tuple[int, int, bytes]], now: int) -> tuple[int, int]:
        """Writes messages of one source and stage; gives how many are in the log now, and how many were refused again."""
        messages: list[bytes] = []
        refused: list[Refused] = []
        for number, received, content in rows:
            try:
                for message in self._read(source, content, f"quarantine-{number}"):
                    messages.append(encode(_with_time(message, datetime.fromtimestamp(received / 1e6, UTC))))
            except UnfitError as unfit:
                refused.append(Refused(0, unfit.reason, content))
        body = b'{"batch":[' + b",".join(messages) + b"]}"
        batch, misshapen = read_batch(body)

        def mark(write: Writer) -> None:
            write.run_many("UPDATE refused SET replayed_at = ? WHERE id = ?", [(now, number) for number, *_ in rows])

        request = make_request(source, now, body, batch, [*refused, *misshapen], mark)
        if stage == "map":  # the log knows their ids: they came as far as the worker
            request.ids = [None] * len(request.ids)
        (new,) = self._log.append([request])
        return new, len(request.refused)

    def _read(self, source: str, content: bytes, made: str) -> list[dict[str, Any]]:
        if source in self._shapes:
            return self._shapes[source].messages(content, made)
        try:
            return [read_object(content)]
        except WireError as error:
            raise UnfitError("shape") from error

    def _masked(self, content: bytes) -> str:
        try:
            found = msgspec.json.decode(content)
            shown = encode(self._mask(found, "")).decode() if isinstance(found, dict) else mask_value(str(found))
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            shown = mask_value(content.decode("utf-8", "replace"))
        return shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"

    def _mask(self, value: Any, name: str) -> Any:
        """The value under `name`: ids as pseudonyms, what names a person as …, texts scrubbed; of what is said of a person no letter."""
        bare = name.lower().lstrip("$")
        if name.lower() in _IDS and isinstance(value, str | int):
            return self._pseudonyms.of(str(value))
        if bare in _PERSONAL and value not in (None, ""):
            return "…"
        if isinstance(value, dict):
            inner = {key: self._mask(one, key) for key, one in value.items()}
            return {key: mask_value(one) if bare in _OF_PEOPLE and isinstance(one, str) and one != "…" else one for key, one in inner.items()}  # fmt: skip
        if isinstance(value, list):
            return [self._mask(one, name) for one in value]
        return mask_text(value) if isinstance(value, str) else value


def _where(reason: str) -> tuple[str, tuple[str, ...]]:
    return ("replayed_at IS NULL AND reason = ?", (reason,)) if reason else ("replayed_at IS NULL", ())


def _with_time(message: dict[str, Any], received: datetime) -> dict[str, Any]:
    """The message with the time at which it happened by our clock, as it was received first: now it is received late."""
    said = message.get("originalTimestamp") or message.get("timestamp")
    if said is None:
        return message | {"timestamp": received.isoformat()}
    try:
        happened, sent = _moment(said), _moment(message["sentAt"])
        at = received - (sent - happened)
    except (KeyError, TypeError, ValueError, OverflowError):  # it says no time that we know to correct
        return message
    rest = {name: value for name, value in message.items() if name not in ("sentAt", "originalTimestamp")}
    return rest | {"timestamp": at.isoformat()}


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
