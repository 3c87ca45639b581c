"""A first look at a file or database table: format, encoding, delimiter, header, and what each column holds."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huaxiang.collect.guess_names import is_known_name
from huaxiang.collect.seen import HEAD_ROWS, SAMPLE_ROWS, TOO_WIDE, Look
from huaxiang.collect.sniff_bytes import Sample, sample_file
from huaxiang.collect.sniff_typed import look_at_json_lines, look_at_parquet, look_at_records, read_array
from huaxiang.collect.sniff_values import look_at_column
from huaxiang.errors import SourceError

_DELIMITERS = ("\t", ",", ";", "|", "\x01")


def look_at_file(path: Path, origin: str) -> Look:
    """What the file holds; raises SourceError where it cannot be read as rows and columns."""
    sample = sample_file(path)
    if sample.kind == "parquet":
        return look_at_parquet(path, origin)
    if sample.kind in ("sqlite", "duckdb"):
        raise SourceError("init.database_file", path=path, kind=sample.kind)
    start = sample.head.lstrip("\ufeff \t\r\n")
    if start.startswith("{"):
        return look_at_json_lines(sample, origin)
    if start.startswith("[") and re.match(r"\[\s*\{", start):
        return look_at_records(sample, origin, *read_array(start))
    return _look_at_csv(sample, origin)


def _look_at_csv(sample: Sample, origin: str) -> Look:
    head = sample.head.lstrip("\ufeff")
    first = head.partition("\n")[0]
    widest = max(first.count(mark) for mark in _DELIMITERS)
    if widest > TOO_WIDE:
        raise SourceError("init.too_wide", path=sample.path, columns=f"{widest + 1:,}", limit=f"{TOO_WIDE:,}")
    delimiter, quote = guess_delimiter(head), _guess_quote(head)
    rows = split_rows(head, delimiter, quote, limit=HEAD_ROWS)
    if sample.spread == () and len(rows) > 1 and not head.endswith("\n"):
        rows = rows if len(rows[-1]) == len(rows[0]) else rows[:-1]
    skip = _count_preamble(rows)
    rows = rows[skip:]
    width = _usual_width(rows)
    if width == 1 and len(rows) > 1 and not is_known_name(rows[0][0]):
        raise SourceError("init.one_column", path=sample.path)
    header = has_header(rows)
    body = rows[1:] if header else rows
    per_window = max(1, (SAMPLE_ROWS - len(body)) // max(len(sample.spread), 1))
    for window in sample.spread:
        body.extend(_thin(split_rows(window, delimiter, quote, limit=2000), per_window))
    names, renamed = name_columns(rows[0] if header else [], width)
    odd = sum(len(row) != width for row in body)
    body = [row for row in body if len(row) == width] or body
    columns = tuple(
        look_at_column(name, [row[place] if place < len(row) else None for row in body])
        for place, name in enumerate(names)
    )
    doubts: list[tuple[str, tuple[tuple[str, Any], ...]]] = []
    if odd:
        doubts.append(("odd_rows", (("rows", odd), ("sampled", odd + len(body)), ("width", width))))
    if renamed:
        doubts.append(("renamed_columns", ()))
    if sample.broken_lines:
        doubts.append(("broken_lines", (("encoding", sample.encoding),)))
    if sample.encoding == "cp1252":
        doubts.append(("encoding", (("encoding", sample.encoding),)))
    return Look(
        origin, sample.path, "csv", columns, sample.encoding, delimiter, quote, header, renamed, skip,
        max(sample.lines - skip - header, 0), sample.exact, "", sample.gzipped, tuple(doubts),
    )  # fmt: skip


def guess_delimiter(text: str) -> str:
    """The mark between columns: a character, ', ' where a space always follows the comma, or ' ' for runs of spaces."""
    lines = [line for line in text[:200_000].splitlines()[:200] if line.strip()][: 200 if text.count("\n") > 1 else 1]
    best, score = ",", 0.0
    for mark in _DELIMITERS:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=mark))
        width, count = widths.most_common(1)[0]
        fits = count / sum(widths.values()) * (1 + 0.01 * min(width, 50)) if width > 1 else 0.0
        if fits > score:
            best, score = mark, fits
    if score < 0.6:
        widths = Counter(len(line.split()) for line in lines)
        width, count = widths.most_common(1)[0]
        if width > 1 and count >= 0.9 * len(lines):
            return " "
    if (
        best == ","
        and all(line.count(",") == line.count(", ") + line.endswith(",") for line in lines)
        and '"' not in text[:200_000]
    ):
        return ", "
    return best


def _guess_quote(text: str) -> str:
    fields = re.split(r"[,;\t|\n]", text[:20_000])
    single = sum(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in fields)
    return "'" if single > 0.5 * len(fields) else '"'


def split_rows(text: str, delimiter: str, quote: str, limit: int) -> list[list[str]]:
    """The first `limit` rows of `text`; blank lines are left out."""
    if delimiter == " ":
        return [line.split() for line in text.splitlines()[:limit] if line.strip()]
    if delimiter == ", ":
        return [[cell.strip() for cell in line.split(",")] for line in text.splitlines()[:limit] if line.strip()]
    rows: list[list[str]] = []
    csv.field_size_limit(1 << 22)
    reader = csv.reader(io.StringIO(text.replace("\x00", ""), newline=""), delimiter=delimiter, quotechar=quote)
    try:
        for row in reader:
            if any(row):
                rows.append(row)
            if len(rows) >= limit:
                break
    except csv.Error:  # a field beyond the limit: an open quote; what was read before it serves
        return rows
    return rows


def _thin(rows: list[list[str]], count: int) -> list[list[str]]:
    return rows[:: max(1, len(rows) // count)]


def _count_preamble(rows: Sequence[Sequence[str]]) -> int:
    """Title lines above the table: short first rows over a wider body."""
    width = _usual_width(rows)
    count = 0
    while count < min(len(rows) - 1, 10) and width > 2 and len([cell for cell in rows[count] if cell]) <= 1:
        count += 1
    return count


def _usual_width(rows: Sequence[Sequence[str]]) -> int:
    return Counter(len(row) for row in rows).most_common(1)[0][0] if rows else 0


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns rather than being one of them."""
    first = [cell.strip() for cell in rows[0]]
    if not any(first):
        return False
    kinds = [look_at_column("", [cell]).kind for cell in first]
    # yes/no words and short codes may be names; a number, a date, an e-mail is a value
    if any(
        kind in ("int", "float", "money", "comma", "epoch", "time", "date", "email", "phone", "id_number", "list")
        for kind in kinds
    ):
        return sum(is_known_name(cell) for cell in first) >= max(2, 0.7 * len(first))
    if any(is_known_name(cell) for cell in first):
        return True
    if len(rows) == 1:
        return True
    body = rows[1:400]
    below = [
        look_at_column("", [row[place] if place < len(row) else None for row in body]) for place in range(len(first))
    ]
    if any(column.kind not in ("text", "code", "category", "empty", "bool") for column in below):
        return True
    repeats = sum(cell in column.words for cell, column in zip(first, below, strict=True))
    return repeats == 0 and all(len(cell) <= 40 for cell in first)


