"""Every error of the API as `application/problem+json` (RFC 9457), with the mend.

source: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from huaxiang.errors import (
    DefinitionError,
    GuardError,
    HuaxiangError,
    ModelError,
    SettingsError,
    ShopError,
    SourceError,
    StoreError,
    TableError,
    TrustError,
    UnknownUserError,
)
from huaxiang.words import Lang, Words

KIND = "application/problem+json"
# What each class of error is over HTTP: the nearest class of an error counts, and its key before its class.
BY_CLASS: Mapping[type[HuaxiangError], int] = {
    UnknownUserError: 404,
    DefinitionError: 422,  # a condition that cannot be read
    ModelError: 409,  # not trained yet
    ShopError: 409,  # not built yet
    GuardError: 409,
    TableError: 409,
    SourceError: 409,
    SettingsError: 503,  # the shop's own files are in a state that only its keeper can mend
    StoreError: 503,
    TrustError: 503,
    HuaxiangError: 409,
}
BY_KEY: Mapping[str, int] = {
    "lake.busy": 503,
    "lake.manifest_damaged": 503,
    "engine.disk_full": 503,
    "guard.no_case": 404,
    "guard.verdict": 422,
    "market.no_audience": 404,
    "market.no_audience_yet": 404,
    "market.offer_unlearned": 404,
    "recommend.item_near": 404,
    "recommend.no_item": 404,
    "recommend.place": 422,
    "recommend.beside": 422,
    "serve.api_no_trait": 404,
    "serve.api_no_field": 422,
    "serve.api_no_report": 409,
    "serve.api_no_route": 404,
    "serve.api_method": 405,
    "serve.api_no_key": 401,
    "serve.api_scope": 403,
    "serve.api_fields": 403,
    "serve.api_personal": 403,
    "serve.api_too_large": 413,
    "serve.api_too_slow": 408,
    "serve.api_unreadable": 400,
    "serve.api_invalid": 422,
    "serve.api_busy": 503,
    "serve.api_since": 409,
    "serve.api_no_worker": 503,
    "serve.api_broken": 500,
}


class ApiError(HuaxiangError):
    """A request that is refused; its key says with which status. more: members of the problem beside the usual ones"""

    def __init__(self, key: str, /, more: Mapping[str, Any] | None = None, **values: Any) -> None:
        super().__init__(key, **values)
        self.more = dict(more or {})


def status_of(error: HuaxiangError) -> int:
    if error.key in BY_KEY:
        return BY_KEY[error.key]
    return next(BY_CLASS[kind] for kind in type(error).__mro__ if kind in BY_CLASS)


def problem_of(error: HuaxiangError, lang: Lang = "en") -> dict[str, Any]:
    """type, title, status, detail, mend, and what else the error has to say."""
    status = status_of(error)
    return {
        "type": f"urn:huaxiang:{error.key}",
        "title": Words(lang)(f"serve.status.{status}"),
        "status": status,
        "detail": error.what(lang),
        "mend": error.mend(lang),
    } | getattr(error, "more", {})


def write_problem(error: HuaxiangError, lang: Lang = "en") -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers."""
    status = status_of(error)
    headers = [(b"content-type", KIND.encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 503:
        headers.append((b"retry-after", b"5"))
    return status, msgspec.json.encode(problem_of(error, lang)), headers


def places_of(errors: Sequence[Any]) -> list[dict[str, str]]:
    """Where a request does not fit, and why; never the value that stood there: it might be personal."""
    return [{"at": ".".join(str(part) for part in one.get("loc", ()))[:200], "why": _why(one)} for one in errors[:20]]


def _why(error: Mapping[str, Any]) -> str:
    return str(error.get("msg", ""))[:300]


def lang_of(headers: Mapping[bytes, bytes]) -> Lang:
    """The language a client prefers: Chinese where it names it first."""
    return "zh" if headers.get(b"accept-language", b"")[:2].lower() == b"zh" else "en"
