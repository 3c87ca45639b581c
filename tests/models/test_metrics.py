"""The figures of the exam against numbers worked out by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from huaxiang.models.curves import best_share, best_threshold, earned_per_user, gains, lift_at, reliability, wilson
from huaxiang.models.exam import bootstrap, grouped_folds, stratified_folds
from huaxiang.models.metrics import measure_binary, measure_class, measure_number, pr_auc, roc_auc, spearman

Y = np.array([1.0, 0.0, 1.0, 0.0])
P = np.array([0.9, 0.8, 0.6, 0.1])


def test_binary_figures_of_four_cases_by_hand() -> None:
    found = measure_binary(Y, P, threshold=0.7)
    # called: 0.9 (right), 0.8 (wrong); missed: 0.6. Pairs won: 0.9>0.8, 0.9>0.1, 0.6>0.1 of 4
    assert found["accuracy"] == 0.5
    assert found["precision"] == 0.5
    assert found["recall"] == 0.5
    assert found["f1"] == 0.5
    assert found["roc_auc"] == 0.75
    assert found["pr_auc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["brier"] == pytest.approx((0.01 + 0.64 + 0.16 + 0.01) / 4)
    assert found["log_loss"] == pytest.approx(-(np.log(0.9) + np.log(0.2) + np.log(0.6) + np.log(0.9)) / 4)


def test_number_figures_by_hand() -> None:
    found = measure_number(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))
    assert found["mse"] == pytest.approx(2 / 3)
    assert found["mae"] == pytest.approx(2 / 3)
    assert found["r2"] == pytest.approx(0.0)  # squared error 2 of a spread of 2
    assert found["spearman"] == pytest.approx(0.5)  # 1 − 6·2 / (3·8)


def test_metrics_agree_with_scikit_learn_on_tied_scores() -> None:
    random = np.random.default_rng(7)
    y = (random.random(500) < 0.3).astype(float)
    p = np.round(np.clip(random.random(500) * 0.6 + 0.3 * y, 0, 1), 1)
    found = measure_binary(y, p, threshold=0.5)
    called = p >= 0.5
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p))
    assert found["pr_auc"] == pytest.approx(sk.average_precision_score(y, p))
    assert found["f1"] == pytest.approx(sk.f1_score(y, called))
    assert found["precision"] == pytest.approx(sk.precision_score(y, called))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(y, p))
    assert measure_binary(y, np.clip(p, 0.05, 0.95), threshold=0.5)["log_loss"] == pytest.approx(
        sk.log_loss(y, np.clip(p, 0.05, 0.95))
    )


def test_class_figures_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(8)
    y = random.integers(0, 3, 300).astype(float)
    p = random.random((300, 3)) + np.eye(3)[y.astype(int)]
    p /= p.sum(axis=1, keepdims=True)
    found = measure_class(y, p)
    assert found["macro_f1"] == pytest.approx(sk.f1_score(y, p.argmax(axis=1), average="macro"))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, p))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))


def test_spearman_agrees_with_scipy_on_ties() -> None:
    from scipy.stats import spearmanr

    a, b = np.array([1.0, 1, 2, 3, 3, 9]), np.array([2.0, 1, 2, 5, 4, 4])
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)


def test_one_class_has_no_area() -> None:
    assert np.isnan(roc_auc(np.ones(3), np.array([0.1, 0.2, 0.3])))
    assert np.isnan(pr_auc(np.zeros(3), np.array([0.1, 0.2, 0.3])))


def test_accuracy_of_unthresholded_scores_is_the_tutorial_mistake() -> None:
    assert float(np.mean(P == Y)) == 0.0  # no float equals its label, however good the model
    assert measure_binary(Y, P, threshold=0.5)["accuracy"] == 0.75


def test_threshold_with_the_largest_f1_by_hand() -> None:
    # F1 at calls 1, 2, 3, 4: 2/3, 2/4, 4/5, 4/6: the third case is the last called, midway to the fourth
    assert best_threshold(Y, P) == pytest.approx((0.6 + 0.1) / 2)


def test_business_figure_by_hand() -> None:
    # value 3, cost 1: earned by k = 1, 2, 3, 4 is 2, 1, 3, 2: act on three of four
    share = best_share(Y, P, value=3, cost=1)
    assert share == 0.75
    earned = earned_per_user(Y, P, share, value=3, cost=1)
    assert earned == {"top": pytest.approx(3 / 4), "all": pytest.approx(0.5), "random": pytest.approx(0.375)}
    assert best_share(Y, P, value=0.5, cost=1) == 0.0


def test_equal_scores_earn_no_lift_whatever_their_order() -> None:
    y = np.array([1.0] * 10 + [0.0] * 90)
    assert lift_at(y, np.full(100, 0.5)) == pytest.approx(1.0)
    assert lift_at(y, np.arange(100, 0, -1.0)) == pytest.approx(10.0)
    assert {round(row["share"], 2): row["captured"] for row in gains(y, np.full(100, 0.5))}[0.5] == pytest.approx(0.5)


def test_reliability_bins_hold_every_row_once() -> None:
    p = np.linspace(0, 1, 1000)
    y = (np.arange(1000) % 2).astype(float)
    bins = reliability(y, p)
    assert sum(row["count"] for row in bins) == 1000
    assert all(row["low"] <= row["observed"] <= row["high"] for row in bins)


def test_wilson_interval_by_hand() -> None:
    low, high = wilson(5, 10)
    assert (float(low), float(high)) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))


def test_bootstrap_interval_of_a_mean_is_about_two_standard_errors() -> None:
    values = np.random.default_rng(3).normal(10, 2, 400)
    found = bootstrap(lambda rows: {"mean": float(values[rows].mean())}, 400, seed=1, times=1000)["mean"]
    assert found["high"] - found["low"] == pytest.approx(4 * 1.96 / 20, rel=0.2)
    assert found["low"] < found["value"] < found["high"]


def test_folds_of_a_user_never_part() -> None:
    users = np.repeat(np.arange(50), 4)
    fold = grouped_folds(users, 5, seed=1)
    assert all(len(set(fold[users == user])) == 1 for user in range(50))
    assert set(fold) == set(range(5))


def test_stratified_folds_spread_a_rare_class_evenly() -> None:
    y = np.array([1.0] * 10 + [0.0] * 90)
    fold = stratified_folds(y, 5, seed=1, task="binary")
    assert [int(y[fold == k].sum()) for k in range(5)] == [2] * 5
    assert sorted(np.bincount(fold)) == [20] * 5
