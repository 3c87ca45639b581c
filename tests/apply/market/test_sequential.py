"""Reading a difference: by hand, CUPED, intervals that survive peeking; and how many customers a test needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from huaxiang.apply.market.samples import detectable_effect, size_for_means, size_for_shares
from huaxiang.apply.market.sequential import always_valid_half, always_valid_p, read_difference
from huaxiang.errors import DefinitionError, ModelError


def test_difference_by_hand() -> None:
    treated, outcome = np.array([1.0, 1, 1, 0, 0, 0]), np.array([3.0, 5, 4, 1, 2, 3])
    found = read_difference(treated, outcome, None, tau=1.0)
    assert found.estimate == pytest.approx(2.0)
    half = 1.959964 * math.sqrt(1 / 3 + 1 / 3)  # both variances are 1
    assert found.fixed_interval == pytest.approx((2 - half, 2 + half), rel=1e-5)
    assert found.interval[0] < found.fixed_interval[0]
    assert found.variance_cut == 0.0


def test_interval_ends_where_the_likelihood_ratio_reaches_one_over_alpha() -> None:
    """The interval is the test turned round: at its ends the p-value is alpha."""
    variance, tau = 0.04, 0.5
    end = brentq(lambda estimate: always_valid_p(estimate, variance, tau) - 0.05, 0.1, 5)
    assert always_valid_half(variance, tau, 0.05) == pytest.approx(end, rel=1e-6)


def test_past_takes_variance_away_and_leaves_the_effect() -> None:
    generator = np.random.default_rng(1)
    before, treated = generator.normal(10, 3, 4000), (generator.random(4000) < 0.5).astype(float)
    outcome = before + generator.normal(0, 1, 4000) + 0.5 * treated
    raw, cut = (read_difference(treated, outcome, past, tau=0.5) for past in (None, before))
    assert cut.variance_cut == pytest.approx(0.9, abs=0.02)  # r² = 9 / 10
    assert cut.interval[1] - cut.interval[0] < 0.4 * (raw.interval[1] - raw.interval[0])
    assert abs(cut.estimate - 0.5) < 0.1
    flat = read_difference(treated, outcome, np.ones(4000), tau=0.5)
    assert flat.estimate == pytest.approx(raw.estimate)


def test_peeking_every_day_errs_less_than_once_in_twenty() -> None:
    """No effect, 300 tests, 40 looks each: the fixed interval leaves 0 far too often, the always-valid one does not."""
    generator = np.random.default_rng(7)
    fooled = {"always": 0, "fixed": 0}
    for _ in range(300):
        treated = (generator.random(4000) < 0.5).astype(float)
        outcome = generator.normal(0, 1, 4000)
        looks = [read_difference(treated[:n], outcome[:n], None, tau=0.1) for n in range(100, 4001, 100)]
        fooled["always"] += any(look.is_null is False for look in looks)
        fooled["fixed"] += any(not look.fixed_interval[0] <= 0 <= look.fixed_interval[1] for look in looks)
    assert fooled["always"] <= 0.05 * 300
    assert fooled["fixed"] > 0.15 * 300


def test_an_effect_is_found() -> None:
    generator = np.random.default_rng(2)
    treated = (generator.random(20_000) < 0.5).astype(float)
    found = read_difference(treated, (generator.random(20_000) < 0.1 + 0.03 * treated).astype(float), None, tau=0.02)
    assert not found.is_null
    assert found.p_value < 0.01


def test_one_arm_is_an_error() -> None:
    with pytest.raises(ModelError, match="treated 5, not treated 0"):
        read_difference(np.ones(5), np.arange(5.0), None, tau=1)


def test_sample_sizes_as_the_textbooks_have_them() -> None:
    # 5 % against 6 %, level .05, power .8: 8,158 an arm (Fleiss et al., no continuity correction)
    found = size_for_shares(0.05, 0.01)
    assert (found.treated, found.holdout) == (8158, 8158)
    # (1.96 + .8416)² · 2 · 10² / 2² = 392.4 an arm
    means = size_for_means(10, 2)
    assert (means.treated, means.holdout) == (393, 393)
    assert detectable_effect(means.customers, 10) == pytest.approx(2, rel=2e-3)
    small = size_for_shares(0.05, 0.01, holdout=0.1)
    assert small.customers > found.customers
    assert small.holdout == pytest.approx(small.customers * 0.1, rel=0.01)


def test_planned_power_is_reached() -> None:
    size = size_for_shares(0.1, 0.04)
    generator = np.random.default_rng(3)
    one = generator.binomial(size.treated, 0.14, 2000) / size.treated
    none = generator.binomial(size.holdout, 0.1, 2000) / size.holdout
    pooled = (one + none) / 2
    z = (one - none) / np.sqrt(pooled * (1 - pooled) * 2 / size.treated)
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    "make",
    [
        lambda: size_for_shares(0.05, 0),
        lambda: size_for_shares(0.95, 0.1),
        lambda: size_for_means(0, 1),
        lambda: size_for_means(1, 1, holdout=0),
        lambda: size_for_means(1, 1, power=1),
    ],
    ids=["no effect", "above one", "no spread", "no holdout", "certain"],
)
def test_impossible_tests_are_errors(make) -> None:
    with pytest.raises(DefinitionError):
        make()
