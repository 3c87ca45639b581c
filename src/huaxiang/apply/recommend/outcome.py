"""What a log expects of an item at a place: the place's mean reward and the item's own deviation from it, each drawn towards what is known
without it, which counts PRIOR impressions. Every customer's impressions are expected by what came of the others' (out of fold)."""

from __future__ import annotations

import numpy as np

from huaxiang.apply.recommend.past import Floats, Ints

FOLDS = 5
PRIOR = 20.0  # impressions, set by hand


def expect_rewards(reward: Floats, place: Ints, shown: Ints, listed: Ints, group: Ints, *, seed: int) -> tuple[Floats, Floats]:  # fmt: skip
    """(N,), (N,) the reward expected of what was shown, and of what another list has there.

    place, shown, group: (N,) codes from 0 of the place, the item and the customer; listed: (N,) the other list's item, −1: it has none
    """
    customers = int(group.max(initial=-1)) + 1
    fold = (np.random.default_rng(seed).permutation(customers) % FOLDS)[group]
    places, items = int(place.max(initial=-1)) + 1, int(max(shown.max(initial=-1), listed.max(initial=-1))) + 1
    of_shown, of_listed = np.zeros(len(reward)), np.zeros(len(reward))
    for one in range(FOLDS):
        others, asked = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        overall = float(reward[others].mean()) if len(others) else 0.0
        base = overall + _shrunk(reward[others] - overall, place[others], places)
        own = _shrunk(reward[others] - base[place[others]], shown[others], items)
        of_shown[asked] = base[place[asked]] + own[shown[asked]]
        of_listed[asked] = np.where(listed[asked] >= 0, base[place[asked]] + own[listed[asked]], 0.0)
    return of_shown, of_listed


def _shrunk(values: Floats, code: Ints, codes: int) -> Floats:
    """(codes,) the mean of the values of each code, drawn towards 0 by PRIOR of them."""
    return np.bincount(code, values, minlength=codes) / (np.bincount(code, minlength=codes) + PRIOR)
