"""One signed POST to an address that the shop names: what campaigns and the hooks of live audiences share.

    X-Huaxiang-Id: spring.0                        of this delivery; at another try the same
    X-Huaxiang-Signature: t=1700000000,v1=HEX      HEX = HMAC-SHA-256(secret, "1700000000." + body)

Redirects are not followed: one would carry customers to somewhere nobody named.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from huaxiang.errors import ShopError

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Answer:
    """What came of a POST. status: 0 where nobody answered; detail: the status or the kind of failure; retry_after: as it was said"""

    status: int
    detail: str
    retry_after: str = ""

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300


def check_url(url: str) -> None:
    """raises: ShopError for what is no address of a webhook"""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:  # a port that is none, half an IPv6 address
        raise ShopError("market.url", scheme="-") from error
    if not good:
        raise ShopError("market.url", scheme=parts.scheme or "-")


def sign(secret: bytes, stamp: int, body: bytes) -> str:
    """What the receiver computes as well, and compares."""
    return hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def post_signed(url: str, body: bytes, *, number: str, secret: bytes, stamp: int) -> Answer:
    """One try to hand over `body`, JSON. number: of the delivery; stamp: seconds since 1970"""
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "X-Huaxiang-Id": number,
        "X-Huaxiang-Signature": f"t={stamp},v1={sign(secret, stamp, body)}",
    }
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(urllib.request.Request(url, body, headers, method="POST"), timeout=TIMEOUT_S) as answer:
            return Answer(answer.status, f"HTTP {answer.status}")
    except urllib.error.HTTPError as error:
        error.close()
        return Answer(error.code, f"HTTP {error.code}", error.headers.get("Retry-After") or "")
    except (
        urllib.error.URLError,
        OSError,
        http.client.HTTPException,
        ValueError,
    ) as error:  # ValueError: an address that is not ASCII
        return Answer(0, type(getattr(error, "reason", error)).__name__)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any, **more: Any) -> None:
        return None
