"""A CSV file that DuckDB refuses, line by line: the rows it holds go on, the lines that are none are named.

DuckDB's own tolerant mode loses thousands of rows after one unclosed quote and stops at mixed line ends, so it reads strictly,
and a file it refuses passes through here first. Memory is bounded by one row.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from huaxiang.collect.files import LONGEST_LINE

LONGEST_ROW = 200  # lines a quoted field may run over before its quote counts as unclosed
KEPT = 10_000  # characters of a rejected line that are kept


@dataclass(frozen=True)
class Reject:
    """A line that is no row. `text` goes to the vault, never to the lake."""

    line: int
    reason: str
    text: str


def sieve_csv(text: BinaryIO, clean: BinaryIO, columns: int, delimiter: str, quote: str, skip: int) -> Iterator[Reject]:
    """Write the rows of `text` (after `skip` lines) to `clean` as strict CSV; gives each line that is no row."""
    out = csv.writer(wrapper := io.TextIOWrapper(clean, encoding="utf-8", newline="", write_through=True), delimiter=delimiter, quotechar=quote or None, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE, lineterminator="\n")  # fmt: skip
    fence, sign = delimiter.encode(), quote.encode()
    lines = _lines(text)
    pending: list[tuple[int, bytes]] = []
    more: list[tuple[int, bytes]]
    buffer: list[bytes] = []
    while True:
        number, line = pending.pop() if pending else next(lines, (0, b""))
        if not number:
            break
        if number <= skip:
            continue
        if len(line) > LONGEST_LINE:
            yield _reject(number, "too_long", line)
            continue
        row = line.rstrip(b"\r\n")
        if not row and columns > 1:
            continue
        if not sign or sign not in row:
            if row.count(fence) == columns - 1 and b"\x00" not in row and b"\r" not in row:
                buffer.append(row)
                if len(buffer) > 10_000:
                    clean.write(_joined(buffer))
                    buffer.clear()
                continue
            cells, more = row.decode("utf-8", "replace").split(delimiter), []
        else:
            found, more = _quoted(line, number, lines, pending, delimiter, quote)
            if found is None:
                yield _reject(number, "quote", line)
                pending += reversed(more)
                continue
            cells = found
        while len(cells) > columns and not cells[-1]:
            cells.pop()
        if len(cells) != columns:
            yield _reject(
                number, "too_many" if len(cells) > columns else "too_few", b"".join([line, *(part for _, part in more)])
            )
            continue
        if buffer:
            clean.write(_joined(buffer))
            buffer.clear()
        out.writerow(cells)
    if buffer:
        clean.write(_joined(buffer))
    wrapper.flush()
    wrapper.detach()


def _quoted(
    line: bytes,
    number: int,
    lines: Iterator[tuple[int, bytes]],
    pending: list[tuple[int, bytes]],
    delimiter: str,
    quote: str,
) -> tuple[list[str] | None, list[tuple[int, bytes]]]:
    """The cells of a row with quotes, which may run on over lines (given too); None where it is no row."""
    more: list[tuple[int, bytes]] = []
    record = line
    while True:
        text = record.decode("utf-8", "replace")
        if text.count(quote) % 2 == 0 or len(more) >= LONGEST_ROW or len(record) > LONGEST_LINE:
            try:
                rows = list(
                    csv.reader(
                        io.StringIO(text.rstrip("\r\n"), newline=""), delimiter=delimiter, quotechar=quote, strict=True
                    )
                )
            except csv.Error:
                return None, more
            return (rows[0] if len(rows) == 1 else None), more
        following = pending.pop() if pending else next(lines, None)
        if following is None:
            return None, more
        more.append(following)
        record += following[1]


def _lines(text: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line with its number; of one longer than the limit, its beginning (the rest is passed over)."""
    number = 0
    while line := text.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := text.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        yield number, line


def _joined(rows: list[bytes]) -> bytes:
    """The rows as lines of valid UTF-8 (a character cut off at the file's end is replaced)."""
    return b"\n".join(rows).decode("utf-8", "replace").encode() + b"\n"


def _reject(number: int, reason: str, line: bytes) -> Reject:
    return Reject(number, reason, line[: 4 * KEPT].decode("utf-8", "replace").rstrip("\r\n")[:KEPT])
