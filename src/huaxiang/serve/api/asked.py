"""What routes take in: the rooms, and the caller, who must have one of the scopes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from huaxiang.serve.api.door import CALLER
from huaxiang.serve.api.problems import KIND
from huaxiang.serve.api.rooms import Caller, Rooms
from huaxiang.serve.api.schemas import Problem

_bearer = HTTPBearer(auto_error=False, description="an API key: `huaxiang key add SHOP NAME --scope …`")
WHY = {
    400: "the body is no JSON",
    401: "no key, or none that is open",
    403: "the key lacks the scope",
    404: "no such customer, or thing",
    409: "the shop is not that far: not built, trained or scored yet",
    413: "the body is too large",
    422: "what was asked does not fit",
    503: "busy, or the store is away: try again",
}


async def rooms_of(request: Request) -> Rooms:
    rooms: Rooms = request.app.state.rooms
    return rooms


def needs(what: str, scopes: Sequence[str], *, kept: bool = True) -> Callable[..., Awaitable[Caller]]:
    """The caller of a route called `what` in audit and metrics, where they have one of `scopes`. kept: whether the audit holds it"""

    async def check(
        request: Request, told: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
    ) -> Caller:
        caller: Caller = request.scope[CALLER]  # the door let nobody in without a key
        caller.look.what, caller.look.kept = what, kept
        caller.need(scopes)
        return caller

    return check


def answers(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for OpenAPI."""
    every = sorted({401, 403, 503, *statuses, *((400, 413, 422) if body else ())})
    return {
        status: {
            "model": Problem,
            "description": WHY[status],
            "content": {KIND: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in every
    }


Asked = Annotated[Rooms, Depends(rooms_of)]
User = Annotated[str, Path(min_length=1, max_length=512, description="the shop's own id, or the pseudonym")]
