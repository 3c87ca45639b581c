"""The guard: what it decided of a customer, the cases to look at, and their verdicts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from huaxiang.apply.guard.cases import Case
from huaxiang.apply.guard.guard import SCORES
from huaxiang.apply.guard.risks import RISKS
from huaxiang.engine.duck import quote
from huaxiang.errors import GuardError
from huaxiang.profile.because import finite
from huaxiang.serve.api.asked import Asked, User, answers, needs
from huaxiang.serve.api.roles import ADMIN, DECISION
from huaxiang.serve.api.rooms import Caller
from huaxiang.serve.api.schemas import CaseOf, Decision, Queue, Verdict
from huaxiang.shop import Shop

router = APIRouter(tags=["guard"])


@router.get(
    "/profiles/{user}/guard",
    response_model=Decision,
    responses=answers(404, 409, 422),
    summary="What the guard decided of a customer",
)
async def decision(
    rooms: Asked, user: User, caller: Annotated[Caller, Depends(needs("guard", DECISION))]
) -> dict[str, Any]:
    row = await rooms.row(user, caller.look)
    return await rooms.desk.ask(lambda shop: _decision(shop, str(row["user_id"])))


def _decision(shop: Shop, user: str) -> dict[str, Any]:
    if not shop.lake.has(SCORES):
        raise GuardError("guard.no_queue")
    scores = shop.engine.sql(shop.lake.table(SCORES))
    rows = shop.engine.rows(f"SELECT * FROM ({scores}) WHERE user_id = {quote(user)}")
    if not rows:
        return {"user_id": user, "scored": False}
    row = finite(rows[0])
    return {
        "user_id": user,
        "scored": True,
        "action": row["action"],
        "as_of": str(row["as_of"]),
        "reasons": row["reasons"] or [],
        "ring": row["ring"] if row["ring"] is not None and row["ring"] >= 0 else None,
        "risks": {name: row[name] for name in RISKS if row.get(name) is not None},
    }


@router.get("/guard/queue", response_model=Queue, responses=answers(409, 422), summary="The open cases")
async def queue(
    rooms: Asked,
    caller: Annotated[Caller, Depends(needs("queue", ADMIN))],
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> dict[str, Any]:
    def work(shop: Shop) -> list[Case]:
        if not shop.lake.has(SCORES):
            raise GuardError("guard.no_queue")
        return shop.guard.queue()[:limit]

    cases = await rooms.desk.ask(work)
    caller.look.users, caller.look.count = [case.user_id for case in cases], len(cases)
    return {"cases": [_case(case) for case in cases]}


@router.post(
    "/guard/cases/{case_id}/verdict",
    response_model=CaseOf,
    responses=answers(404, 409, body=True),
    summary="Close a case as fraud or fine",
)
async def verdict(
    rooms: Asked,
    caller: Annotated[Caller, Depends(needs("verdict", ADMIN))],
    case_id: Annotated[str, Path(min_length=1, max_length=64)],
    said: Verdict,
) -> dict[str, Any]:
    now = datetime.now(UTC).replace(tzinfo=None)
    case = await rooms.desk.ask(lambda shop: shop.guard.verdict(case_id, said.verdict, now=now))
    caller.look.users, caller.look.count = [case.user_id], 1
    return _case(case)


def _case(case: Case) -> dict[str, Any]:
    return {
        "case_id": case.case_id,
        "user_id": case.user_id,
        "as_of": case.as_of.isoformat(),
        "risk": case.risk,
        "score": case.score,
        "action": case.action,
        "decided_by": case.decided_by,
        "reasons": list(case.reasons),
        "evidence": finite(case.evidence),
        "verdict": case.verdict,
        "decided_at": None if case.decided_at is None else f"{case.decided_at.isoformat(timespec='seconds')}Z",
    }
