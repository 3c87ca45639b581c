"""Dense groups of customers who share many keys: rings.

source: density and weights Hooi et al. 2016 (FRAUDAR, eq. 2 and 4): a group's score is the weight of the ties inside over its nodes, a tie to a
key that h customers have weighs 1 / log(h + 5), so that a key half the shop has tells little. Peeling Bahmani et al. 2012: in each pass every
node below 2 (1 + ε) times the density goes at once, so that passes are few and each is a few array operations. differs: every connected component is
peeled at the same time, gently where nothing lies below its density, and what is left of it is searched again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from huaxiang.apply.guard.ties import KINDS, Ties
from huaxiang.apply.guard.window import SEASON_DAYS

Ints = NDArray[np.int64]
EPSILON = 0.1
MIN_USERS = 5  # a household may share an address, a device and a card: four are no ring
# A promotion too makes many buy the same on one day. A ring of buyers has bought together several times, and most of it each time.
MIN_BURSTS, MIN_FILL = (
    2,
    0.3,
)  # bursts a member shares at least, and days of the ring; ties there are over ties there could be
ROUNDS = 60
LOOSEN = 4  # a component too loose loses a quarter of its keys, the widest
BURST, ADDRESS = KINDS.index("burst"), KINDS.index("address")


@dataclass(frozen=True)
class Rings:
    """R rings. of: (U,) ring of each customer, −1: none; keys: (U,) keys the customer shares inside it; users, density: (R,);
    kinds: (R, len(KINDS)) keys of each kind. Largest density × log of the members first;
    a ring of both sorts has the density of the denser."""

    of: Ints
    keys: Ints
    users: Ints
    density: NDArray[np.float64]
    kinds: Ints

    def __len__(self) -> int:
        return len(self.users)


def find_rings(ties: Ties) -> Rings:
    """The rings among `ties`: of customers who share devices, payments and other identifiers; and of customers who bought together.

    An address alone makes no ring: a locker, a dormitory, an office serve strangers. What a ring shares of addresses is counted.
    """
    weight = 1.0 / np.log(ties.holders + 5.0)[ties.key]
    bought = ties.kind[ties.key] == BURST
    season = ties.ago // SEASON_DAYS
    found = _search(ties, weight, ~bought & (ties.kind[ties.key] != ADDRESS), 1)
    for one in np.unique(
        season[ties.key[bought]]
    ):  # over a year the promotions of all seasons would hold everybody together
        found += _search(ties, weight, bought & (season[ties.key] == one), MIN_BURSTS)
    found.sort(key=lambda group: -group.density * np.log(len(group.users)))
    of, held = np.full(ties.users, -1, dtype=np.int64), np.zeros(ties.users, dtype=np.int64)
    kinds: list[Ints] = []
    densities: list[float] = []
    for group in found:
        taken = of[group.users]
        free, met = group.users[taken < 0], np.bincount(taken[taken >= 0], minlength=1)
        other = int(met.argmax())
        if met[other] and 2 * met[other] >= min(len(group.users), np.count_nonzero(of == other)):
            kinds[other] += group.kinds  # who shares devices and buys together is one ring
        elif len(free) >= MIN_USERS:
            other = len(kinds)
            kinds.append(group.kinds)
            densities.append(group.density)
        else:
            continue
        of[free] = other
        held[group.users] += np.where(of[group.users] == other, group.held, 0)
    users = np.bincount(of[of >= 0], minlength=len(kinds))
    shared = np.array(kinds, dtype=np.int64).reshape(len(kinds), len(KINDS))
    shared[:, ADDRESS] += _addresses(ties, of, len(kinds))
    return Rings(of, held, users, np.array(densities), shared)


def _addresses(ties: Ties, of: Ints, rings: int) -> Ints:
    """(R,) addresses that two of a ring's accounts have."""
    there = (ties.kind[ties.key] == ADDRESS) & (of[ties.user] >= 0)
    pair, held = np.unique(np.stack([of[ties.user[there]], ties.key[there]]), axis=1, return_counts=True)
    return np.bincount(pair[0][held > 1], minlength=rings).astype(np.int64)


@dataclass(frozen=True)
class Group:
    """One ring: its customers, the keys each has inside, the keys of each kind, its density."""

    users: Ints
    held: Ints
    kinds: Ints
    density: float


def find_circles(ties: Ties) -> Ints:
    """(U,) number of the circle of each customer: all who hang together by shared devices, payments and other identifiers, two already;
    −1: alone."""
    kind = ties.kind[ties.key]
    part = _components(ties, (kind != BURST) & (kind != ADDRESS))[: ties.users]
    return np.where(np.bincount(part)[part] > 1, part, -1) if ties.users else part


