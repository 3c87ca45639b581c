"""Ties, rings and neighbours on small graphs worked out by hand, and one ring of 150,000 accounts."""

from __future__ import annotations

import numpy as np
import pytest

from huaxiang.apply.guard.neighbours import aggregate
from huaxiang.apply.guard.rings import find_circles, find_rings
from huaxiang.apply.guard.ties import KINDS, Ties


def make_ties(users: int, keys: list[tuple[str, list[int]]], days: list[int] | None = None) -> Ties:
    """Ties from each key's kind and the customers who have it. days: ago of each key (default: each another)"""
    return Ties(
        users,
        np.array([user for _, holders in keys for user in holders], dtype=np.int64),
        np.array([at for at, (_, holders) in enumerate(keys) for _ in holders], dtype=np.int64),
        np.array([KINDS.index(kind) for kind, _ in keys], dtype=np.int64),
        np.arange(len(keys)) if days is None else np.array(days),
    )


def test_six_who_share_two_devices_are_a_ring_and_a_family_of_four_is_none() -> None:
    rings = find_rings(make_ties(12, [("device", [0, 1, 2]), ("device", [2, 3, 4, 5]), ("address", [8, 9, 10, 11])]))
    assert len(rings) == 1 and list(rings.users) == [6]
    assert list(rings.of) == [0] * 6 + [-1] * 6
    assert list(rings.keys[:6]) == [1, 1, 2, 1, 1, 1]


def test_a_promotion_is_no_ring_and_those_who_bought_together_inside_it_are() -> None:
    """60 honest customers, each in two of twelve promotions; five customers share four days of their own, and one promotion."""
    keys = [("burst", [user for user in range(60) if user % 12 == k or (user // 5) % 12 == k]) for k in range(12)]
    keys[0][1].extend(range(60, 65))
    keys += [("burst", list(range(60, 65))) for _ in range(4)]
    rings = find_rings(make_ties(65, keys))
    ring = rings.of[60]
    assert ring >= 0 and set(np.flatnonzero(rings.of == ring)) == set(range(60, 65))


def test_a_ring_by_device_and_by_purchases_is_one() -> None:
    members = list(range(7))
    rings = find_rings(make_ties(9, [("device", members), *[("burst", members) for _ in range(3)]]))
    assert len(rings) == 1 and rings.users[0] == 7
    assert rings.kinds[0][KINDS.index("device")] == 1 and rings.kinds[0][KINDS.index("burst")] == 3
    assert rings.keys[0] == 4


def test_a_ring_of_150000_accounts_is_found_beside_a_small_one() -> None:
    users = 150_010
    crowd = np.arange(150_000)
    device = np.concatenate(
        [crowd % 5_000, np.full(6, 5_001), np.full(150_000, 5_000)]
    )  # 30 a device, and one payment for all
    user = np.concatenate([crowd, np.arange(150_002, 150_008), crowd])
    order = np.lexsort((user, device))
    kind = np.full(5_002, KINDS.index("device"))
    kind[5_000] = KINDS.index("payment")
    ties = Ties(users, user[order], device[order], kind, np.zeros_like(kind))
    rings = find_rings(ties)
    assert sorted(rings.users) == [6, 150_000]
    assert np.count_nonzero(rings.of == -1) == 4


def test_no_ties_are_no_rings() -> None:
    ties = make_ties(3, [])
    assert len(find_rings(ties)) == 0 and list(find_circles(ties)) == [-1, -1, -1]
    assert np.isnan(aggregate(ties, np.ones((3, 1)), ("x",)).values[:, 2:]).all()


def test_a_circle_is_who_hangs_together_by_identifiers_other_than_addresses() -> None:
    circles = find_circles(make_ties(6, [("device", [0, 1]), ("payment", [1, 2]), ("address", [2, 5]), ("burst", [3, 4]), ("other", [4, 5])]))  # fmt: skip
    assert circles[0] == circles[1] == circles[2] != circles[4]
    assert circles[3] == -1 and circles[4] == circles[5]


def test_neighbours_are_the_others_with_the_same_keys() -> None:
    """0 and 1 share a key, 1, 2 and 3 another; signals 10, 20, 30, unknown."""
    near = aggregate(make_ties(5, [("device", [0, 1]), ("address", [1, 2, 3])]), np.array([[10.0], [20], [30], [np.nan], [7]]), ("x",))  # fmt: skip
    at = {name: near.values[:, place] for place, name in enumerate(near.columns)}
    assert list(at["near_count"]) == [1, 3, 2, 2, 0] and list(at["near_keys"]) == [1, 2, 1, 1, 0]
    # of 1: 10 by the first key, 30 by the second (3 is unknown); of 3: 20 and 30
    assert at["near_mean_x"][:4] == pytest.approx([20, 20, 20, 25]) and np.isnan(at["near_mean_x"][4])
    assert at["near_max_x"][:4] == pytest.approx([20, 30, 20, 30]) and np.isnan(at["near_max_x"][4])


def test_the_largest_of_the_others_where_two_have_it() -> None:
    near = aggregate(make_ties(3, [("device", [0, 1, 2])]), np.array([[5.0], [5], [1]]), ("x",))
    assert list(near.values[:, near.columns.index("near_max_x")]) == [5, 5, 5]


def test_what_is_bought_on_one_day_is_one_trip_and_seasons_do_not_add_up() -> None:
    members = list(range(6))
    bursts = [("burst", members), ("burst", members)]
    assert len(find_rings(make_ties(6, bursts, [3, 4]))) == 1
    assert len(find_rings(make_ties(6, bursts, [3, 3]))) == 0
    assert len(find_rings(make_ties(6, bursts, [3, 200]))) == 0
