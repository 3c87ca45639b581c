"""Compressed bodies, unpacked within a bound: a bomb is refused before it is unpacked."""

from __future__ import annotations

import zlib

from huaxiang.serve.wire.message import WireError

LARGEST = 20 * 1024 * 1024  # bytes of a body, packed or not


def unzip(content: bytes, largest: int = LARGEST) -> bytes:
    """gzip or zlib; raises WireError (413 above `largest` bytes)."""
    made, left = [], largest
    try:
        while content:
            unpacker = zlib.decompressobj(wbits=47)  # either header
            made.append(unpacker.decompress(content, left + 1))
            left -= len(made[-1])
            if left < 0 or unpacker.unconsumed_tail:
                raise WireError("too_large", f"the body holds more than {largest} bytes once unpacked", 413)
            if not unpacker.eof:
                raise WireError("bad_gzip", "the compressed body is cut short")
            content = unpacker.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise WireError("bad_gzip", "the body is not gzip") from error
    return b"".join(made)
