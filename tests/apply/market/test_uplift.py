"""Learners of uplift: each finds a planted effect, none finds one where there is none, and the choice is made on inner folds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import DATA
from huaxiang.apply.market.causal_forest import Splits
from huaxiang.apply.market.experiment import read_experiment
from huaxiang.apply.market.qini import measure_ranking, quick_qini
from huaxiang.apply.market.uplift import (
    check_balance,
    choose_learner,
    fit_uplift,
    measure_uplift,
    split_folds,
)
from huaxiang.apply.market.uplift_learners import LearnerConfig, doubly_robust, fit_learner, learner_grid
from huaxiang.apply.market.uplift_parts import Learner
from huaxiang.errors import ModelError
from huaxiang.models.zoo import Matrix
from huaxiang.models.zoo.baseline import Baseline, BaselineConfig
from huaxiang.models.zoo.linear import LinearConfig

GRID = learner_grid(binary=True)
T_LINEAR = next(config for config in GRID if config.name == "t-linear")
LEARNERS = GRID


def planted(n: int, *, effect: float, seed: int = 0) -> tuple[Matrix, np.ndarray, np.ndarray, np.ndarray]:
    """x, treated, outcome and each one's true effect: `effect` in group "b" of a category, 0 in "a"; the base rate depends on a number."""
    generator = np.random.default_rng(seed)
    group, number = generator.integers(2, size=n).astype(float), generator.normal(size=n)
    noise = generator.normal(size=(n, 2))
    treated, true = (generator.random(n) < 0.5).astype(float), effect * group
    base = 0.15 + 0.1 * (number > 0)
    outcome = (generator.random(n) < base + treated * true).astype(float)
    x = Matrix(("group", "number", "n1", "n2"), np.column_stack([group, number, noise]), frozenset({"group"}))
    return x, treated, outcome, true


@pytest.mark.parametrize("config", LEARNERS, ids=lambda config: config.name)
def test_learner_ranks_the_moved_group_first(config) -> None:
    x, treated, y, _ = planted(3000, effect=0.3)
    new, new_treated, new_y, true = planted(3000, effect=0.3, seed=1)
    score = fit_learner(config, x, treated, y, seed=1)(new)
    assert score.shape == (3000,)
    assert score[true > 0].mean() > score[true == 0].mean() + 0.1
    assert abs(score.mean() - 0.15) < 0.06
    assert quick_qini(score, new_treated, new_y) > 0.1


@pytest.mark.parametrize("config", LEARNERS, ids=lambda config: config.name)
def test_learner_is_the_same_again_and_scores_a_customer_alone_alike(config) -> None:
    x, treated, y, _ = planted(500, effect=0.2)
    first, again = (fit_learner(config, x, treated, y, seed=4) for _ in range(2))
    assert np.array_equal(first(x), again(x))
    assert first(x.rows(np.array([7])))[0] == pytest.approx(first(x)[7], abs=1e-12)


@pytest.mark.parametrize("config", LEARNERS, ids=lambda config: config.name)
def test_learner_kept_as_json_scores_the_same_bit_by_bit(config) -> None:
    x, treated, y, _ = planted(500, effect=0.2)
    fitted = fit_learner(config, x, treated, y, seed=4)
    again = Learner.from_state(json.loads(json.dumps(fitted.state(), allow_nan=False)))
    new = planted(300, effect=0.2, seed=9)[0]
    new.values[:3, 1] = np.nan  # a customer of whom a number is not known
    assert np.array_equal(fitted(new), again(new))


def test_forest_falls_into_the_leaves_that_scikit_learn_says() -> None:
    from sklearn.tree import DecisionTreeRegressor

    x = np.random.default_rng(0).normal(size=(400, 3))
    tree = DecisionTreeRegressor(max_depth=5, random_state=0).fit(x, x[:, 0] * x[:, 1])
    inner = tree.tree_
    splits = Splits(inner.feature, inner.threshold, inner.children_left, inner.children_right)
    assert np.array_equal(splits.leaf_of(x.astype(np.float32)), tree.apply(x))
    assert len(np.unique(tree.apply(x))) > 10


