"""A customer who asks to be forgotten."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from huaxiang.serve.api.asked import Asked, User, answers, needs
from huaxiang.serve.api.problems import ApiError
from huaxiang.serve.api.roles import ADMIN
from huaxiang.serve.api.rooms import Caller
from huaxiang.serve.api.schemas import Erased
from huaxiang.serve.live.rows import now_us

router = APIRouter(tags=["profiles"])


@router.delete(
    "/profiles/{user}",
    response_model=Erased,
    responses=answers(422),
    summary="Forget a customer: profile, state, vault; what was received until now counts no more",
)
async def erase(rooms: Asked, user: User, caller: Annotated[Caller, Depends(needs("erase", ADMIN))]) -> dict[str, Any]:
    """Both ids that `user` may be are forgotten, known or not, so that asking again is safe."""
    worker, upto = rooms.running.worker, now_us()
    names = rooms.names(user)
    caller.look.users, caller.look.count = names[:1], 1
    if worker is None or not worker.ready.is_set():
        raise ApiError("serve.api_no_worker")
    known = bool(await rooms.desk.run(lambda: rooms.profiles.many(names)))
    done = [await rooms.desk.run(lambda one=one: worker.erase(one, upto=upto)) for one in names]  # type: ignore[misc]
    if not all(done):
        raise ApiError("serve.api_busy")
    return {"user_id": names[0], "erased": True, "known": known}
