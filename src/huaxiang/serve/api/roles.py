"""Which key may read what: the only place where that is decided.

A key has one or more scopes, and may do what any of them may.

| scope     | routes                                                            | traits                                            |
|-----------|-------------------------------------------------------------------|---------------------------------------------------|
| profiling | profiles: one, many, by trait; events, explanations, intent,      | all                                               |
|           | recommendations, audiences, guard's decision of a customer        |                                                   |
| marketing | profiles: one, by trait; recommendations, uplift, audiences       | stage and value, buying, interests, tags, chances |
| service   | one customer at a time: profile, events, explanations,            | all but ties and what models guess of attributes  |
|           | recommendations, intent                                           |                                                   |
| personal  | none by itself: with one of the above, `?personal=true`           | the vault's values (name, email, …)               |
| admin     | quality, models, keys, audit, the guard's queue and verdicts      | none                                              |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal

from huaxiang.profile.traits import BUY, BY_NAME, DECLARED

Scope = Literal["profiling", "marketing", "service", "personal", "admin"]
SCOPES: tuple[Scope, ...] = ("profiling", "marketing", "service", "personal", "admin")

# A group of traits: what is allowed or not as one.
Group = Literal[
    "standing", "declared", "buying", "behaviour", "interests", "social", "chances", "guesses", "risk", "tags"
]
GROUPS: tuple[Group, ...] = ("standing", "declared", "buying", "behaviour", "interests", "social", "chances", "guesses", "risk", "tags")  # fmt: skip
FIELDS: Mapping[str, frozenset[Group]] = {
    "profiling": frozenset(GROUPS),
    "marketing": frozenset({"standing", "buying", "interests", "chances", "tags"}),
    "service": frozenset(GROUPS) - {"social", "guesses"},
    "personal": frozenset(),
    "admin": frozenset(),
}
# What a call needs: any one of these.
PROFILE: tuple[Scope, ...] = ("profiling", "marketing", "service")
FIND: tuple[Scope, ...] = ("profiling", "marketing")
MANY: tuple[Scope, ...] = ("profiling",)
EVENTS: tuple[Scope, ...] = ("profiling", "service")
EXPLAIN: tuple[Scope, ...] = ("profiling", "service")
INTENT: tuple[Scope, ...] = ("profiling", "service")
RECOMMEND: tuple[Scope, ...] = ("profiling", "marketing", "service")
UPLIFT: tuple[Scope, ...] = ("marketing",)
AUDIENCES: tuple[Scope, ...] = ("profiling", "marketing")
DECISION: tuple[Scope, ...] = ("profiling", "admin")
ADMIN: tuple[Scope, ...] = ("admin",)
ANY: tuple[Scope, ...] = SCOPES


def groups_of(scopes: Iterable[str]) -> frozenset[Group]:
    """The groups of traits that a key with these scopes may read."""
    return _groups_of(frozenset(scopes))


@cache
def _groups_of(scopes: frozenset[str]) -> frozenset[Group]:
    return frozenset[Group]().union(*(FIELDS[scope] for scope in scopes))


def group_of(name: str, outcomes: Mapping[str, str]) -> Group:
    """The group of a column of `profiles`. outcomes: column -> kind (binary, number, class) of what is predicted"""
    if name in outcomes:
        return "guesses" if outcomes[name] == "class" else "chances"
    if name in ("lifecycle", "value_tier", "tenure_days", "active_limit_days", "comeback_days"):
        return "standing"
    if name in DECLARED or name == "extra":
        return "declared"
    if name == "tags":
        return "tags"
    if name == "next_items":
        return "interests"
    if name == "similar_customers":
        return "social"
    trait = BY_NAME.get(name)
    if trait is None:  # the shop's own features
        return "behaviour"
    if trait.section == "interests":
        return "interests"
    if trait.section == "social":
        return "social"
    if trait.section == "risk":
        return "risk"
    return "buying" if trait.events == BUY and not trait.else_any else "behaviour"