@pytest.mark.parametrize("kind", ["sparse", "forest-400"])
def test_rows_of_one_customer_are_cross_fitted_together(kind, monkeypatch) -> None:
    """Each customer's row stands twice, their outcome in both: a model that saw the one would know the other."""
    seen: list[tuple[set[float], set[float]]] = []
    fit, score = Baseline.fit, Baseline.score

    def spy_fit(self, x, y, **rest):
        self.saw = set(x.values[:, -1])
        return fit(self, x, y, **rest)

    def spy_score(self, x):
        seen.append((self.saw, set(x.values[:, -1])))
        return score(self, x)

    monkeypatch.setattr(Baseline, "fit", spy_fit)
    monkeypatch.setattr(Baseline, "score", spy_score)
    x, treated, y, _ = planted(400, effect=0.2)
    twice = np.repeat(np.arange(400), 2)
    config = replace(next(one for one in GRID if one.name == kind), outcome=BaselineConfig("binary"))
    fit_learner(config, x.rows(twice), treated[twice], y[twice], seed=1, customer=twice)
    assert len(seen) == (10 if kind == "sparse" else 5)  # five folds, of both arms or of all
    assert all(not learned & asked for learned, asked in seen)  # a customer goes by their number, another for each
    seen.clear()
    fit_learner(config, x.rows(twice), treated[twice], y[twice], seed=1)
    assert any(learned & asked for learned, asked in seen)


def test_amounts_have_learners_too() -> None:
    x, treated, y, true = planted(3000, effect=0.3)
    spend = y * 20
    fitted = fit_uplift(x, treated, spend, seed=1, grid=learner_grid(binary=False)[:1])
    score = fitted.score(x)
    assert score[true > 0].mean() - score[true == 0].mean() > 3


def test_doubly_robust_mean_is_the_effect_of_a_group() -> None:
    x, treated, y, true = planted(20_000, effect=0.2)
    pseudo = doubly_robust(LinearConfig("binary", l2=0.01), x, treated, y, seed=1)
    for at in (0.0, 0.2):
        group = pseudo[true == at]
        assert abs(group.mean() - at) < 3 * group.std() / np.sqrt(len(group))


def test_measure_finds_what_is_there_and_says_null_where_nothing_is() -> None:
    cheap = [config for config in GRID if config.name in ("sparse", "t-linear")]
    x, treated, y, _ = planted(3000, effect=0.3)
    found = measure_uplift(x, treated, y, seed=1, repeats=1, resamples=150, grid=cheap[1:])
    assert not found.ranking.is_null
    assert found.ranking.qini > found.peers["propensity"] - 0.02
    assert found.balance.is_random
    assert sum(found.chosen.values()) == 5
    assert found.curve[0] == (0.0, 0.0)
    assert found.curve[-1][1] == pytest.approx(found.ranking.effect, abs=1e-3)
    nothing = measure_uplift(*planted(3000, effect=0.0)[:3], seed=1, repeats=1, resamples=150, grid=cheap[1:])
    assert nothing.ranking.is_null
    assert nothing.to_json()["is_null"] is True


def test_held_out_rows_do_not_touch_the_choice() -> None:
    """Other outcomes in the held-out fold leave the learner and the scores of that fold as they were."""
    x, treated, y, _ = planted(1200, effect=0.2)
    held = split_folds(treated, y, 5, 1) == 0
    fitted = fit_uplift(x.rows(~held), treated[~held], y[~held], seed=1, grid=[T_LINEAR])
    again = y.copy()
    again[held] = 1 - again[held]
    other = fit_uplift(x.rows(~held), treated[~held], again[~held], seed=1, grid=[T_LINEAR])
    assert np.array_equal(fitted.score(x.rows(held)), other.score(x.rows(held)))


def test_of_learners_alike_within_the_noise_the_first_is_taken() -> None:
    x, treated, y, _ = planted(1500, effect=0.2)
    linear = T_LINEAR
    chosen, inner = choose_learner(
        x, treated, y, seed=1, grid=[replace(linear, name="first"), replace(linear, name="second")]
    )
    assert chosen.name == "first"
    assert inner["first"] == inner["second"]
    blind = LearnerConfig("blind", "t", BaselineConfig("binary"))  # every customer alike
    assert choose_learner(x, treated, y, seed=1, grid=[blind, linear])[0] == linear


