"""Which files a source names, and each as UTF-8 text that DuckDB can read: gzip opened, other encodings turned.

One streaming pass over the bytes finds what is wrong before anything is stored: a cut gzip, an encoding that is not the
stated one, a line as long as a file. A turned copy is a nameless temporary file: nothing of it outlives this process. Where a few
lines alone are in another encoding, the copy is without them (foreign.py).
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import glob
import gzip
import hashlib
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from huaxiang.collect.foreign import Foreign, copy_without_foreign
from huaxiang.collect.sniff_bytes import guess_encoding
from huaxiang.collect.squeeze import Squeezer
from huaxiang.errors import SourceError
from huaxiang.progress import Advance
from huaxiang.settings import SourceSettings

CHUNK = 1 << 22
LONGEST_LINE = 1 << 20  # a longer line is no row; DuckDB's own limit is twice this
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDER = {"gbk": "gb18030", "gb2312": "gb18030", "hz": "hz"}  # files that say GBK often hold GB18030's characters
_BINARY = (
    (b"PK\x03\x04", "Excel/zip"),
    (b"\xd0\xcf\x11\xe0", "Excel"),
    (b"%PDF", "PDF"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"PAR1", "Parquet"),
    (b"SQLite format 3", "SQLite"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
)


@dataclass(frozen=True)
class Text:
    """A file as UTF-8 text at `path`. `ragged`: a line is too long to be given to DuckDB unlooked."""

    path: str
    size: int
    ragged: bool
    foreign: tuple[Foreign, ...] = ()  # lines in another encoding, which are not in it

    def line(self, number: int) -> int:
        """The number in the file of a line of this text."""
        for one in self.foreign:
            number += one.line <= number
        return number


def find_files(source: SourceSettings, folder: Path) -> list[Path]:
    """The files a source names, globs opened, each once, in order; raises SourceError for one that is not there."""
    found: list[Path] = []
    for name in source.from_:
        path = folder / Path(name).expanduser()
        if path.exists():
            found.append(path)
        elif any(sign in name for sign in "*?["):
            matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True) if Path(match).is_file())  # noqa: PTH207  absolute patterns
            if not matches:
                raise SourceError("collect.no_match", source=source.name, pattern=path)
            found += matches
        else:
            names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
            key = "collect.missing_near" if near else "collect.missing"
            raise SourceError(key, source=source.name, path=path, near=path.parent / near[0] if near else "")
    return list(dict.fromkeys(found))


def hash_file(path: Path) -> str:
    """SHA-256 of the file's bytes; raises SourceError for a folder, an empty file, or one that may not be read."""
    if path.is_dir():
        raise SourceError("collect.directory", path=path)
    if path.stat().st_size == 0:
        raise SourceError("collect.empty", path=path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except PermissionError as error:
        raise SourceError("collect.denied", path=path) from error


@contextlib.contextmanager
def open_text(path: Path, source: SourceSettings, temp: Path, advance: Advance) -> Iterator[Text]:
    """The file as UTF-8 text for the length of the block; raises SourceError where it is not what the settings say."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    gzipped = start.startswith(b"\x1f\x8b")
    if gzipped:
        start = next(_chunks(path, gzipped=True), b"")[: 1 << 16]
    encoding = _encoding(path, start, source)
    if not start.strip(b" \t\r\n\x00\xef\xbb\xbf\xff\xfe"):
        raise SourceError("collect.empty", path=path)
    plain = not gzipped and encoding in ("utf-8", "utf-8-sig", "ascii") and source.delimiter != " "
    with contextlib.ExitStack() as stack:
        copy: BinaryIO | None = None
        if not plain:
            temp.mkdir(parents=True, exist_ok=True)
            copy = stack.enter_context(nameless_file(temp))
        foreign: tuple[Foreign, ...] = ()
        try:
            ragged, size = _pass_over(path, encoding, source, copy, gzipped=gzipped, advance=advance)
        except _WrongEncodingError as wrong:
            temp.mkdir(parents=True, exist_ok=True)
            copy = stack.enter_context(nameless_file(temp))
            left = copy_without_foreign(_chunks(path, gzipped=gzipped), encoding, source, copy)
            if left is None:
                raise wrong.said from wrong
            foreign, ragged, size = left, True, path.stat().st_size
        yield Text(str(path) if copy is None else path_of(copy), size, ragged, foreign)


def _pass_over(
    path: Path, encoding: str, source: SourceSettings, copy: BinaryIO | None, *, gzipped: bool, advance: Advance
) -> tuple[bool, int]:
    """Check (and copy as UTF-8, where `copy` is given) the whole text; gives whether a line is too long, and the bytes."""
    decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == "ascii" else encoding)()
    ragged, at, run = False, 0, 0
    squeeze = Squeezer()
    for chunk in _chunks(path, gzipped=gzipped):
        try:
            pending = len(decoder.getstate()[0])
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            place = at - pending + error.start
            around = chunk[max(0, error.start - pending - 2000) :][:8000]
            raise _WrongEncodingError(_wrong_encoding(path, source, encoding, around, place)) from error
        at += len(chunk)
        data = chunk
        if copy is not None:
            data = (squeeze(text) if source.delimiter == " " else text).encode("utf-8", "replace")
            copy.write(data)
        run, long = _longest(data, run)
        ragged |= long
        advance(len(chunk))
    tail = decoder.getstate()[0]
    if copy is not None:
        if tail:
            copy.write(b"\xef\xbf\xbd")
        copy.flush()
    return ragged or bool(tail), at


def _longest(data: bytes, run: int) -> tuple[int, bool]:
    """Bytes since the last line end after `data` (with `run` before it), and whether a line exceeds the limit."""
    end = data.rfind(b"\n")
    if end < 0:
        end = data.rfind(b"\r")
    if end < 0:
        return run + len(data), run + len(data) > LONGEST_LINE
    first = data.find(b"\n")
    long = run + max(first, 0) > LONGEST_LINE
    for at in range(0, end - LONGEST_LINE, LONGEST_LINE // 2):
        long = long or (data.find(b"\n", at, at + LONGEST_LINE) < 0 and data.find(b"\r", at, at + LONGEST_LINE) < 0)
    return len(data) - end - 1, long


def _encoding(path: Path, start: bytes, source: SourceSettings) -> str:
    """The encoding to read with: a byte-order mark's where there is one, else the stated one."""
    kind = next((kind for mark, kind in _BINARY if start.startswith(mark)), None)
    if kind is not None:
        raise SourceError("collect.binary", path=path, kind=kind, source=source.name)
    marked = next((name for mark, name in _BOMS if start.startswith(mark)), None)
    try:
        stated = codecs.lookup(source.encoding).name
    except LookupError as error:
        raise SourceError("collect.unknown_encoding", source=source.name, encoding=source.encoding) from error
    encoding = marked or _WIDER.get(stated, stated)
    if b"\x00" in start and not encoding.startswith(("utf-16", "utf-32")):
        raise SourceError("collect.binary", path=path, kind="binary", source=source.name)
    return encoding


class _WrongEncodingError(Exception):
    """Some bytes are not of the encoding; `said`: the error where too many are."""

    def __init__(self, said: SourceError) -> None:
        super().__init__()
        self.said = said


def _wrong_encoding(path: Path, source: SourceSettings, encoding: str, around: bytes, at: int) -> SourceError:
    lines = [line for line in around.split(b"\n")[1:-1] or [around] if not line.isascii()]
    guess, _ = guess_encoding(lines, False)
    key = "collect.encoding" if codecs.lookup(guess).name != codecs.lookup(encoding).name else "collect.encoding_broken"
    return SourceError(key, path=path, encoding=source.encoding, at=at, guess=guess, source=source.name)


def _chunks(path: Path, *, gzipped: bool) -> Iterator[bytes]:
    """The file's bytes, unpacked; raises SourceError where a gzip is cut off or damaged."""
    try:
        with path.open("rb") as packed:
            file: BinaryIO = gzip.GzipFile(fileobj=packed) if gzipped else packed  # type: ignore[assignment]
            while chunk := file.read(CHUNK):
                yield chunk
    except EOFError as error:
        raise SourceError("collect.gzip_cut", path=path) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError("collect.gzip_damaged", path=path) from error


@contextlib.contextmanager
def nameless_file(temp: Path) -> Iterator[BinaryIO]:
    """A temporary file that vanishes with this process, however that ends (on systems without /proc: when closed)."""
    with tempfile.TemporaryFile(dir=temp) as file:  # unlinked at once where the system can
        yield file


def path_of(file: BinaryIO) -> str:
    """A path under which DuckDB can open a nameless file."""
    return f"/proc/self/fd/{file.fileno()}" if Path("/proc/self/fd").is_dir() else f"/dev/fd/{file.fileno()}"
