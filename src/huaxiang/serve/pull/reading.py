"""The rows of one file, in their order, from one row on. A line that is no good is a row with a fault; a file that is none raises."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from huaxiang.engine import Engine
from huaxiang.engine.duck import quote
from huaxiang.errors import HuaxiangError

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
JSON_BYTES = 256 * 1024 * 1024  # of one JSON value that is a whole file; JSON lines may be of any size
LINE = 1 << 22  # characters of a line
Content = Mapping[str, Any] | bytes


class FileError(Exception):
    """A file that cannot be read. reason: for the quarantine"""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def kind_of(path: Path) -> str:
    """The ending that says how a file is read ("": it is not taken)."""
    name = path.name.lower()
    bare = name.removesuffix(".gz")
    ending = "." + bare.rpartition(".")[2]
    taken = ending in ENDINGS and not name.startswith(".") and not (ending == ".parquet" and bare != name)
    return ending if taken else ""


def read_rows(path: Path, engine: Engine, encoding: str, *, after: int) -> Iterator[tuple[Content, str]]:
    """(content, fault) of each row behind the first `after`; raises FileError where the file (or what is left of it) is unreadable."""
    kind = kind_of(path)
    try:
        if kind == ".parquet":
            yield from _read_parquet(path, engine, after)
            return
        rows = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_lines, ".json": _read_json}[kind](path, encoding)
        for number, row in enumerate(rows):
            if number >= after:
                yield row
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileError("bad_gzip") from error


def _read_parquet(path: Path, engine: Engine, after: int) -> Iterator[tuple[Content, str]]:
    sql = f"SELECT * FROM read_parquet({quote(str(path))}) OFFSET {after}"
    if engine.attempt(f"SELECT 1 FROM ({sql}) LIMIT 1") is not None:
        raise FileError("no_parquet")
    batches = engine.batches(sql, 10_000)
    while True:
        try:
            rows = next(batches, None)
        except HuaxiangError:
            raise
        except Exception as error:  # damaged within; DuckDB's own kinds are known to the engine alone
            raise FileError("no_parquet") from error
        if rows is None:
            return
        for row in rows.to_pylist():
            yield row, ""


def _read_csv(path: Path, encoding: str) -> Iterator[tuple[Content, str]]:
    with _text(path, encoding) as text:
        header = text.readline(LINE)
        if not header.strip() or "\0" in header:
            raise FileError("no_header")
        sign = max("\t;|,", key=header.count)  # of equals the comma, which stands last: a table of one column
        sign = sign if header.count(sign) else ","
        names = [name.strip() for name in next(csv.reader([header], delimiter=sign))]
        if len(set(names)) < len(names) or not all(names):
            raise FileError("odd_header")
        csv.field_size_limit(LINE)
        lines = csv.reader(_without_nul(text), delimiter=sign)
        while True:
            try:
                values = next(lines)
            except StopIteration:
                return
            except csv.Error:
                yield {}, "bad_csv"
                continue
            if not values:
                continue
            if len(values) != len(names):
                yield {"row": values}, "columns"
                continue
            row = {name: value for name, value in zip(names, values, strict=True) if value != ""}
            yield row, "encoding" if any(map(_is_broken, values)) else ""


def _read_lines(path: Path, encoding: str) -> Iterator[tuple[Content, str]]:
    with _bytes(path) as content:
        while line := content.readline(LINE):
            stripped = line.strip(b" \t\r\n\xef\xbb\xbf")
            if len(line) == LINE and not line.endswith(b"\n"):
                while len(rest := content.readline(LINE)) == LINE and not rest.endswith(b"\n"):
                    pass  # the line is given up, and named once
                yield stripped[:1_000], "too_large"
            elif stripped:
                yield stripped, ""


def _read_json(path: Path, encoding: str) -> Iterator[tuple[Content, str]]:
    """A list of objects, one object, or one object a line."""
    with _bytes(path) as content:
        text = content.read(JSON_BYTES + 1)
    if len(text) > JSON_BYTES:
        raise FileError("too_large")
    try:
        found = msgspec.json.decode(text.lstrip(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if text.count(b"\n") and text.lstrip(b"\xef\xbb\xbf \r\n")[:1] == b"{":
            yield from _read_lines(path, encoding)
            return
        raise FileError("bad_json") from error
    for one in found if isinstance(found, list) else [found]:
        yield (one, "") if isinstance(one, dict) else ({"value": one}, "shape")


def _bytes(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _text(path: Path, encoding: str) -> IO[str]:
    """Bytes that are no text in the encoding become half characters, so that their row alone is refused."""
    how: dict[str, Any] = {"encoding": encoding, "errors": "surrogateescape", "newline": ""}
    return gzip.open(path, "rt", **how) if path.name.lower().endswith(".gz") else path.open("rt", **how)


def _is_broken(text: str) -> bool:
    return any("\ud800" <= sign <= "\udfff" for sign in text) if not text.isascii() else False


def _without_nul(lines: IO[str]) -> Iterator[str]:
    for line in lines:
        yield line.replace("\0", "\ufffd")
