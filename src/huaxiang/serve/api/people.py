"""Profiles: one, many, by a condition; why they are so; what the customer did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from huaxiang.engine.duck import quote
from huaxiang.errors import UnknownUserError
from huaxiang.features.users import bucket_of
from huaxiang.profile.because import finite, write_time
from huaxiang.serve.api.asked import Asked, User, answers, needs
from huaxiang.serve.api.problems import ApiError
from huaxiang.serve.api.roles import EVENTS, EXPLAIN, FIND, MANY, PROFILE
from huaxiang.serve.api.rooms import Caller, Rooms
from huaxiang.serve.api.schemas import (
    Events,
    Explained,
    FoundProfiles,
    ProfileDocument,
    ProfileList,
    Users,
)
from huaxiang.serve.api.trimmed import trim
from huaxiang.shop import Shop
from huaxiang.tables import EVENT_NAMES

router = APIRouter(tags=["profiles"])
EPOCH = datetime(1970, 1, 1)
CURSOR = r"^[0-9]{1,17}~[!-~]{1,100}$"  # µs since 1970, event_id: several events may be of one moment
SHOWN = ("lifecycle", "value_tier", "recency_days", "orders_90d", "spend_90d")
_EVENT = ("event_id", "event", "item_id", "order_id", "session_id", "quantity", "price", "amount", "channel", "device")
Where = Annotated[str, Query(max_length=2_000, description="the language of audiences; empty: everybody")]


async def read_profile(rooms: Rooms, caller: Caller, user: str) -> dict[str, Any]:
    """The document of one profile: what the route gives, and the door without it."""
    caller.look.what = "profile"
    caller.need(PROFILE)
    row = await rooms.row(user, caller.look)
    return (await rooms.catalogue()).document(row, caller.groups)


@router.get("/profiles/{user}", response_model=ProfileDocument, responses=answers(404, 409, 422), summary="One profile")
async def one(
    rooms: Asked,
    user: User,
    caller: Annotated[Caller, Depends(needs("profile", PROFILE))],
    personal: Annotated[bool, Query(description="add the vault's values; needs the scope personal")] = False,
) -> dict[str, Any]:
    if personal:
        caller.need_personal()
    document = await read_profile(rooms, caller, user)
    if personal:
        vault = rooms.running.shop.vault(create=True)
        document["personal"] = await rooms.desk.run(lambda: vault.get(document["user_id"]))
    return document


@router.post("/lookup", response_model=ProfileList, responses=answers(409, body=True), summary="Many profiles")
async def many(
    rooms: Asked, asked: Users, caller: Annotated[Caller, Depends(needs("profiles", MANY))]
) -> dict[str, Any]:
    catalogue = await rooms.catalogue()
    rows = await rooms.rows(asked.users, caller.look)
    return {"profiles": [None if row is None else catalogue.document(row, caller.groups) for row in rows]}


@router.get(
    "/profiles",
    response_model=FoundProfiles,
    responses=answers(409, 422),
    summary="Profiles for which a condition holds",
)
async def find(
    rooms: Asked,
    caller: Annotated[Caller, Depends(needs("find", FIND))],
    fields: Annotated[list[str], Query(default_factory=list, max_length=200, description="traits to tell of each")],
    where: Where = "",
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    after: Annotated[str, Query(pattern="^([A-Za-z0-9]{12})?$", description="`next` of the page before")] = "",
    count: Annotated[bool, Query(description="count all pages too")] = False,
) -> dict[str, Any]:
    catalogue = await rooms.catalogue()

    def work() -> tuple[list[Mapping[str, Any]], int | None]:
        profiles = rooms.profiles
        known = profiles.columns()
        columns = [name for name in SHOWN if name in known] if not fields else list(dict.fromkeys(fields))
        if unknown := [name for name in columns if name not in known]:
            raise ApiError("serve.api_no_field", name=unknown[0][:64])
        read = profiles.reads(where) if where.strip() else ()
        if closed := [name for name in (*columns, *read) if not catalogue.may_read(name, caller.groups)]:
            raise ApiError("serve.api_fields", fields=", ".join(dict.fromkeys(closed)), name=caller.key.name)
        rows = profiles.find(where, columns=columns, limit=limit + 1, after=after)
        return rows, profiles.count(where) if count else None

    rows, total = await rooms.desk.run(work)
    shown = rows[:limit]
    caller.look.users, caller.look.count = [str(row["user_id"]) for row in shown], len(shown)
    return {"profiles": shown, "next": shown[-1]["user_id"] if len(rows) > limit else None, "count": total}


@router.get(
    "/profiles/{user}/explained",
    response_model=dict[str, Any],
    responses=answers(404, 409, 422),
    summary="The whole profile, with the evidence of every trait, as of the last build",
)
async def explained(
    rooms: Asked, user: User, caller: Annotated[Caller, Depends(needs("explained", EXPLAIN))]
) -> dict[str, Any]:
    row = await rooms.row(user, caller.look)
    catalogue = await rooms.catalogue()
    try:
        document = await rooms.desk.ask(lambda shop: shop.profile(row["user_id"]).to_dict())
    except UnknownUserError as error:  # who came since
        raise ApiError("serve.api_since") from error
    return trim(document, catalogue, caller.groups)


@router.get(
    "/profiles/{user}/explain/{trait}",
    response_model=Explained,
    responses=answers(404, 409, 422),
    summary="Why a trait is so",
)
async def explain(
    rooms: Asked, user: User, trait: User, caller: Annotated[Caller, Depends(needs("explain", EXPLAIN))]
) -> dict[str, Any]:
    document = await explained(rooms, user, caller)
    for part in document["sections"].values():
        for one in part["traits"]:
            if one["name"] == trait:
                return {"user_id": document["user_id"], "trait": one}
    raise ApiError("serve.api_no_trait")


@router.get(
    "/profiles/{user}/events", response_model=Events, responses=answers(404, 409, 422), summary="What the customer did"
)
async def events(
    rooms: Asked,
    user: User,
    caller: Annotated[Caller, Depends(needs("events", EVENTS))],
    event: Annotated[str | None, Query(json_schema_extra={"enum": list(EVENT_NAMES)}, max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    before: Annotated[str | None, Query(pattern=CURSOR, description="`next` of the page before")] = None,
) -> dict[str, Any]:
    if event is not None and event not in EVENT_NAMES:
        raise ApiError("serve.api_invalid", more={"places": [{"at": "query.event", "why": "not in the vocabulary"}]})
    row = await rooms.row(user, caller.look)
    found = str(row["user_id"])
    until = None if before is None else _place(before)
    recent = await rooms.desk.run(lambda: rooms.profiles.recent(found))
    held = [{name: one[name] for name in ("ts", *_EVENT)} for one in recent if event is None or one["event"] == event]
    built = await rooms.desk.ask(lambda shop: _events(shop, found, event, until, limit + 1))
    known = {one["event_id"] for one in built}
    fresh = [one for one in held if one["event_id"] not in known and (until is None or _order(one) > _order(until))]
    every = sorted([*built, *fresh], key=_order)
    shown = every[:limit]
    after = f"{-_order(shown[-1])[0]}~{shown[-1]['event_id']}" if len(every) > limit else None
    told = [one | {"ts": write_time(one["ts"])} for one in shown]
    return {"user_id": found, "events": told, "next": after}


def _events(
    shop: Shop, user: str, event: str | None, until: Mapping[str, Any] | None, limit: int
) -> list[dict[str, Any]]:
    """The events of one customer that the last build knows, newest first."""
    table = shop.lake.table("ready.events")
    where = f"user_id = {quote(user)} AND bucket = {bucket_of(user)}"
    where += f" AND event = {quote(event)}" if event is not None else ""
    if until is not None:
        moment = f"TIMESTAMP '{until['ts'].isoformat(sep=' ')}'"
        where += f" AND (ts < {moment} OR (ts = {moment} AND event_id > {quote(until['event_id'])}))"
    picked = ", ".join(("ts", *_EVENT))
    sql = f"SELECT {picked} FROM ({shop.engine.sql(table)}) WHERE {where} ORDER BY ts DESC, event_id LIMIT {limit}"
    rows: Sequence[dict[str, Any]] = shop.engine.rows(sql)
    return [finite(row) for row in rows]


def _order(event: Mapping[str, Any]) -> tuple[int, str]:
    """Newest first; those of one moment by their id."""
    return -((event["ts"] - EPOCH) // timedelta(microseconds=1)), event["event_id"]


def _place(cursor: str) -> dict[str, Any]:
    """The event that a page ended with."""
    moment, _, number = cursor.partition("~")
    return {"ts": EPOCH + timedelta(microseconds=int(moment)), "event_id": number}
