"""Bodies, sealed: AES-GCM under the shop's vault key, so that what customers typed is never in clear on disk."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from huaxiang.errors import TrustError

NONCE_BYTES = 12


class Seal:
    """key: the vault's; `purpose` makes a key of its own of it, since one key must not serve two kinds of content."""

    def __init__(self, key: bytes, purpose: str = "log") -> None:
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"huaxiang {purpose}".encode()).derive(key)
        self._cipher = AESGCM(derived)

    def close(self, content: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, None)

    def open(self, sealed: bytes) -> bytes:
        """raises: TrustError where it was sealed under another key, or changed"""
        sealed = bytes(sealed)
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
        except (InvalidTag, ValueError) as error:  # ValueError: shorter than anything sealed
            raise TrustError("serve.log_sealed") from error