def _search(ties: Ties, weight: NDArray[np.float64], left: NDArray[np.bool_], least: int) -> list[Group]:
    """The rings over the ties of `left`, whose members have at least `least` keys each."""
    found: list[Group] = []
    names = np.arange(ties.users)
    for _ in range(ROUNDS):
        left = _core(ties, left, least)
        if not left.any():
            break
        ties, weight, names = _only(ties, weight, names, left)
        groups, done = _groups(ties, weight, _peel(ties, weight))
        found += [replace(group, users=names[group.users]) for group in groups]
        left = ~done
    return found


def _only(
    ties: Ties, weight: NDArray[np.float64], names: Ints, left: NDArray[np.bool_]
) -> tuple[Ties, NDArray[np.float64], Ints]:
    """The ties of `left` alone, customers and keys numbered anew; names: what the customers were called."""
    users, user = np.unique(ties.user[left], return_inverse=True)
    keys, key = np.unique(ties.key[left], return_inverse=True)
    return Ties(len(users), user, key, ties.kind[keys], ties.ago[keys]), weight[left], names[users]


def _core(ties: Ties, left: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """The ties of `left` between customers with at least `least` keys and keys with at least two customers, until all of them are."""
    while True:
        held = np.bincount(ties.key[left], minlength=ties.keys)
        kept = left & (held > 1)[ties.key]
        kept &= (np.bincount(ties.user[kept], minlength=ties.users) >= least)[ties.user]
        if (kept == left).all():
            return left
        left = kept


def _components(ties: Ties, left: NDArray[np.bool_]) -> Ints:
    """(U + K,) connected component of each node over the ties of `left`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = ties.users + ties.keys
    user, key = ties.user[left], ties.key[left] + ties.users
    graph = coo_array((np.ones(len(user), dtype=np.int8), (user, key)), shape=(nodes, nodes))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _peel(ties: Ties, weight: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(T,) whether a tie is in the densest state of its component that peeling met."""
    part = _components(ties, np.ones(len(ties.user), dtype=bool))
    parts, nodes = int(part.max()) + 1, ties.users + ties.keys
    place, user, key = np.arange(len(ties.user)), ties.user, ties.key + ties.users
    of_user = part[ties.user]
    gone_in, best, best_pass = (
        np.zeros(len(user), dtype=np.int64),
        np.full(parts, -1.0),
        np.zeros(parts, dtype=np.int64),
    )
    step = 0
    while len(place):
        step += 1
        degree = np.bincount(user, weights=weight[place], minlength=nodes)
        degree += np.bincount(key, weights=weight[place], minlength=nodes)
        there = np.flatnonzero(degree)
        size = np.maximum(np.bincount(part[there], minlength=parts), 1)
        density = np.bincount(part[there], weights=degree[there], minlength=parts) / 2 / size
        better = density > best + 1e-12
        best[better], best_pass[better] = density[better], step
        least = np.full(parts, np.inf)
        np.minimum.at(least, part[there], degree[there])
        # A node below the density only dilutes it. Where there is none, the least go: gently, so that no ring is skipped over.
        limit = np.maximum(density, np.minimum(2 * (1 + EPSILON) * density, (1 + EPSILON) * least)) * (1 + 1e-9)
        goes = degree <= limit[part]
        lost = goes[user] | goes[key]
        gone_in[place[lost]] = step
        place, user, key = place[~lost], user[~lost], key[~lost]
    return gone_in >= best_pass[of_user]


def _groups(ties: Ties, weight: NDArray[np.float64], kept: NDArray[np.bool_]) -> tuple[list[Group], NDArray[np.bool_]]:
    """Each component of the ties `kept` that is a ring; and the ties that need no further search.

    A component too loose to be one ring may be several that a promotion holds together: its widest keys are done with, the rest is searched on.
    """
    places = np.flatnonzero(kept)
    of_tie = _components(ties, kept)[ties.user[places]]
    order = np.argsort(of_tie, kind="stable")
    made, done = [], np.zeros(len(kept), dtype=bool)
    for inside in np.split(places[order], np.flatnonzero(np.diff(of_tie[order])) + 1):
        users, held = np.unique(ties.user[inside], return_counts=True)
        keys, holders = np.unique(ties.key[inside], return_counts=True)
        bursts = ties.kind[keys[0]] == BURST
        if bursts and len(np.unique(ties.ago[keys])) < MIN_BURSTS:  # what is bought on one day is one trip
            done[inside] = True
            continue
        together = not bursts or len(inside) >= MIN_FILL * len(users) * len(keys)
        if len(users) >= MIN_USERS and not together:
            widest = keys[np.argsort(-holders, kind="stable")[: max(1, len(keys) // LOOSEN)]]
            done[inside[np.isin(ties.key[inside], widest)]] = True
            continue
        done[inside] = True
        if len(users) >= MIN_USERS:
            kinds = np.bincount(ties.kind[keys], minlength=len(KINDS))
            density = float(weight[inside].sum() / (len(users) + len(keys)))
            made.append(Group(users, held.astype(np.int64), kinds, density))
    return made, done
