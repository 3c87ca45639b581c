"""The vault: the only place where personal values exist, each encrypted by itself (AES-GCM) in one SQLite file.

A value is bound to its user and field (associated data), so that one moved to another user's row does not open.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import sqlite3
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from huaxiang.errors import TrustError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS value (
    pseudonym TEXT, field TEXT, nonce BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (pseudonym, field)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS text (ref TEXT PRIMARY KEY, nonce BLOB NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
"""


class Vault:
    """Personal values by user pseudonym and field; free texts (rejected lines) by reference."""

    def __init__(self, path: Path, key: bytes) -> None:
        self.path = path
        self._key = key
        self._cipher = AESGCM(key)

    def put_many(
        self, pseudonyms: Sequence[str], field: str, values: Sequence[str | None], *, replace: bool = True
    ) -> int:
        """Keep each user's value of `field` in one transaction; gives how many (a None is skipped).

        replace: False keeps the value that is there already
        """
        rows = (
            (who, field, *self._seal(value, f"{who}|{field}"))
            for who, value in zip(pseudonyms, values, strict=True)
            if value is not None
        )
        verb = "REPLACE" if replace else "IGNORE"
        with self._open() as vault:
            return vault.executemany(f"INSERT OR {verb} INTO value VALUES (?, ?, ?, ?)", rows).rowcount

    def get(self, pseudonym: str) -> dict[str, str]:
        """What is kept of one user, by field ({} for nobody)."""
        with self._open() as vault:
            rows = vault.execute("SELECT field, nonce, value FROM value WHERE pseudonym = ?", (pseudonym,)).fetchall()
        return {field: self._unseal(nonce, value, f"{pseudonym}|{field}") for field, nonce, value in rows}

    def get_many(self, pseudonyms: Sequence[str], field: str) -> dict[str, str]:
        """The value of `field` of each user who has one, by pseudonym."""
        found: dict[str, str] = {}
        with self._open() as vault:
            for begin in range(0, len(pseudonyms), 500):  # SQLite limits the places of one statement
                some = pseudonyms[begin : begin + 500]
                marks = ", ".join("?" * len(some))
                rows = vault.execute(
                    f"SELECT pseudonym, nonce, value FROM value WHERE field = ? AND pseudonym IN ({marks})",
                    (field, *some),
                )
                found |= {who: self._unseal(nonce, value, f"{who}|{field}") for who, nonce, value in rows}
        return found

    def check(self) -> int:
        """The values kept, after one of them was opened; raises TrustError where the file is damaged or was sealed under another key."""
        with self._open() as vault:
            if (said := vault.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise TrustError("trust.vault_damaged", path=self.path, detail=said)
            first = vault.execute("SELECT pseudonym FROM value LIMIT 1").fetchone()
            count = int(vault.execute("SELECT count(*) FROM value").fetchone()[0])
        if first is not None:
            self.get(first[0])
        return count

    def erase(self, pseudonym: str) -> int:
        """Forget one user; gives the values erased."""
        return self.erase_many([pseudonym])

    def erase_many(self, pseudonyms: Iterable[str]) -> int:
        with self._open() as vault:
            return vault.executemany("DELETE FROM value WHERE pseudonym = ?", [(who,) for who in pseudonyms]).rowcount

    def keep_text(self, kind: str, text: str) -> str:
        """A reference under which `text` is kept; the same text of the same kind has the same one."""
        return self.keep_texts(kind, [text])[0]

    def keep_texts(self, kind: str, texts: Sequence[str]) -> list[str]:
        refs = [self._ref(kind, text) for text in texts]
        rows = ((ref, *self._seal(text, ref)) for ref, text in zip(refs, texts, strict=True))
        with self._open() as vault:
            vault.executemany("INSERT OR IGNORE INTO text VALUES (?, ?, ?)", rows)
        return refs

    def text(self, ref: str) -> str | None:
        """The text kept under `ref` (None: there is none)."""
        with self._open() as vault:
            row = vault.execute("SELECT nonce, value FROM text WHERE ref = ?", (ref,)).fetchone()
        return self._unseal(row[0], row[1], ref) if row else None

    def _seal(self, value: str, bound: str) -> tuple[bytes, bytes]:
        nonce = os.urandom(12)
        return nonce, self._cipher.encrypt(nonce, value.encode("utf-8", "surrogatepass"), bound.encode())

    def _unseal(self, nonce: bytes, value: bytes, bound: str) -> str:
        try:
            return self._cipher.decrypt(nonce, value, bound.encode()).decode("utf-8", "surrogatepass")
        except InvalidTag as error:
            raise TrustError("trust.vault_sealed", path=self.path) from error

    def _ref(self, kind: str, text: str) -> str:
        digest = hmac.digest(self._key, f"{kind}\x00{text}".encode("utf-8", "surrogatepass"), "sha256")
        return f"{kind}:{urlsafe_b64encode(digest[:15]).decode()}"

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The vault within one transaction, made (owner-only) where it is absent."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as vault:
                vault.execute("PRAGMA secure_delete = ON")
                vault.executescript(_SCHEMA)
                with vault:
                    yield vault
        except sqlite3.DatabaseError as error:
            raise TrustError("trust.vault_damaged", path=self.path, detail=error) from error
