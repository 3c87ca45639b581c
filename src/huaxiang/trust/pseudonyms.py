"""User ids as keyed pseudonyms: HMAC-SHA-256, 12 characters of it.

12 characters of base64 are 72 bits ('+' and '/' become letters, so about 71): among 100 million users the chance that any
two share one is about 2 in a million. 12 is also the longest text DuckDB keeps inside a column's own cell.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

import pyarrow as pa

from huaxiang.errors import TrustError

KEY_BYTES = 32
LENGTH = 12
SPACES = " \t\n\r\x0b\x0c\u00a0\u3000\ufeff"
_LETTERS = bytes.maketrans(b"+/", b"AB")
_WHOLE_FLOAT = re.compile(r"([0-9]+)\.0+")


class Pseudonyms:
    """Pseudonyms under one key; the same text always gives the same one."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, text: str) -> str:
        """The pseudonym of one id, canonical or not (`canonical_text` is applied)."""
        return self._hash(canonical_text(text))

    def of_array(self, texts: pa.Array | pa.ChunkedArray) -> pa.Array:
        """The pseudonyms of an array of ids, each distinct id computed once; nulls stay null."""
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        coded = texts.cast(pa.string()).dictionary_encode()
        known = pa.array([self.of(text) for text in coded.dictionary.to_pylist()], pa.string())
        return known.take(coded.indices)

    def secret(self, purpose: str) -> str:
        """A text only this key can make: salts what would otherwise be a guessable hash."""
        return self._hash(f"\x00{purpose}")

    def _hash(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")
        return base64.b64encode(digest[:9]).translate(_LETTERS).decode("ascii")


def canonical_text(text: str) -> str:
    """An id as it is compared: stripped, and a whole number written as a float ("17850.0") without its fraction."""
    text = text.strip(SPACES)
    found = _WHOLE_FLOAT.fullmatch(text)
    return found[1] if found else text


def canonical_id(sql: str) -> str:
    """The SQL twin of `canonical_text` for a text already trimmed (see `trimmed`)."""
    return (
        f"CASE WHEN suffix({sql}, '0') AND regexp_full_match({sql}, '[0-9]+\\.0+') "
        f"THEN regexp_replace({sql}, '\\.0+$', '') ELSE {sql} END"
    )


def trimmed(sql: str) -> str:
    """SQL of a text without white space around it, wide and invisible kinds included; NULL where nothing is left.

    `trim` itself costs a microsecond a row, so only a text that begins or ends oddly goes through it.
    """
    odd = f"ascii({sql}) <= 32 OR ascii(right({sql}, 1)) <= 32 OR ascii({sql}) > 126 OR ascii(right({sql}, 1)) > 126"
    return f"CASE WHEN {odd} THEN nullif(trim({sql}, '{SPACES}'), '') ELSE nullif({sql}, '') END"


def load_key(path: Path, *, create: bool = False) -> bytes:
    """The 32 bytes of the key file; made (owner-only) where it is absent and `create` is set; raises TrustError."""
    if create and not path.exists():
        _make_key(path)
    try:
        mode = path.stat().st_mode
        key = path.read_bytes()
    except FileNotFoundError as error:
        raise TrustError("trust.no_key", path=path) from error
    except PermissionError as error:
        raise TrustError("trust.key_denied", path=path) from error
    if stat.S_IMODE(mode) & 0o077:
        raise TrustError("trust.key_open", path=path, mode=f"{stat.S_IMODE(mode):o}")
    if len(key) != KEY_BYTES:
        raise TrustError("trust.key_damaged", path=path, bytes=len(key), expected=KEY_BYTES)
    return key


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(secrets.token_bytes(KEY_BYTES))
        out.flush()
        os.fsync(out.fileno())
    beside.replace(path)
