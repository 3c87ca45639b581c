"""The file of a backup: a tar (plain, .gz or .zst) of regular files, and at its end a manifest with the SHA-256 of each.

Read with distrust: a member that is no regular file, or whose name leads out of the folder, ends the reading; a file cut short lacks its
manifest.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa

from huaxiang.errors import ShopError

MANIFEST = "huaxiang-backup.json"
FORMAT = 1
PARTS = ("huaxiang.toml", "lake", "models", "reports", "live.db", "live", "vault.db", "keys")
BLOCK = 1 << 20


@dataclass(frozen=True)
class Contents:
    """What an archive holds. files: path → (SHA-256, bytes)"""

    files: Mapping[str, tuple[str, int]]
    keys: bool
    made_at: int
    version: str

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.files.values())


def write_archive(folder: Path, out: Path, *, version: str, keys: bool) -> Contents:
    """Packs every file below `folder` into `out`, which appears whole, readable by its owner alone; raises ShopError where it exists."""
    squeeze = _squeezed_by(out)
    if out.exists():
        raise ShopError("serve.backup_exists", path=out)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    files: dict[str, tuple[str, int]] = {}
    try:
        raw = os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        with raw, _squeezing(raw, squeeze) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                name = path.relative_to(folder).as_posix()
                files[name] = _add(tar, name, path)
            found = Contents(files, keys, int(time.time()), version)
            _add_text(tar, MANIFEST, json.dumps({"format": FORMAT, **vars(found)}))
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.rename(out)
    finally:
        beside.unlink(missing_ok=True)
    return found


def read_archive(file: Path, to: Path) -> Contents:
    """Unpacks into the empty folder `to`, each file checked; raises ShopError where the archive is damaged or not to be trusted."""
    found: dict[str, tuple[str, int]] = {}
    manifest: dict[str, Any] | None = None
    try:
        with file.open("rb") as raw, _unsqueezing(raw, file) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                if manifest is not None or not _is_safe(member) or member.name in found:
                    raise ShopError("serve.restore_unsafe", path=file, name=member.name)
                content = cast("IO[bytes]", tar.extractfile(member))
                if member.name == MANIFEST:
                    manifest = json.loads(content.read(1 << 28))
                else:
                    found[member.name] = _unpack(content, to / member.name)
    except (tarfile.TarError, EOFError, zlib.error, ValueError, pa.ArrowException) as error:
        raise ShopError("serve.restore_damaged", path=file) from error
    except OSError as error:
        if error.errno is not None:  # of the disk; those without are the unpacker's
            raise
        raise ShopError("serve.restore_damaged", path=file) from error
    return _check(file, manifest, found)


def _check(file: Path, manifest: dict[str, Any] | None, found: dict[str, tuple[str, int]]) -> Contents:
    try:
        if manifest is None or manifest["format"] > FORMAT:
            raise ShopError("serve.restore_newer" if manifest else "serve.restore_damaged", path=file)
        files = {name: (str(digest), int(size)) for name, (digest, size) in manifest["files"].items()}
        contents = Contents(files, bool(manifest["keys"]), int(manifest["made_at"]), str(manifest["version"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ShopError("serve.restore_damaged", path=file) from error
    if files != found:
        raise ShopError("serve.restore_damaged", path=file)
    return contents


def _add(tar: tarfile.TarFile, name: str, path: Path) -> tuple[str, int]:
    digest = hashlib.sha256()

    class Hashed(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            part = content.read(size)
            digest.update(part)
            return part

    with path.open("rb") as content:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = path.stat().st_size, int(path.stat().st_mtime), 0o600
        tar.addfile(info, Hashed())
    return digest.hexdigest(), info.size


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(text.encode()), int(time.time()), 0o600
    tar.addfile(info, io.BytesIO(text.encode()))


def _is_safe(member: tarfile.TarInfo) -> bool:
    """A regular file whose name stays below the folder, in a place that a shop has."""
    name = PurePosixPath(member.name)
    plain = member.isreg() and not member.issparse() and "\\" not in member.name and "\0" not in member.name
    known = member.name == MANIFEST or bool(name.parts and name.parts[0] in PARTS)
    return plain and known and not name.is_absolute() and ".." not in name.parts and name.as_posix() == member.name


def _unpack(content: IO[bytes], to: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    secret = to.suffix in (".db", ".key")
    to.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644), "wb") as out:
        while part := content.read(BLOCK):
            out.write(part)
            digest.update(part)
            size += len(part)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest(), size


def _squeezed_by(path: Path) -> str:
    for ending, how in ((".tar", ""), (".tar.gz", "gzip"), (".tgz", "gzip"), (".tar.zst", "zstd")):
        if path.name.endswith(ending):
            return how
    raise ShopError("serve.backup_name", path=path)


@contextlib.contextmanager
def _squeezing(raw: IO[bytes], how: str) -> Iterator[IO[bytes]]:
    if not how:
        yield raw
        return
    with pa.CompressedOutputStream(pa.PythonFile(raw, "w"), how) as packed:
        yield packed


@contextlib.contextmanager
def _unsqueezing(raw: IO[bytes], file: Path) -> Iterator[IO[bytes]]:
    how = _squeezed_by(file)
    if not how:
        yield raw
        return
    with pa.CompressedInputStream(pa.PythonFile(raw, "r"), how) as packed:
        yield packed
