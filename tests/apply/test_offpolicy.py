"""Off-policy estimates: by hand, against a policy that was truly run, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from huaxiang.apply.recommend.offpolicy import estimate_policy
from huaxiang.apply.recommend.outcome import expect_rewards
from huaxiang.errors import ModelError


def test_by_hand() -> None:
    """Rewards 1, 0, 1, 0; weights .5/.25 = 2, .5/.5 = 1, 0/.5 = 0, 1/.5 = 2: ips 2/4, snips 2/5."""
    found = estimate_policy(
        np.array([1.0, 0, 1, 0]), np.array([0.25, 0.5, 0.5, 0.5]), np.array([0.5, 0.5, 0, 1.0]), seed=1,
        expected_shown=np.array([0.5] * 4), expected_wanted=np.array([0.3] * 4),
    )  # fmt: skip
    assert found.estimates["ips"].value == pytest.approx(0.5)
    assert found.estimates["snips"].value == pytest.approx(0.4)
    assert found.estimates["dr"].value == pytest.approx((1.2 + 2 * 0.5 + 1 * -0.5 + 2 * -0.5) / 4)
    assert found.logged.value == pytest.approx(0.5) and found.effective == pytest.approx(25 / 9) and not found.enough


def test_it_finds_what_the_other_policy_earns_when_it_is_run() -> None:
    """Five items of different worth, logged evenly; the other policy shows the best half of the time. Ninety-five in a hundred intervals should
    hold its true reward: at least 80 of 100 here."""
    worth, target = np.array([0.05, 0.1, 0.2, 0.3, 0.6]), np.array([0.125, 0.125, 0.125, 0.125, 0.5])
    truth, held = float(worth @ target), {"ips": 0, "snips": 0, "dr": 0}
    for seed in range(100):
        random = np.random.default_rng(seed)
        item = random.integers(5, size=2_000)
        reward = (random.random(2_000) < worth[item]).astype(float)
        wrong = np.array([0.1, 0.1, 0.1, 0.4, 0.4])  # a model of rewards that is off
        found = estimate_policy(
            reward, np.full(2_000, 0.2), target[item], seed=seed, expected_shown=wrong[item], expected_wanted=np.full(2_000, float(wrong @ target)),
        )  # fmt: skip
        for name, one in found.estimates.items():
            held[name] += one.low <= truth <= one.high
        assert found.enough
    assert min(held.values()) >= 80


def test_what_is_expected_of_a_customer_is_what_came_of_the_others() -> None:
    """Five customers, a fold each, of two impressions at one place: item 0 earns 1, item 1 nothing, but for the last, of whom both earn 9. Of the
    last the others say: mean 4/8, place 4/8, item 0 off by 4 × .5 / (4 + 20), item 1 by as much less; of an item that nobody met: the place."""
    reward = np.array([1.0, 0] * 4 + [9, 9])
    item, customer, place = np.array([0, 1] * 5), np.repeat(np.arange(5), 2), np.zeros(10, np.int64)
    listed = np.array([-1, 0] * 4 + [2, 0])
    shown, wanted = expect_rewards(reward, place, item, listed, customer, seed=3)
    assert shown[8:] == pytest.approx([0.5 + 1 / 12, 0.5 - 1 / 12])
    assert wanted[8:] == pytest.approx([0.5, 0.5 + 1 / 12]) and wanted[0] == 0
    assert (shown[:8] > 1).all(), "of the others the last says more"
    alone, _ = expect_rewards(reward, place, item, listed, np.zeros(10, np.int64), seed=3)
    assert alone.tolist() == [0.0] * 10, "one customer has no others"


def test_expected_from_the_log_itself_the_doubly_robust_estimate_is_narrower_and_right() -> None:
    """Four items of different worth, logged evenly; the other list has item 3 for everybody. 95 in 100 intervals should hold its worth of .6."""
    worth, held, wide = np.array([0.2, 0.4, 0.5, 0.6]), 0, {"ips": 0.0, "dr": 0.0}
    for seed in range(40):
        random = np.random.default_rng(seed)
        item, customer = random.integers(4, size=1_000), np.repeat(np.arange(250), 4)
        reward = (random.random(1_000) < worth[item]).astype(float)
        listed, place = np.full(1_000, 3), np.zeros(1_000, np.int64)
        expected = expect_rewards(reward, place, item, listed, customer, seed=seed)
        found = estimate_policy(
            reward, np.full(1_000, 0.25), (item == listed).astype(float), seed=seed, group=customer, expected_shown=expected[0], expected_wanted=expected[1],
        ).estimates  # fmt: skip
        held += found["dr"].low <= 0.6 <= found["dr"].high
        wide = {name: width + found[name].high - found[name].low for name, width in wide.items()}
    assert held >= 32 and wide["dr"] < 0.8 * wide["ips"]


def test_heavy_weights_are_cut_and_told() -> None:
    found = estimate_policy(np.ones(100), np.full(100, 0.001), np.ones(100), seed=1, cap=20)
    assert found.cut == 1 and found.estimates["ips"].value == pytest.approx(20)
    assert found.estimates["snips"].value == pytest.approx(1)


def test_impressions_of_one_customer_count_as_one() -> None:
    random = np.random.default_rng(2)
    reward = np.repeat(random.integers(2, size=20), 50).astype(float)
    alone = estimate_policy(reward, np.ones(1000), np.ones(1000), seed=1)
    together = estimate_policy(reward, np.ones(1000), np.ones(1000), seed=1, group=np.repeat(np.arange(20), 50))
    assert together.logged.high - together.logged.low > 4 * (alone.logged.high - alone.logged.low)


@pytest.mark.parametrize(("shown", "wanted"), [(0.0, 0.5), (1.2, 0.5), (0.5, -0.1), (float("nan"), 0.5)])
def test_impossible_chances_are_refused(shown: float, wanted: float) -> None:
    with pytest.raises(ModelError, match="1 row"):
        estimate_policy(np.ones(2), np.array([0.5, shown]), np.array([0.5, wanted]), seed=1)
    with pytest.raises(ModelError, match="no impression"):
        estimate_policy(np.zeros(0), np.zeros(0), np.zeros(0), seed=1)
