"""What an ONNX file says before anything runs it: a reader of its protobuf, so that a file that points outside itself is never opened.

Only where tensors, nodes and metadata lie is followed; the numbers of a model are skipped.
source: onnx.proto of ONNX 1.23 (the field numbers)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from huaxiang.errors import ModelError

# Which fields of each message are followed: number -> the message in it. The rest is skipped.
FOLLOWED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 14: "entry", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
    "entry": {},
}
DEEPEST = 100  # messages inside one another, as protobuf itself allows
NUMBERS = re.compile(rb"(?:\x3d[\s\S]{4}|\x40[\x80-\xff]*[\x00-\x7f])+")  # runs of an attribute's floats and ints
DATA_LOCATION, EXTERNAL_DATA = 14, 13  # fields of a tensor
LOW32 = 0xFFFFFFFF  # protobuf keeps the low half of longer tags and enums: reading more would be a way around


@dataclass
class OnnxContents:
    """`domains`: of its operators; `own`: domains of functions the file defines itself; `external`: it points at other files."""

    metadata: dict[str, str] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    graphs: int = 0
    external: bool = False


def read_onnx(content: bytes) -> OnnxContents:
    """What the ONNX file `content` holds; raises ModelError where it is not one."""
    found = OnnxContents()
    try:
        _follow(content, 0, len(content), "model", found, 0)
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise ModelError("models.onnx.not_onnx") from error
    if not found.graphs:
        raise ModelError("models.onnx.not_onnx")
    return found


def _follow(content: bytes, start: int, end: int, kind: str, found: OnnxContents, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("messages too deep")
    texts: dict[int, str] = {}
    for number, value, first, last in _fields(content, start, end, skip=kind == "attribute"):
        inner = FOLLOWED[kind].get(number)
        if inner is not None and value is None:
            found.graphs += inner == "graph"
            _follow(content, first, last, inner, found, depth + 1)
        elif kind == "tensor":
            found.external |= number == EXTERNAL_DATA or (
                number == DATA_LOCATION and value is not None and value & LOW32 == 1
            )
        elif (kind, number) in (("node", 7), ("function", 10), ("entry", 1), ("entry", 2)):
            texts[number] = content[first:last].decode("utf-8")
    if kind == "node":
        found.domains.add(texts.get(7, ""))
    elif kind == "function":
        found.own.add(texts.get(10, ""))
    elif kind == "entry" and 1 in texts:
        found.metadata[texts[1]] = texts.get(2, "")


def _fields(content: bytes, at: int, end: int, *, skip: bool) -> Iterator[tuple[int, int | None, int, int]]:
    """Each field of the message: number, value of a whole number (None: bytes), where its bytes begin and end."""
    while at < end:
        if skip and (numbers := NUMBERS.match(content, at, end)) is not None:
            at = numbers.end()
            continue
        tag, at = _varint(content, at, end)
        number, wire = (tag & LOW32) >> 3, tag & 7
        if wire == 0:
            value, at = _varint(content, at, end)
            yield number, value, at, at
            continue
        length, at = _varint(content, at, end) if wire == 2 else ({1: 8, 5: 4}[wire] if wire in (1, 5) else -1, at)
        if length < 0 or not number or at + length > end:
            raise ValueError("no protobuf")
        yield number, None, at, at + length
        at += length


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("no whole number")
