"""The Qini curve and its coefficient: worked by hand, and against their definition in plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from huaxiang.apply.market.qini import measure_ranking, qini_curve, quick_qini
from huaxiang.errors import ModelError


def sample(n: int = 4000, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, treated, outcome: the treatment adds .3 where x > 0 and nothing elsewhere."""
    generator = np.random.default_rng(seed)
    x, treated = generator.normal(size=n), (generator.random(n) < 0.5).astype(float)
    return x, treated, (generator.random(n) < 0.2 + 0.3 * treated * (x > 0)).astype(float)


def test_curve_by_hand() -> None:
    # order: treated 1, control 0, treated 0, control 1
    share, q = qini_curve(np.array([4.0, 3, 2, 1]), np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 0, 1]))
    assert share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert q.tolist() == [0, 1, 1, 1, 0]  # the last: 1 − 1 · 2/2


def test_equal_scores_enter_together() -> None:
    share, q = qini_curve(np.zeros(4), np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 0, 1]))
    assert share.tolist() == [0, 1]
    assert q.tolist() == [0, 0]


def test_coefficient_is_the_definition_in_plain_python() -> None:
    x, treated, outcome = sample(300)

    def area(score: np.ndarray) -> float:
        points, sums = [(0.0, 0.0)], [0.0, 0.0, 0.0, 0.0]
        rows = sorted(zip(score, treated, outcome, strict=True), key=lambda row: -row[0])
        for at, (s, t, y) in enumerate(rows):
            sums = [sums[0] + t, sums[1] + 1 - t, sums[2] + t * y, sums[3] + (1 - t) * y]
            if at + 1 == len(rows) or rows[at + 1][0] != s:
                points.append(((at + 1) / len(rows), sums[2] - (sums[3] * sums[0] / sums[1] if sums[1] else 0)))
        under = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(points, points[1:], strict=False))
        return under - points[-1][1] / 2

    more_control = (outcome * (1 - treated)).sum() > (outcome * treated).sum()
    perfect = 2 * (outcome == treated) + (outcome if more_control else treated)
    assert quick_qini(x, treated, outcome) == pytest.approx(area(x) / area(perfect), rel=1e-9)


def test_perfect_order_is_one_and_its_reverse_below_zero() -> None:
    _, treated, outcome = sample()
    perfect = 2.0 * (outcome == treated) + treated
    assert quick_qini(perfect, treated, outcome) == pytest.approx(1.0)
    assert quick_qini(-perfect, treated, outcome) < -0.5


def test_interval_holds_the_figure_and_random_order_is_null() -> None:
    x, treated, outcome = sample()
    found = measure_ranking(x, treated, outcome, seed=1, resamples=200)
    assert found.qini_interval[0] < found.qini < found.qini_interval[1]
    assert found.effect_interval[0] < 0.15 < found.effect_interval[1]
    assert found.auuc > found.auuc_random
    assert not found.is_null
    chance = measure_ranking(np.random.default_rng(5).random(len(x)), treated, outcome, seed=1, resamples=200)
    assert chance.is_null


def test_random_orders_average_zero() -> None:
    _, treated, outcome = sample(500)
    generator = np.random.default_rng(0)
    found = [quick_qini(generator.random(500), treated, outcome) for _ in range(400)]
    assert abs(np.mean(found)) < 4 * np.std(found) / 20


def test_amounts_have_a_coefficient_too() -> None:
    x, treated, bought = sample()
    spend = bought * np.random.default_rng(2).gamma(2, 10, len(x))
    assert 0 < quick_qini(x, treated, spend) < 1


def test_one_arm_and_a_flat_outcome_are_errors() -> None:
    with pytest.raises(ModelError, match="treated 50, not treated 0"):
        measure_ranking(np.arange(50.0), np.ones(50), np.arange(50) % 2, seed=1)
    with pytest.raises(ModelError, match=r"outcome is 0\.0 for all 50"):
        measure_ranking(np.arange(50.0), np.arange(50) % 2.0, np.zeros(50), seed=1)


@pytest.mark.parametrize("folds", [1, 2])
def test_a_resample_without_any_effect_has_no_share_of_the_total_and_does_no_harm(folds: int) -> None:
    """Each customer once treated and once not, as many buyers in either arm: where both weigh the same, Q(n) = 0 and no share of it is told.

    Half a fold ranks its buyers first, half last, so that the area over 0 would be ∞ in one fold and −∞ in the other.
    """
    customer = np.arange(120) // 2
    treated = (np.arange(120) % 2).astype(float)
    outcome = np.isin(np.arange(60), [*range(1, 20, 2), *range(40, 60, 2)]).astype(float)
    score, fold = np.concatenate([np.linspace(1, 0, 60), np.linspace(0, 1, 60)]), np.arange(120) // 60 * (folds - 1)
    found = measure_ranking(score, treated, np.tile(outcome, 2), seed=1, resamples=400, customer=customer, fold=fold)
    assert np.isfinite([*found.qini_interval, *found.auuc_interval, *found.effect_interval]).all()
