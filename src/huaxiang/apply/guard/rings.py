"""Dense groups of customers who share many keys: rings.

source: density and weights Hooi et al. 2016 (FRAUDAR, eq. 2 and 4): a group's score is the weight of the ties inside over its nodes, a tie to a
key that h customers have weighs 1 / log(h + 5), so that a key half the shop has tells little. Peeling Bahmani et al. 2012: in each pass every
node below 2 (1 + ε) times the density goes at once, so that passes are few and each is a few array operations. differs: every connected component is
peeled at the same time, gently where nothing lies below its density, and what is left of it is searched again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from huaxiang.apply.guard.ties import KINDS, Ties

Ints = NDArray[np.int64]
EPSILON = 0.1
MIN_USERS = 5  # a household may share an address, a device and a card: four are no ring
# A promotion too makes many buy the same on one day. A ring of buyers has bought together several times, and most of it each time.
MIN_BURSTS, MIN_FILL = 2.0, 0.3  # bursts a member shares on the mean; ties there are over ties there could be
ROUNDS = 12
BURST = KINDS.index("burst")


@dataclass(frozen=True)
class Rings:
    """R rings. of: (U,) ring of each customer, −1: none; keys: (U,) keys the customer shares inside it; users, density: (R,);
    kinds: (R, len(KINDS)) keys of each kind. Largest density × log of the members first."""

    of: Ints
    keys: Ints
    users: Ints
    density: NDArray[np.float64]
    kinds: Ints

    def __len__(self) -> int:
        return len(self.users)


def find_rings(ties: Ties) -> Rings:
    """The rings among `ties`: of customers who share addresses, devices, payments; and of customers who bought together."""
    weight = 1.0 / np.log(ties.holders + 5.0)[ties.key]
    bought = ties.kind[ties.key] == BURST
    found = [group for left in (~bought, bought) for group in _search(ties, weight, left)]
    found.sort(key=lambda group: -group.density * np.log(len(group.users)))
    of, keys, rings = np.full(ties.users, -1, dtype=np.int64), np.zeros(ties.users, dtype=np.int64), []
    for group in found:
        free = of[group.users] < 0  # who shares a device and bought together too is one ring, the stronger
        if np.mean(free) > 0.5:
            of[group.users[free]], keys[group.users[free]] = len(rings), group.held[free]
            rings.append(group)
    kinds = np.array([group.kinds for group in rings], dtype=np.int64).reshape(len(rings), len(KINDS))
    users = np.bincount(of[of >= 0], minlength=len(rings))
    return Rings(of, keys, users, np.array([group.density for group in rings]), kinds)


@dataclass(frozen=True)
class Group:
    """One ring: its customers, the keys each has inside, the keys of each kind, its density."""

    users: Ints
    held: Ints
    kinds: Ints
    density: float


def _search(ties: Ties, weight: NDArray[np.float64], left: NDArray[np.bool_]) -> list[Group]:
    """The rings over the ties of `left`."""
    found: list[Group] = []
    for _ in range(ROUNDS):
        left = _shared_only(ties, left)
        if not left.any():
            break
        kept = _peel(ties, weight, left)
        found += _groups(ties, weight, kept)
        left &= ~kept
    return found


def _shared_only(ties: Ties, left: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The ties of `left` to keys that at least two customers still have."""
    held = np.bincount(ties.key[left], minlength=ties.keys)
    return left & (held > 1)[ties.key]


def _components(ties: Ties, left: NDArray[np.bool_]) -> Ints:
    """(U + K,) connected component of each node over the ties of `left`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = ties.users + ties.keys
    user, key = ties.user[left], ties.key[left] + ties.users
    graph = coo_array((np.ones(len(user), dtype=np.int8), (user, key)), shape=(nodes, nodes))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _peel(ties: Ties, weight: NDArray[np.float64], left: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The ties of the densest state of each component that peeling met."""
    part = _components(ties, left)
    parts, nodes = int(part.max()) + 1, ties.users + ties.keys
    user, key = ties.user, ties.key + ties.users
    alive, gone_in = left.copy(), np.zeros(len(user), dtype=np.int64)
    best, best_pass, step = np.full(parts, -1.0), np.zeros(parts, dtype=np.int64), 0
    while alive.any():
        step += 1
        degree = np.bincount(user[alive], weights=weight[alive], minlength=nodes)
        degree += np.bincount(key[alive], weights=weight[alive], minlength=nodes)
        there = degree > 0
        size = np.maximum(np.bincount(part[there], minlength=parts), 1)
        density = np.bincount(part[there], weights=degree[there], minlength=parts) / 2 / size
        better = density > best + 1e-12
        best[better], best_pass[better] = density[better], step
        least = np.full(parts, np.inf)
        np.minimum.at(least, part[there], degree[there])
        # A node below the density only dilutes it. Where there is none, the least go: gently, so that no ring is skipped over.
        limit = np.maximum(density, np.minimum(2 * (1 + EPSILON) * density, (1 + EPSILON) * least)) * (1 + 1e-9)
        goes = there & (degree <= limit[part])
        lost = alive & (goes[user] | goes[key])
        gone_in[lost] = step
        alive &= ~lost
    return left & (gone_in >= best_pass[part[user]])


def _groups(ties: Ties, weight: NDArray[np.float64], kept: NDArray[np.bool_]) -> list[Group]:
    """Each component of the ties `kept` that is a ring."""
    places = np.flatnonzero(kept)
    of_tie = _components(ties, kept)[ties.user[places]]
    order = np.argsort(of_tie, kind="stable")
    made = []
    for inside in np.split(places[order], np.flatnonzero(np.diff(of_tie[order])) + 1):
        users, held = np.unique(ties.user[inside], return_counts=True)
        keys = np.unique(ties.key[inside])
        together = len(inside) >= max(MIN_BURSTS * len(users), MIN_FILL * len(users) * len(keys))
        if len(users) >= MIN_USERS and (ties.kind[keys[0]] != BURST or together):
            kinds = np.bincount(ties.kind[keys], minlength=len(KINDS))
            density = float(weight[inside].sum() / (len(users) + len(keys)))
            made.append(Group(users, held.astype(np.int64), kinds, density))
    return made
