"""A batch as it was sent or pulled → a request of the log, with what of it is no good marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from huaxiang.serve.log.ids import hash_id
from huaxiang.serve.log.log import Request
from huaxiang.serve.wire.message import Batch, Refused, encode, find_faults
from huaxiang.store import Writer


def make_request(
    source: str,
    now: int,
    body: bytes,
    batch: Batch,
    refused: Sequence[Refused],
    then: Callable[[Writer], None] | None = None,
    as_came: Callable[[int], bytes] | None = None,
) -> Request:
    """The request of a batch. body: what `batch` was read from; refused: what of it is no good already; now: µs since 1970; as_came: what
    the quarantine keeps of a message, by its place (default: the message)"""
    messages = batch.batch
    faults = find_faults(batch)
    as_came = as_came or (lambda at: encode(messages[at]))
    bad = [*refused, *(Refused(at, why, as_came(at)) for at, why in faults)]
    ids = [None if one.messageId is None else hash_id(source, one.messageId) for one in messages]
    return Request(source, now, body, ids, bad, {at for at, _ in faults}, then)
