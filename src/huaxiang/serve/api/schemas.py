"""What the API answers and takes, as OpenAPI tells it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Value = Any  # of a trait: text, number, list or object, by its name
UserId = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Place(_Said):
    at: str
    why: str


class Problem(BaseModel):
    """RFC 9457, with `mend`: what to do about it."""

    type: str
    title: str
    status: int
    detail: str
    mend: str
    places: list[Place] | None = Field(default=None, description="where the request does not fit (422)")


class Trait(_Said):
    value: Value
    unit: str
    source: Literal["declared", "computed", "predicted", "third_party"]
    confidence: float | None = Field(
        description="0 to 1; null where only the explained document counts the events behind"
    )
    expires: str | None = Field(description="when it is stale, UTC; null: it does not expire")


class ProfileDocument(_Said):
    user_id: str = Field(description="the customer's pseudonym")
    as_of: str
    updated_at: str | None = None
    sections: dict[str, dict[str, Trait]] = Field(description="section → trait → what is known")
    personal: dict[str, str] | None = Field(
        default=None, description="the vault's values, where asked for by `personal=true`"
    )


class Users(_Said):
    users: Annotated[list[UserId], Field(min_length=1, max_length=1_000)]


class ProfileList(_Said):
    profiles: list[ProfileDocument | None] = Field(description="in the order asked for; null: no such customer")


class FoundProfiles(_Said):
    profiles: list[dict[str, Value]] = Field(description="user_id and the fields asked for")
    next: str | None = Field(description="`after` of the next page; null: this was the last")
    count: int | None = Field(default=None, description="of all pages, where asked for by `count=true`")


class DescribedTrait(_Said):
    name: str
    section: str
    group: str = Field(description="which scopes may read it, by the table of scopes")
    source: str
    unit: str
    days: int | None = Field(description="the window it looks back on; 0: all history, null: it does not expire")
    label: dict[str, str]
    meaning: dict[str, str]


class Traits(_Said):
    traits: list[DescribedTrait]


class Event(_Said):
    event_id: str
    ts: str
    event: str
    item_id: str | None = None
    order_id: str | None = None
    session_id: str | None = None
    quantity: float | None = None
    price: float | None = None
    amount: float | None = None
    channel: str | None = None
    device: str | None = None


class Events(_Said):
    user_id: str
    events: list[Event] = Field(description="newest first")
    next: str | None = Field(description="`before` of the next page; null: this was the last")


class Explained(_Said):
    """A trait with the evidence it rests on: definition, events, reasons, model."""

    user_id: str
    trait: dict[str, Value]


class Item(BaseModel):
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


class Recommendations(_Said):
    user_id: str
    place: str
    items: list[Item]


class Moving(_Said):
    column: str
    value: float | None
    effect: float


class SessionIntent(_Said):
    user_id: str
    running: bool
    events: int
    began_at: str | None = None
    last_at: str | None = None
    chance: float | None = Field(default=None, description="that the session ends in a purchase; null: none runs")
    version: str | None = None
    why: list[Moving] = []


class Uplift(_Said):
    user_id: str
    moves: dict[str, Value]


class AudienceOf(BaseModel):
    name: str
    when: str
    meaning: str
    version: str
    as_of: str
    size: int
    entered: int
    left: int


class Audiences(_Said):
    audiences: list[AudienceOf]


class Members(_Said):
    name: str
    users: list[str] = Field(description="pseudonyms, in their order")
    size: int
    next: str | None


class Condition(_Said):
    when: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] = Field(
        description="the language of audiences: lifecycle == 'at_risk' and spend_90d > 100"
    )
    sample: Annotated[int, Field(ge=0, le=100)] = 5


class Previewed(_Said):
    when: str
    size: int
    customers: int
    share: float
    composition: dict[str, list[dict[str, Value]]]
    sample: list[dict[str, Value]]
    unheld: list[dict[str, Value]] = Field(description="values compared with that no customer has: misspelt, or rare")


class CaseOf(BaseModel):
    case_id: str
    user_id: str
    as_of: str
    risk: str
    score: float
    action: str
    decided_by: str
    reasons: list[str]
    evidence: dict[str, Value]
    verdict: str | None
    decided_at: str | None


class Queue(_Said):
    cases: list[CaseOf] = Field(description="the riskiest first")


class Erased(BaseModel):
    user_id: str
    erased: bool
    known: bool = Field(description="whether there was a profile; where not, look at the id again")


class Verdict(_Said):
    verdict: Literal["fraud", "fine"]


class Decision(_Said):
    user_id: str
    scored: bool = Field(description="whether the guard has looked at this customer")
    action: str | None = None
    as_of: str | None = None
    reasons: list[str] = []
    ring: int | None = None
    risks: dict[str, float] = {}


class Cards(_Said):
    cards: list[dict[str, Value]] = Field(description="one an outcome, as `reports` shows it")


class KeyOf(_Said):
    name: str
    scopes: list[str]
    created_at: str
    last_used: str | None


class KeyList(_Said):
    keys: list[KeyOf]


class LookAt(_Said):
    id: int
    at: str
    key: str
    scope: str
    what: str
    user_id: str | None
    count: int
    personal: bool
    status: int


class Looks(_Said):
    looks: list[LookAt] = Field(description="newest first")
    next: int | None = Field(description="`before` of the next page; null: this was the last")


class Health(_Said):
    status: str
    version: str
    collected: int
    waiting: int | None
