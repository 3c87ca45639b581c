"""Who is held out: a customer's place in a campaign, by a hash of the campaign's salt and the customer's pseudonym.

The place is a number from 0 to 1, the same at every run and on every machine; another campaign's is independent of it. Customers below
the hold-out share get nothing, so that the campaign's effect can be read.
"""

from __future__ import annotations

import hashlib

DIGITS = 13  # hexadecimal: 52 bits, which a double holds exactly


def place_of(salt: str, user: str) -> float:
    """0 ≤ place < 1."""
    return int(hashlib.md5(f"{salt}:{user}".encode(), usedforsecurity=False).hexdigest()[:DIGITS], 16) / 16**DIGITS


def place_sql(salt: str, column: str) -> str:
    """The SQL twin of `place_of`. salt: letters, digits, -, _ and . only"""
    return f"(CAST('0x' || left(md5('{salt}:' || {column}), {DIGITS}) AS BIGINT) / {float(16**DIGITS)!r})"
