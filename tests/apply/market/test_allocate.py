"""Allocation: worked by hand, exact against relaxed, limits kept, stated answers where nothing is given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from huaxiang.apply.market.allocate import allocate
from huaxiang.apply.market.policies import compare_policies
from huaxiang.errors import DefinitionError


def random_case(n: int, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(1, 2, (n, m)), generator.uniform(0.2, 2, (n, m))


def best_by_hand(value, cost, budget, per_user, limits) -> float:
    """Every allocation there is, tried."""
    n, m = value.shape
    best = 0.0
    for bits in itertools.product((False, True), repeat=n * m):
        given = np.array(bits).reshape(n, m)
        fits = (given.sum(axis=0) <= limits).all() and (given.sum(axis=1) <= per_user).all()
        if fits and cost[given].sum() <= budget:
            best = max(best, float(value[given].sum()))
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("per_user", [1, 2])
def test_exact_is_the_best_of_all(seed: int, per_user: int) -> None:
    value, cost = random_case(4, 3, seed)
    limits = [2, 1, 3]
    found = allocate(value, cost, budget=3.0, per_user=per_user, limits=limits)
    assert found.method == "highs"
    assert found.profit == pytest.approx(best_by_hand(value, cost, 3.0, per_user, limits), rel=1e-3)


@pytest.mark.parametrize("limits", [None, [150, 60, 90]], ids=["free", "limited"])
@pytest.mark.parametrize("per_user", [1, 2])
def test_relaxed_keeps_every_limit_and_is_near_its_bound(per_user: int, limits) -> None:
    value, cost = random_case(800, 3, 9)
    exact = allocate(value, cost, budget=150.0, per_user=per_user, limits=limits)
    relaxed = allocate(value, cost, budget=150.0, per_user=per_user, limits=limits, exact=0)
    assert relaxed.method == "prices"
    assert relaxed.cost <= 150.0 + 1e-9
    assert relaxed.given.sum(axis=1).max() <= per_user
    if limits is not None:
        assert (relaxed.given.sum(axis=0) <= limits).all()
    assert exact.profit <= relaxed.bound * (1 + 1e-9)  # the bound is one
    assert relaxed.profit >= 0.98 * exact.profit
    assert relaxed.gap < 0.02


def test_nobody_not_allowed_is_given_anything() -> None:
    value, cost = random_case(100, 2, 1)
    allowed = np.random.default_rng(0).random((100, 2)) < 0.3
    for exact in (0, 20_000):
        found = allocate(value, cost, budget=20, eligible=allowed, exact=exact)
        assert found.offers > 0
        assert not (found.given & ~allowed).any()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"budget": 0.0}, "budget"),
        ({"eligible": np.zeros(10, dtype=bool)}, "nobody"),
        ({"per_user": 0}, "nobody"),
        ({"value": -np.ones((10, 2))}, "loss"),
    ],
    ids=["budget", "eligible", "per_user", "loss"],
)
def test_nothing_given_says_why(change, why) -> None:
    given = {"value": np.ones((10, 2)), "cost": np.ones((10, 2)), "budget": 5.0} | change
    found = allocate(given.pop("value"), given.pop("cost"), **given)
    assert (found.why_empty, found.offers, found.profit) == (why, 0, 0.0)


def test_a_free_offer_is_given_with_no_budget() -> None:
    found = allocate(np.ones((3, 1)), np.zeros((3, 1)), budget=0.0)
    assert found.customers == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budget": -1}, "negative"),
        ({"limits": [1, 2, 3]}, "do not fit"),
        ({"cost": np.full((4, 2), np.nan)}, "missing or infinite"),
        ({"cost": np.full((4, 2), -1.0)}, "negative"),
    ],
    ids=["budget", "limits", "nan", "cost"],
)
def test_impossible_terms_are_errors(change, said) -> None:
    given = {"cost": np.ones((4, 2)), "budget": 1.0} | change
    with pytest.raises(DefinitionError, match=said):
        allocate(np.ones((4, 2)), given.pop("cost"), **given)


def test_optimal_beats_what_a_shop_would_do_otherwise() -> None:
    generator = np.random.default_rng(1)
    effect, likely = generator.normal(0.02, 0.05, 2000), generator.random(2000)
    value = (effect * 30 - 0.5)[:, None]
    best, policies = compare_policies(value, np.full((2000, 1), 0.5), likely, budget=200, seed=1)
    earned = {policy.name: policy.profit for policy in policies}
    assert earned["optimal"] == pytest.approx(best.profit)
    assert earned["optimal"] > max(earned["random"], earned["propensity"], earned["everyone"])
    by_name = {policy.name: policy for policy in policies}
    assert by_name["everyone"].over_budget
    assert by_name["everyone"].customers == 2000
    assert not by_name["random"].over_budget