def name_columns(header: Sequence[str], width: int) -> tuple[tuple[str, ...], bool]:
    """A name for each column, and whether some were made here: `x`, `x_2` where repeated, `column3` where absent."""
    names: list[str] = []
    for place in range(width):
        given = header[place].strip() if place < len(header) else ""
        name = given or f"column{place + 1}"
        number = 2
        while name.lower() in (taken.lower() for taken in names):
            name, number = f"{given}_{number}", number + 1
        names.append(name)
    return tuple(names), bool(header) and list(names) != [cell.strip() for cell in header[:width]]


def same_shape(one: Look, other: Look) -> bool:
    """Whether two files can be one source: same format and columns, and encodings that agree."""
    alike = (one.format, one.names, one.delimiter, one.quote, one.header, one.skip) == (
        other.format, other.names, other.delimiter, other.quote, other.header, other.skip,
    )  # fmt: skip
    return (
        alike
        and one.format != "database"
        and (one.encoding == other.encoding or "ascii" in (one.encoding, other.encoding))
    )


def merge_looks(looks: Sequence[Look]) -> Look:
    """Several files of one shape as one Look: their rows together."""
    first = looks[0]
    if len(looks) == 1:
        return first
    columns = tuple(
        look_at_column(column.name, [cell for look in looks for cell in _share(look.columns[place].values, len(looks))])
        for place, column in enumerate(first.columns)
    )
    encoding = next((look.encoding for look in looks if look.encoding != "ascii"), "ascii")
    doubts = tuple(dict.fromkeys(doubt for look in looks for doubt in look.doubts))
    total, exact = sum(look.rows for look in looks), all(look.rows_exact for look in looks)
    return replace(first, columns=columns, encoding=encoding, rows=total, rows_exact=exact, doubts=doubts)


def _share(values: Sequence[str | None], files: int) -> Sequence[str | None]:
    """Some of the sampled cells, spread evenly, so that many files together stay a sample."""
    return values[:: max(1, len(values) * files // (2 * SAMPLE_ROWS))]
