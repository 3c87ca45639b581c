"""What a change of profiles changes in who belongs where, kept in both databases."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable

import pytest

from huaxiang.serve.hooks import Change, Members, Outbox
from huaxiang.serve.hooks.declared import Hook
from huaxiang.serve.hooks.membership import Found
from huaxiang.store import Database

NONE: frozenset[str] = frozenset()


def of(*names: str) -> frozenset[str]:
    return frozenset(names)


def started(database: Database, versions: dict[str, str], everybody: Iterable[Found] = ()) -> Members:
    members = Members(database, versions)
    with database.transaction() as write:
        members.start(write, 1, everybody)
    return members


def diff(members: Members, now: int, found: Found) -> list[tuple[str, str, str]]:
    with members.database.transaction() as write:
        changes = members.diff(write, now, found)
    assert all(one.at == now for one in changes)
    return [(one.user_id, one.audience, one.change) for one in changes]


def test_who_enters_and_leaves_is_told_once(database: Database) -> None:
    members = started(database, {"vip": "1", "tea": "1"})
    assert diff(members, 2, {"ann": of("vip"), "bob": NONE}) == [("ann", "vip", "entered")]
    assert diff(members, 3, {"ann": of("vip", "tea")}) == [("ann", "tea", "entered")]
    assert diff(members, 4, {"ann": of("vip", "tea"), "bob": NONE}) == []
    assert diff(members, 5, {"ann": of("tea"), "bob": of("vip")}) == [("ann", "vip", "left"), ("bob", "vip", "entered")]
    assert members.of("ann") == {"tea": 3} and members.of("nobody") == {}
    assert members.sizes() == {"vip": 1, "tea": 1}


def test_who_belonged_before_anybody_asked_is_not_told_of(database: Database) -> None:
    members = started(database, {"vip": "1"}, [{"ann": of("vip")}, {"bob": NONE}])
    assert diff(members, 2, {"ann": of("vip"), "bob": of("vip")}) == [("bob", "vip", "entered")]


def test_a_new_definition_tells_who_entered_and_left_by_it(database: Database) -> None:
    started(database, {"vip": "1", "tea": "1"}, [{"ann": of("vip"), "bob": of("vip", "tea")}])
    again = Members(database, {"vip": "2", "tea": "1"})
    with database.transaction() as write:
        told = again.start(write, 9, [{"ann": NONE, "bob": of("vip"), "eve": of("vip", "tea")}])
    assert told == [Change("ann", "vip", "left", 9), Change("eve", "vip", "entered", 9)], (
        "of tea the worker tells as profiles change"
    )
    once_more = Members(database, {"vip": "2", "tea": "1"})
    assert (once_more.fresh, once_more.stale) == (NONE, NONE)
    assert once_more.sizes() == {"vip": 2, "tea": 1}


def test_an_audience_declared_no_longer_is_forgotten_and_begins_anew(database: Database) -> None:
    started(database, {"vip": "1", "tea": "1"}, [{"ann": of("vip", "tea")}])
    members = started(database, {"tea": "1"})
    assert members.of("ann") == {"tea": 1}
    members = started(database, {"vip": "1", "tea": "1"}, [{"ann": of("vip", "tea")}])
    assert diff(members, 3, {"ann": of("tea")}) == [("ann", "vip", "left")]


def test_who_is_forgotten_belongs_nowhere_and_nobody_is_told(database: Database) -> None:
    members = started(database, {"vip": "1"}, [{"ann": of("vip")}])
    with database.transaction() as write:
        members.forget(write, ["ann"])
    assert members.of("ann") == {} and members.sizes() == {"vip": 0}


@pytest.mark.parametrize("seed", range(2))
def test_changes_replayed_give_the_members_whatever_was_undone(database: Database, seed: int) -> None:
    """Random memberships, of many users at once, with transactions that fail: outbox and members stay at one."""
    chance, names = random.Random(seed), ["a", "b", "c"]
    members = started(database, dict.fromkeys(names, "1"))
    outbox = Outbox(database, [Hook("crm", "http://x/", None, b"0" * 16)])
    now: dict[str, frozenset[str]] = {}
    for moment in range(2, 14):
        found = {
            f"u{n}": frozenset(chance.sample(names, chance.randrange(4)))
            for n in chance.sample(range(1_500), chance.choice([1, 20, 1_200]))
        }
        fails = chance.random() < 0.3
        with contextlib.suppress(ZeroDivisionError), database.transaction() as write:
            outbox.put(write, members.diff(write, moment, found))
            if fails:
                raise ZeroDivisionError
        now |= {} if fails else found
    held: dict[str, set[str]] = {}
    for user, audience, change in database.rows("SELECT user_id, audience, change FROM outbox ORDER BY id"):
        mine = held.setdefault(user, set())
        assert (audience in mine) == (change == "left"), "no change is told twice"
        mine.symmetric_difference_update({audience})
    assert {user: frozenset(names) for user, names in held.items() if names} == {u: n for u, n in now.items() if n}
    assert members.sizes() == {name: sum(name in names for names in now.values()) for name in names}
