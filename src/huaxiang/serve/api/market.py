"""Audiences: those that are kept, who belongs, and what a condition would hold for."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from huaxiang.profile.because import finite
from huaxiang.serve.api.asked import Asked, answers, needs
from huaxiang.serve.api.problems import ApiError
from huaxiang.serve.api.roles import AUDIENCES
from huaxiang.serve.api.rooms import Caller
from huaxiang.serve.api.schemas import Audiences, Condition, Members, Previewed

router = APIRouter(tags=["audiences"])


@router.get(
    "/audiences", response_model=Audiences, responses=answers(409), summary="The shop's audiences as last refreshed"
)
async def every(
    rooms: Asked, caller: Annotated[Caller, Depends(needs("audiences", AUDIENCES, kept=False))]
) -> dict[str, Any]:
    return {"audiences": await rooms.desk.ask(lambda shop: [asdict(one) for one in shop.market.audiences()])}


@router.get(
    "/audiences/{name}/members", response_model=Members, responses=answers(404, 409, 422), summary="Who belongs now"
)
async def members(
    rooms: Asked,
    caller: Annotated[Caller, Depends(needs("members", AUDIENCES))],
    name: Annotated[str, Path(min_length=1, max_length=128)],
    limit: Annotated[int, Query(ge=1, le=1_000)] = 1_000,
    after: Annotated[str, Query(pattern="^([A-Za-z0-9]{12})?$", description="`next` of the page before")] = "",
) -> dict[str, Any]:
    found = await rooms.desk.ask(lambda shop: shop.market.members(name))
    first = bisect_right(found, after) if after else 0
    page = found[first : first + limit]
    caller.look.users, caller.look.count = page, len(page)
    last = first + limit >= len(found)
    return {"name": name, "users": page, "size": len(found), "next": None if last else page[-1]}


@router.post(
    "/audiences/preview",
    response_model=Previewed,
    responses=answers(409, body=True),
    summary="What a condition would hold for",
)
async def preview(
    rooms: Asked, asked: Condition, caller: Annotated[Caller, Depends(needs("preview", AUDIENCES))]
) -> dict[str, Any]:
    catalogue = await rooms.catalogue()
    read = await rooms.desk.run(lambda: rooms.profiles.reads(asked.when))
    if closed := [name for name in read if not catalogue.may_read(name, caller.groups)]:
        raise ApiError("serve.api_fields", fields=", ".join(closed), name=caller.key.name)
    found = await rooms.desk.ask(lambda shop: shop.market.preview(asked.when, sample=asked.sample))
    sample = [
        {name: finite(value) for name, value in row.items() if catalogue.may_read(name, caller.groups)}
        for row in found.sample
    ]
    caller.look.users, caller.look.count = [row["user_id"] for row in sample], len(sample)
    return {
        "when": found.text,
        "size": found.size,
        "customers": found.customers,
        "share": found.share,
        "composition": found.composition,
        "sample": sample,
        "unheld": [asdict(one) for one in found.unheld],
    }
