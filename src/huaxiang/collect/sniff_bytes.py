"""The bytes of a file: what kind it is, which encoding it is in, and lines from its start, middle and end.

One streaming pass over the first 256 MB (unpacked): it counts the lines, meets a truncated gzip, and sees non-ASCII bytes
wherever they are: JData_User.csv holds GBK in a few bytes of some lines only.
"""

from __future__ import annotations

import codecs
import difflib
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from huaxiang.errors import SourceError

Kind = Literal["text", "parquet", "sqlite", "duckdb"]

CHUNK = 1 << 20
PASS_CHUNKS = 256  # a longer file is looked at in its first 256 MB, and its tail
HEAD = 1 << 19
WINDOW = 1 << 14
WINDOWS = 48
FOREIGN = 1 << 18  # bytes of non-ASCII lines kept to judge the encoding

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY = (
    (b"\xd0\xcf\x11\xe0", "Excel .xls"),
    (b"%PDF", "PDF"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"7z\xbc\xaf", "7z"),
    (b"Rar!", "RAR"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ", "xz"),
    (b"MATLAB 5.0", "MATLAB"),
    (b"Obj\x01", "Avro"),
    (b"ORC", "ORC"),
)
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True)
class Sample:
    """What one pass over a file's bytes shows. `head` and `spread` are text, of whole lines; `lines` counts all of them."""

    path: Path
    kind: Kind
    encoding: str = "ascii"
    head: str = ""
    spread: tuple[str, ...] = ()
    lines: int = 0
    exact: bool = True  # `lines` was counted, not estimated
    broken_lines: bool = False  # a few lines do not fit the encoding
    gzipped: bool = False


@dataclass
class _Pass:
    """What the streaming pass gathers."""

    head: bytes = b""
    windows: list[bytes] = field(default_factory=list)
    foreign: list[bytes] = field(default_factory=list)
    foreign_bytes: int = 0
    newlines: int = 0
    size: int = 0
    utf8: bool = True
    whole: bool = True
    tail: bytes = b""


def sample_file(path: Path) -> Sample:
    """The file's kind, encoding and sample lines; raises SourceError for what cannot be read as a table."""
    start, gzipped = _open_start(path)
    kind = _kind_of(path, start)
    if kind != "text":
        if gzipped:
            raise SourceError("init.packed", path=path, kind=kind)
        return Sample(path, kind)
    bom = next((name for mark, name in _BOMS if start.startswith(mark)), "") or _wide_without_bom(start)
    if bom.startswith(("utf-16", "utf-32")):
        return _sample_wide(path, gzipped, bom)
    if b"\x00" in start or _control_share(start) > 0.05:
        raise SourceError("init.binary", path=path, kind="binary")
    seen = _pass_over(path, gzipped)
    encoding, broken = ("utf-8-sig", False) if bom else guess_encoding(seen.foreign, seen.utf8)
    exact = seen.whole
    lines = seen.newlines + (not seen.tail.endswith(b"\n")) if exact else _estimate_lines(path, gzipped, seen)
    spread = tuple(window.decode(encoding, "replace") for window in seen.windows)
    return Sample(path, "text", encoding, seen.head.decode(encoding, "replace"), spread, lines, exact, broken, gzipped)


def _open_start(path: Path) -> tuple[bytes, bool]:
    """The first bytes, unpacked, and whether the file is gzipped; raises SourceError for what is no readable file."""
    if path.is_dir():
        raise SourceError("init.directory", path=path)
    if not path.exists():
        raise missing_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
    except PermissionError as error:
        raise SourceError("init.no_permission", path=path) from error
    gzipped = start.startswith(b"\x1f\x8b")
    if gzipped:
        start = next(_chunks(path, gzipped=True, limit=1), b"")[: 1 << 16]
    if not start.strip(b" \t\r\n\xef\xbb\xbf\xff\xfe\x00"):
        raise SourceError("init.empty", path=path)
    return start, gzipped


def missing_file(path: Path) -> SourceError:
    """The error for a file that is not there, with the nearest name that is."""
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return (
        SourceError("init.missing_near", path=path, near=path.parent / near[0])
        if near
        else SourceError("init.missing", path=path)
    )


def _kind_of(path: Path, start: bytes) -> Kind:
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"SQLite format 3\x00"):
        return "sqlite"
    if start[8:12] == b"DUCK":
        return "duckdb"
    if start.startswith(b"PK\x03\x04"):
        key = (
            "init.excel"
            if b"xl/" in start or b"[Content_Types].xml" in start or path.suffix.lower().startswith(".xls")
            else "init.zip"
        )
        raise SourceError(key, path=path)
    found = next((name for mark, name in _BINARY if start.startswith(mark)), None)
    if found == "Excel .xls":
        raise SourceError("init.excel", path=path)
    if found:
        raise SourceError("init.binary", path=path, kind=found)
    return "text"


def _wide_without_bom(start: bytes) -> str:
    """utf-16-le or -be where every other byte of mostly Latin text is NUL."""
    part = start[:4096]
    if part.count(0) < len(part) * 0.2:
        return ""
    even, odd = part[0::2].count(0), part[1::2].count(0)
    if even and odd and min(even, odd) > max(even, odd) * 0.1:
        return ""
    return "utf-16-be" if even > odd else "utf-16-le"


def _control_share(start: bytes) -> float:
    kept = start.translate(None, bytes({*range(32)} - {1, 9, 10, 13, 31}))
    return 1 - len(kept) / len(start)