def test_folds_hold_equal_shares_of_treated_and_buyers() -> None:
    _, treated, y, _ = planted(1000, effect=0.2)
    fold = split_folds(treated, y, 5, 0)
    assert np.ptp(np.bincount(fold)) <= 4
    assert np.ptp(np.bincount(fold, treated * y)) <= 1


def test_rows_of_one_customer_stay_in_one_fold_and_widen_the_intervals() -> None:
    x, treated, y, _ = planted(600, effect=0.2)
    times = np.repeat(np.arange(600), 4)  # each customer's row four times over: nothing new is known
    many, who = (Matrix(x.columns, x.values[times]), treated[times], y[times]), times
    fold = split_folds(many[1], many[2], 5, 0, who)
    assert all(len(np.unique(fold[who == one])) == 1 for one in range(600))
    assert np.ptp(np.bincount(fold)) <= 16
    score = x.values[:, 0][times]
    as_rows, as_customers = (
        measure_ranking(score, *many[1:], seed=1, resamples=300, customer=given).qini_interval for given in (None, who)
    )
    assert np.ptp(as_customers) > 1.5 * np.ptp(as_rows)
    found = measure_uplift(*many, seed=1, repeats=1, resamples=50, grid=[T_LINEAR], customer=who)
    once = measure_uplift(x, treated, y, seed=1, repeats=1, resamples=50, grid=[T_LINEAR])
    assert abs(found.ranking.qini - once.ranking.qini) < 0.01  # a customer's own copies do not teach about it
    leaking = measure_uplift(*many, seed=1, repeats=1, resamples=50, grid=[T_LINEAR])
    assert leaking.ranking.qini > found.ranking.qini + 0.02  # what they would say of it


def test_treatment_by_habit_is_noticed() -> None:
    x, _, _, _ = planted(2000, effect=0.2)
    habit = (x.values[:, 1] > 0.3).astype(float)
    found = check_balance(x, habit)
    assert not found.is_random
    assert found.widest == "number"


def test_experiment_leaves_out_what_came_after(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    rows = ["band,echo,city,arm,visit,spend"]
    rows += [
        f'"{1 + n % 3}) {n % 3}00+",{n % 2},{"ab"[n // 4 % 2]},{"mail" if n % 4 < 2 else "none"},{n % 2},{n % 2 * 9}'
        for n in range(80)
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    found = read_experiment(path, treatment="arm", arm="mail", control="none", outcome="visit")
    assert found.left_out == {"spend": "after", "echo": "consequence"}
    assert found.x.columns == ("band", "city")
    assert found.x.categories == {"city"}
    assert sorted(set(found.x.values[:, 0])) == [0, 1, 2]  # a band is a rank
    assert found.treated.sum() == 40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arm": "mial"}, "'mial' is no value of arm; there are mail, none"),
        ({"control": "mail"}, "both 'mail'"),
        ({"outcome": "vist"}, "no column 'vist'"),
        ({"outcome": "city"}, "'city' holds texts"),
        ({"columns": ["nothing"]}, "no column 'nothing'"),
    ],
    ids=["arm", "same", "outcome", "texts", "columns"],
)
def test_experiment_says_what_is_wrong(tmp_path: Path, change, said) -> None:
    path = tmp_path / "test.csv"
    path.write_text(
        "n,city,arm,visit\n" + "".join(f"{n},x,{'mail' if n % 2 else 'none'},{n % 3 % 2}\n" for n in range(60))
    )
    with pytest.raises(ModelError, match=said):
        read_experiment(path, **({"treatment": "arm", "arm": "mail", "control": "none", "outcome": "visit"} | change))


def test_hillstrom_womens_mail_is_ranked_better_than_at_random_and_than_by_propensity() -> None:
    path = DATA / "hillstrom" / "hillstrom.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    women = read_experiment(path, treatment="segment", arm="Womens E-Mail", control="No E-Mail", outcome="visit")
    assert women.left_out == {"conversion": "after", "spend": "after"}
    assert check_balance(women.x, women.treated).is_random
    found = measure_uplift(women.x, women.treated, women.outcome, seed=1, repeats=1, resamples=100, grid=[T_LINEAR])
    assert found.ranking.qini_interval[0] > 0.03
    assert found.peers["propensity"] < found.ranking.qini
