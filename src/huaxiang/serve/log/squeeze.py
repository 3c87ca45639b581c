"""Bodies squeezed before they are sealed: JSON of many like messages becomes a tenth of its size, and the disk has less to do."""

from __future__ import annotations

import pyarrow as pa

SMALL = 256  # bytes below which it is not worth it
PLAIN, ZSTD = b"\x00", b"\x01"  # the first byte; a body without either is of before there was any
SIZE = 4  # bytes that tell the length of what was squeezed

_codec = pa.Codec("zstd", compression_level=1)  # bench/log.md


def squeeze(body: bytes) -> bytes:
    if len(body) < SMALL:
        return PLAIN + body
    return ZSTD + len(body).to_bytes(SIZE, "big") + _codec.compress(body, asbytes=True)


def unsqueeze(content: bytes) -> bytes:
    """The body that `squeeze` was given."""
    kind = content[:1]
    if kind == PLAIN:
        return content[1:]
    if kind == ZSTD:
        size = int.from_bytes(content[1 : 1 + SIZE], "big")
        return _codec.decompress(content[1 + SIZE :], decompressed_size=size, asbytes=True)
    return content