def _sample_wide(path: Path, gzipped: bool, encoding: str) -> Sample:
    """The sample of a UTF-16 or UTF-32 file: its first 8 MB."""
    raw = b"".join(_chunks(path, gzipped=gzipped, limit=8))
    text = codecs.getincrementaldecoder(encoding)("replace").decode(raw)
    whole = len(raw) < 8 * CHUNK
    lines = text.count("\n") + (not text.endswith("\n"))
    head, rest = text[:HEAD], text[HEAD:]
    if rest:
        head = head[: head.rfind("\n") + 1] or head
    return Sample(path, "text", encoding, head, (rest[-WINDOW * 8 :].partition("\n")[2],), lines, whole, False, gzipped)


def _chunks(path: Path, *, gzipped: bool, limit: int) -> Iterator[bytes]:
    """Up to `limit` chunks of the unpacked file; raises SourceError where a gzip is cut off or damaged."""
    try:
        with path.open("rb") as plain:
            file: BinaryIO = gzip.GzipFile(fileobj=plain) if gzipped else plain  # type: ignore[assignment]
            for _ in range(limit):
                chunk = file.read(CHUNK)
                if not chunk:
                    return
                yield chunk
    except EOFError as error:
        raise SourceError("init.gzip_cut", path=path) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError("init.gzip_damaged", path=path) from error


def _pass_over(path: Path, gzipped: bool) -> _Pass:
    seen = _Pass()
    decoder = codecs.getincrementaldecoder("utf-8")()
    for chunk in _chunks(path, gzipped=gzipped, limit=PASS_CHUNKS):
        seen.newlines += chunk.count(b"\n")
        if seen.size < HEAD:
            seen.head += chunk[: HEAD - seen.size]
        _keep_windows(seen, chunk)
        if not chunk.isascii():
            _keep_foreign(seen, chunk)
        if seen.utf8 and (not chunk.isascii() or decoder.getstate()[0]):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                seen.utf8 = False
        seen.size += len(chunk)
        seen.tail = chunk[-WINDOW:]
    seen.whole = seen.size < PASS_CHUNKS * CHUNK
    if not seen.whole and not gzipped:
        with path.open("rb") as file:
            file.seek(-WINDOW, 2)
            seen.tail = file.read()
    if seen.size > len(seen.head):
        seen.head = seen.head[: seen.head.rfind(b"\n") + 1] or seen.head
        seen.windows.append(seen.tail.partition(b"\n")[2])
    else:
        seen.windows = []
    return seen


def _keep_windows(seen: _Pass, chunk: bytes) -> None:
    """Keep whole lines from the chunk, spread over it; thin all to half when they grow too many."""
    step = max(CHUNK // 4, WINDOW)
    for at in range(0 if seen.size else HEAD, len(chunk) - WINDOW // 4, step):
        window = chunk[at : at + WINDOW].partition(b"\n")[2]
        whole = window[: window.rfind(b"\n") + 1]
        if whole:
            seen.windows.append(whole)
    if len(seen.windows) > 2 * WINDOWS:
        seen.windows = seen.windows[::2]


def _keep_foreign(seen: _Pass, chunk: bytes) -> None:
    if seen.foreign_bytes > FOREIGN:
        return
    lines = chunk.split(b"\n")
    inner = lines[1:-1] if len(lines) > 2 else lines  # a line cut by the chunk's edge would look broken
    found = [line for line in inner if not line.isascii()] or [line for line in lines if not line.isascii()]
    for line in found:
        seen.foreign.append(line[:4096] if line[:4096] == line else line[: line.rfind(b",", 0, 4096)])
        seen.foreign_bytes += len(seen.foreign[-1])
        if seen.foreign_bytes > FOREIGN:
            return


def _estimate_lines(path: Path, gzipped: bool, seen: _Pass) -> int:
    total = path.stat().st_size * (5 if gzipped else 1)  # text packs to about a fifth
    return int(seen.newlines * max(1.0, total / max(seen.size, 1)))


def guess_encoding(lines: list[bytes], utf8: bool) -> tuple[str, bool]:
    """The encoding of lines that hold non-ASCII bytes, and whether a few of them do not fit it."""
    if not lines:
        return ("ascii" if utf8 else "cp1252"), False
    if utf8:
        return "utf-8", False
    good = sum(_fits(line, "utf-8") for line in lines)
    if good >= 20 and good >= 0.9 * len(lines):
        return "utf-8", True
    text = b"\n".join(lines)
    runs = [len(run.group()) for run in _HIGH_RUN.finditer(text)]
    if sum(run for run in runs if run >= 2) < 0.5 * sum(runs):  # lone high bytes between letters: a Latin script
        return "cp1252", False
    scores = {
        name: _chinese_share(text, name, first, last)
        for name, first, last in (("gb18030", 0xB0, 0xD7), ("big5", 0xA4, 0xC6))
    }
    best = max(scores, key=lambda name: scores[name])
    if scores[best] > 0.6:
        return best, not all(_fits(line, best) for line in lines)
    from charset_normalizer import from_bytes

    found = from_bytes(text).best()
    return (found.encoding if found else "cp1252"), False


def _fits(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _chinese_share(text: bytes, encoding: str, first: int, last: int) -> float:
    """Share of the non-ASCII characters that are everyday Chinese ones (their lead byte says so) in `encoding`."""
    decoded = text.decode(encoding, "replace")
    foreign = [character for character in decoded if ord(character) > 127]
    everyday = 0
    for character in foreign:
        raw = character.encode(encoding, "replace")
        everyday += (len(raw) == 2 and first <= raw[0] <= last) or character in "，。；：？！（）【】《》“”、￥"
    return everyday / max(len(foreign), 1)
