"""What comes back, typed. /api/openapi.json of the server says the same."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Place = Literal["home", "item", "goes", "again", "email"]


class Trait(TypedDict):
    value: Any
    unit: str
    source: Literal["declared", "computed", "predicted", "third_party"]
    confidence: float | None
    expires: str | None


class Profile(TypedDict):
    """sections: section → trait → what is known; personal: the vault's values, where asked for"""

    user_id: str
    as_of: str
    updated_at: str | None
    sections: dict[str, dict[str, Trait]]
    personal: dict[str, str] | None


class DescribedTrait(TypedDict):
    name: str
    section: str
    group: str
    source: str
    unit: str
    days: int | None
    label: dict[str, str]
    meaning: dict[str, str]


class Event(TypedDict):
    event_id: str
    ts: str
    event: str
    item_id: str | None
    order_id: str | None
    session_id: str | None
    quantity: float | None
    price: float | None
    amount: float | None
    channel: str | None
    device: str | None


class Item(TypedDict):
    item_id: str
    title: str
    score: float
    source: str
    because: str
    because_title: str
    fall: float
    bought_ago: int | None
    due: float | None
    chance: bool
    propensity: float
    as_of: str
    version: str


class Intent(TypedDict):
    user_id: str
    running: bool
    events: int
    began_at: str | None
    last_at: str | None
    chance: float | None
    version: str | None
    why: list[dict[str, Any]]


class Audience(TypedDict):
    name: str
    when: str
    meaning: str
    version: str
    as_of: str
    size: int
    entered: int
    left: int


class Preview(TypedDict):
    when: str
    size: int
    customers: int
    share: float
    composition: dict[str, list[dict[str, Any]]]
    sample: list[dict[str, Any]]
    unheld: list[dict[str, Any]]


class Decision(TypedDict):
    user_id: str
    scored: bool
    action: str | None
    as_of: str | None
    reasons: list[str]
    ring: int | None
    risks: dict[str, float]


class Case(TypedDict):
    case_id: str
    user_id: str
    as_of: str
    risk: str
    score: float
    action: str
    decided_by: str
    reasons: list[str]
    evidence: dict[str, Any]
    verdict: str | None
    decided_at: str | None


class Key(TypedDict):
    name: str
    scopes: list[str]
    created_at: str
    last_used: str | None


class Look(TypedDict):
    id: int
    at: str
    key: str
    scope: str
    what: str
    user_id: str | None
    count: int
    personal: bool
    status: int


class Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    mend: str
    places: NotRequired[list[dict[str, str]]]
