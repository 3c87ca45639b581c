"""What is foreseen of one customer: what to show, whether the running session buys, whom a message moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from huaxiang.errors import UnknownUserError
from huaxiang.profile.because import finite, write_time
from huaxiang.serve.api.asked import Asked, User, answers, needs
from huaxiang.serve.api.problems import ApiError
from huaxiang.serve.api.roles import INTENT, RECOMMEND, UPLIFT
from huaxiang.serve.api.rooms import Caller
from huaxiang.serve.api.schemas import Recommendations, SessionIntent, Uplift
from huaxiang.serve.sessions import Event
from huaxiang.shop import Shop

router = APIRouter(tags=["foreseen"])
Where = Literal["home", "item", "goes", "again", "email"]


@router.get(
    "/profiles/{user}/recommendations",
    response_model=Recommendations,
    responses=answers(404, 409, 422),
    summary="What to show",
)
async def recommendations(
    rooms: Asked,
    user: User,
    caller: Annotated[Caller, Depends(needs("recommendations", RECOMMEND))],
    item: Annotated[
        list[str], Query(default_factory=list, max_length=50, description="beside which item, or the basket")
    ],
    place: Where = "home",
    count: Annotated[int, Query(ge=1, le=100)] = 10,
) -> dict[str, Any]:
    row = await rooms.row(user, caller.look)
    found = str(row["user_id"])
    shown = await rooms.desk.ask(
        lambda shop: [asdict(one) for one in shop.recommend.show(found, place=place, items=item, count=count)]
    )
    return {"user_id": found, "place": place, "items": [finite(one) for one in shown]}


@router.get(
    "/profiles/{user}/intent",
    response_model=SessionIntent,
    responses=answers(404, 409, 422),
    summary="The chance that the running session ends in a purchase",
)
async def intent(
    rooms: Asked, user: User, caller: Annotated[Caller, Depends(needs("intent", INTENT))]
) -> dict[str, Any]:
    names = rooms.names(user)
    now = datetime.now(UTC).replace(tzinfo=None)
    for one in names:  # a visitor of this minute has no profile yet
        if events := rooms.sessions.of(one, now=now):
            caller.look.users, caller.look.count = [one], 1
            return await rooms.desk.ask(partial(_intent, user=one, events=events))
    row = await rooms.row(user, caller.look)
    found = str(row["user_id"])
    events = rooms.sessions.of(found, now=now)
    if not events:
        await rooms.desk.ask(lambda shop: shop.predict.intent())  # raises: nothing was learned yet
        return {"user_id": found, "running": False, "events": 0}
    return await rooms.desk.ask(partial(_intent, user=found, events=events))


def _intent(shop: Shop, user: str, events: Sequence[Event]) -> dict[str, Any]:
    first = events[0].ts.replace(tzinfo=UTC)
    try:
        session = shop.predict.begin(user, first)
    except UnknownUserError:  # came since the last build
        session = shop.predict.intent().begin()
    for one in events:
        session.add({"event": one.event, "ts": one.ts.replace(tzinfo=UTC), "item_id": one.item_id, "price": one.price})
    why = [{"column": name, "value": value if math.isfinite(value) else None, "effect": effect} for name, value, effect in session.why()]  # fmt: skip
    return {
        "user_id": user,
        "running": True,
        "events": len(events),
        "began_at": write_time(events[0].ts),
        "last_at": write_time(events[-1].ts),
        "chance": session.chance,
        "version": session.version,
        "why": why,
    }


@router.get(
    "/profiles/{user}/uplift",
    response_model=Uplift,
    responses=answers(404, 409, 422),
    summary="How far a message moves the customer",
)
async def uplift(
    rooms: Asked,
    user: User,
    caller: Annotated[Caller, Depends(needs("uplift", UPLIFT))],
    offer: Annotated[str, Query(max_length=128, description="empty: any message")] = "",
) -> dict[str, Any]:
    row = await rooms.row(user, caller.look)
    found = str(row["user_id"])
    try:
        scored = await rooms.desk.ask(lambda shop: shop.score_uplift([found], offer=offer))
    except UnknownUserError as error:  # who came since the last build
        raise ApiError("serve.api_since") from error
    return {"user_id": found, "moves": finite(scored[0])}
