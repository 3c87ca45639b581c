"""Cookies and identifiers: what the shop sees of who is who, and what is true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from huaxiang.demo.simulated.acts import LOGIN, SIGNUP, Acts, Lines
from huaxiang.demo.simulated.people import DEVICES, People
from huaxiang.demo.simulated.shelves import STAMP, mails, phones, pick
from huaxiang.demo.simulated.visits import RING, THEFT, Visits
from huaxiang.demo.simulated.world import Floats, Ints, World, hash01, user_ids, utc_us

PLATFORMS = ("app", "web", "mini_program")
MODELS = ("ios", "android", "pc", "pad")
_EPOCHS = 64  # a device's cookies, at most
PRESENTS = 0.05  # orders that go to somebody else
_OF_OTHERS = 1 << 33  # their addresses: no customer's


@dataclass(frozen=True)
class Cookies:
    """names: the cookies of a piece; of: (V,) each visit's; device: (C,) the device each lives on; person: (C,) its most frequent
    user; first: (C,) the day it was first seen."""

    names: list[str]
    of: Ints
    device: Ints
    person: Ints
    first: Floats


def draw_cookies(people: People, visits: Visits) -> Cookies:
    """A cookie lives 40 to 400 days on its device, then the next begins."""
    device = visits.device
    life = 40 + 360 * hash01(device, 5)
    epoch = np.floor((visits.day + hash01(device, 6) * life) / life).astype(np.int64)
    key, first_row, of = np.unique(device * _EPOCHS + epoch, return_index=True, return_inverse=True)
    first = np.full(len(key), np.inf)
    np.minimum.at(first, of, visits.day)
    # whose it is: who made most visits with it
    pair, count = np.unique(of * (len(people) + 1) + visits.user, return_counts=True)
    cookie, user = pair // (len(people) + 1), pair % (len(people) + 1)
    last = np.lexsort((-user, count, cookie))
    owner = np.zeros(len(key), dtype=np.int64)
    owner[cookie[last]] = user[last]
    names = [f"ck{number:012x}" for number in (key * 2_654_435_761 % (1 << 47)).tolist()]
    return Cookies(names, of, device[first_row], people.person[owner], first)


def identifiers_table(
    people: People, visits: Visits, acts: Acts, lines: Lines, cookies: Cookies, end: float
) -> pa.Table:
    """What was seen together before the day `end`: cookie and device, account and device, account and phone, mail, address or payment,
    guest's cookie and phone."""
    seen = cookies.first < end
    cookie = np.nonzero(seen)[0]
    logins = acts.known & (acts.day < end) & ((acts.event == LOGIN) | (acts.event == SIGNUP))
    visit = acts.visit[logins]
    pair, first = np.unique(visits.device[visit] * (len(people) + 1) + visits.user[visit], return_index=True)
    device, user, at = pair // (len(people) + 1), pair % (len(people) + 1), acts.day[logins][first]
    guests = np.nonzero(~lines.known & (lines.day < end))[0]
    guests = guests[np.unique(lines.visit[guests], return_index=True)[1]]
    guest_visit = lines.visit[guests]
    everyone = np.nonzero(people.arrival < end)[0]
    orders = np.nonzero(lines.known & (lines.day < end))[0]
    buyer = visits.user[lines.visit[orders]]
    where = ship_to(people, visits, lines.visit[orders])
    places, place_first = np.unique(where * (len(people) + 1) + buyer, return_index=True)
    payers, payer_first = np.unique(buyer, return_index=True)
    receiver = places % (len(people) + 1)
    ids = user_ids(people.number)
    texts = pa.array(ids).cast(pa.string())
    none_user, none_cookie = pa.nulls, pa.nulls
    parts = [
        ("device", _devices(cookies.device[cookie]), none_user(len(cookie), pa.string()), pa.array(cookies.names).take(pa.array(cookie)), cookies.first[cookie]),
        ("device", _devices(device), texts.take(pa.array(user)), none_cookie(len(user), pa.string()), at),
        ("phone", phones(people.phone[everyone]), texts.take(pa.array(everyone)), none_cookie(len(everyone), pa.string()), people.arrival[everyone]),
        ("email", pa.array(mails(ids[everyone]), pa.string()), texts.take(pa.array(everyone)), none_cookie(len(everyone), pa.string()), people.arrival[everyone]),
        ("phone", phones(people.phone[visits.user[guest_visit]]), none_user(len(guests), pa.string()), pa.array(cookies.names).take(pa.array(cookies.of[guest_visit])), lines.day[guests]),
        ("address", addresses(places // (len(people) + 1)), texts.take(pa.array(receiver)), none_cookie(len(places), pa.string()), lines.day[orders][place_first]),
        ("payment", payments(people.payment[payers]), texts.take(pa.array(payers)), none_cookie(len(payers), pa.string()), lines.day[orders][payer_first]),
    ]  # fmt: skip
    return pa.concat_tables(
        pa.table({"kind": pick([kind], np.zeros(len(value), np.int64)), "value": value, "uid": user, "cookie": cookie, "seen_at": pa.array(utc_us(day), STAMP)})
        for kind, value, user, cookie, day in parts
    ).unify_dictionaries()  # fmt: skip


def true_identities(people: People, visits: Visits, cookies: Cookies, end: float) -> pa.Table:
    """raw_id, kind (user or visitor), person: which human is behind it. A cookie two people share is the one's who uses it more."""
    seen = np.nonzero(cookies.first < end)[0]
    thieves = np.isin(cookies.device, visits.device[visits.kind == THEFT])[seen]
    person = np.where(thieves, -1 - cookies.device[seen], cookies.person[seen])
    users = pa.array(user_ids(people.number)).cast(pa.string())
    return pa.table(
        {
            "raw_id": pa.concat_arrays([users, pa.array(cookies.names, pa.string()).take(pa.array(seen))]),
            "kind": pa.array(["user"] * len(people) + ["visitor"] * len(seen)),
            "person": np.concatenate((people.person, person)),
        }
    )


def ties_table(world: World, people: People, piece: int) -> pa.Table:
    """Friends of the same circle, and accounts that share an address, a device or a payment."""
    chance, n = world.chance("ties", piece), len(people)
    user = np.repeat(np.arange(n), chance.poisson(1.6, n))
    other = user // 16 * 16 + chance.integers(0, 16, len(user))
    ok = (other < n) & (other != user)
    friends = (user[ok], np.minimum(other[ok], n - 1), "friend")
    parts = [
        friends,
        (*_neighbours(people.address), "shared_address"),
        (*_neighbours(people.device[:, 0]), "shared_device"),
        (*_neighbours(people.payment), "shared_payment"),
    ]
    ids = user_ids(people.number)
    tables = []
    for one, two, kind in parts:
        since = np.maximum(np.maximum(people.arrival[one], people.arrival[two]), 0) + 1
        ok = since < world.days
        tables.append(
            pa.table({"a": pa.array(ids[one[ok]]).cast(pa.string()), "b": pa.array(ids[two[ok]]).cast(pa.string()), "kind": pick([kind], np.zeros(int(ok.sum()), np.int64)), "since": pa.array(utc_us(since[ok]), STAMP)})
        )  # fmt: skip
    return pa.concat_tables(tables).unify_dictionaries()


def _neighbours(values: Ints) -> tuple[Ints, Ints]:
    """Places with equal values, each tied to the next."""
    order = np.argsort(values, kind="stable")
    same = values[order][1:] == values[order][:-1]
    return order[:-1][same], order[1:][same]


def ship_to(people: People, visits: Visits, visit: Ints) -> Ints:
    """The address each visit's order goes to: the customer's, now and then that of one of theirs, for a present; a thief's own."""
    user, kind = visits.user[visit], visits.kind[visit]
    number, minute = people.number[user], np.floor(visits.day[visit] * 1440).astype(np.int64)
    present = (hash01(number, minute) < PRESENTS) & (kind < RING)
    theirs = _OF_OTHERS + number * 16 + (hash01(number, minute, 1) * 4).astype(np.int64)  # one of four
    home = np.where(present, theirs, people.address[user])
    return np.where(kind == THEFT, visits.device[visit] // DEVICES, home)


def addresses(numbers: Ints) -> pa.Array:
    return _named("addr", numbers)


def payments(numbers: Ints) -> pa.Array:
    return _named("pay", numbers)


def _devices(numbers: Ints) -> pa.Array:
    return _named("dev", numbers)


def _named(kind: str, numbers: Ints) -> pa.Array:
    """Names that tell nothing of the numbers' order, different for different numbers."""
    return pa.array([f"{kind}-{number:09x}" for number in (numbers * 48_271 % (1 << 35)).tolist()], pa.string())
