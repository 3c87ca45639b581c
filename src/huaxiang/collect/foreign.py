"""The few lines of a text file that are in another encoding: taken out, each with its number and its bytes, so that the rest can be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from huaxiang.collect.squeeze import Squeezer
from huaxiang.settings import SourceSettings

FEW = 0.01  # of the lines; more: the encoding is stated wrong, not the lines
MOST = 100_000  # lines, however long the file is
LONGEST = 1 << 22  # bytes of a line; a longer one is none of a table
_BY_STATE = ("utf-16", "utf-32", "utf-7", "utf_7", "hz", "iso2022")  # a line alone cannot be told there


@dataclass(frozen=True)
class Foreign:
    """line: from 1; text: what can be read of it, other bytes written as \\xb4."""

    line: int
    text: str


def copy_without_foreign(
    chunks: Iterable[bytes], encoding: str, source: SourceSettings, copy: BinaryIO
) -> tuple[Foreign, ...] | None:
    """Writes the lines that are in `encoding` to `copy` as UTF-8; gives the others (None: there are too many, or the header is among them)."""
    if encoding.startswith(_BY_STATE):
        return None
    plain = "utf-8" if encoding in ("utf-8-sig", "ascii") else encoding
    found: list[Foreign] = []
    first_row = source.skip + 1 + source.header
    squeeze, number = Squeezer(), 0
    for number, line in enumerate(_lines(chunks), 1):
        if len(line) > LONGEST:
            return None
        try:
            text = line.decode(plain)
        except UnicodeDecodeError:
            if number < first_row or len(found) >= MOST:
                return None
            found.append(Foreign(number, line.decode(plain, "backslashreplace").rstrip("\r\n")))
            continue
        copy.write((squeeze(text) if source.delimiter == " " else text).encode())
    copy.flush()
    return tuple(found) if len(found) <= FEW * number else None


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Each line with its end; one that is far too long ends them."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > LONGEST:
            break
    if rest:
        yield rest
