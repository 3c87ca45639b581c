"""The shop itself: what its traits are, how good its data and models are; who may ask, and who did."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from huaxiang.errors import ShopError
from huaxiang.serve.api.asked import Asked, answers, needs
from huaxiang.serve.api.audit import DAY_US, find_looks
from huaxiang.serve.api.roles import ADMIN, ANY
from huaxiang.serve.api.rooms import Caller
from huaxiang.serve.api.schemas import Cards, KeyList, Looks, Traits
from huaxiang.shop import Shop

router = APIRouter(tags=["the shop"])
_SHOWN = ("name", "section", "group", "source", "unit", "days", "label", "meaning")


@router.get("/traits", response_model=Traits, responses=answers(409), summary="The traits that this key may read")
async def traits(rooms: Asked, caller: Annotated[Caller, Depends(needs("traits", ANY, kept=False))]) -> dict[str, Any]:
    allowed = (await rooms.catalogue()).allowed(caller.groups)
    return {"traits": [{name: getattr(one, name) for name in _SHOWN} for one in allowed]}


@router.get(
    "/quality", response_model=dict[str, Any], responses=answers(409), summary="The quality report of the last clean"
)
async def quality(rooms: Asked, caller: Annotated[Caller, Depends(needs("quality", ADMIN, kept=False))]) -> Any:
    def work(shop: Shop) -> Any:
        found = shop.quality()
        if found is None:
            raise ShopError("serve.api_no_report", name="quality", step="clean")
        return json.loads(found.to_json())

    return await rooms.desk.ask(work)


@router.get("/models", response_model=Cards, responses=answers(409), summary="The score cards of the last training")
async def models(
    rooms: Asked, caller: Annotated[Caller, Depends(needs("models", ADMIN, kept=False))]
) -> dict[str, Any]:
    return {"cards": await rooms.desk.ask(lambda shop: [json.loads(card.to_json()) for card in shop.cards()])}


@router.get(
    "/models/leaderboard",
    response_model=dict[str, Any],
    responses=answers(409),
    summary="What the last `compare` found",
)
async def leaderboard(rooms: Asked, caller: Annotated[Caller, Depends(needs("leaderboard", ADMIN, kept=False))]) -> Any:
    def work(shop: Shop) -> Any:
        found = shop.leaderboard()
        if found is None:
            raise ShopError("serve.api_no_report", name="leaderboard", step="compare")
        return json.loads(found.to_json())

    return await rooms.desk.ask(work)


@router.get("/keys", response_model=KeyList, responses=answers(), summary="The open API keys, without their secrets")
async def keys(rooms: Asked, caller: Annotated[Caller, Depends(needs("keys", ADMIN, kept=False))]) -> dict[str, Any]:
    found = await rooms.desk.run(rooms.keys.all)
    return {
        "keys": [asdict(key) | {"scopes": sorted(key.scopes), "created_at": write_us(key.created_at)} for key in found]
    }


@router.get("/audit", response_model=Looks, responses=answers(422), summary="Who looked at whom, newest first")
async def audit(
    rooms: Asked,
    caller: Annotated[Caller, Depends(needs("audit", ADMIN, kept=False))],
    user: Annotated[
        str | None, Query(min_length=1, max_length=512, description="the shop's own id, or the pseudonym")
    ] = None,
    days: Annotated[int, Query(ge=1, le=36_500)] = 30,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**62, description="`next` of the page before")] = None,
) -> dict[str, Any]:
    since = time.time_ns() // 1000 - days * DAY_US
    names = [] if user is None else rooms.names(user)
    store = rooms.audit.database
    looks = await rooms.desk.run(lambda: find_looks(store, names, since=since, limit=limit + 1, before=before))
    shown = [one | {"at": write_us(one["at"])} for one in looks[:limit]]
    return {"looks": shown, "next": shown[-1]["id"] if len(looks) > limit else None}


def write_us(moment: int) -> str:
    """µs since 1970 as ISO 8601 with its Z."""
    return datetime.fromtimestamp(moment / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
