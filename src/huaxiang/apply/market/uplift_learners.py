"""Learners of the individual effect of a treatment, made of the zoo's models and of an honest causal forest.

    s       one model of the outcome that sees the treatment; the linear one sees its product with each column too
    t       one model an arm; their difference                            source: Künzel et al. 2019 (S-, T- and X-learner)
    x       each arm's effects imputed with the other arm's model, then learned, and weighed by the share treated
    sparse  doubly robust pseudo-outcomes, cross-fitted, then learned by a linear model that shrinks each column as far as the data ask
            (source: Kennedy 2023, the DR-learner; automatic relevance determination; source: Tipping 2001, as scikit-learn has it)
    forest  honest causal forest on residuals (causal_forest.py)          source: Athey, Tibshirani & Wager 2019

Letters: N customers, F columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from huaxiang.apply.market.causal_forest import CausalForest, ForestConfig
from huaxiang.apply.market.uplift_parts import (
    TREATED,
    Forest,
    Kind,
    Learner,
    OneModel,
    Part,
    Sparse,
    TwoModels,
    prepare_dense,
    with_treatment,
)
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Config, Matrix, Model, make_model
from huaxiang.models.zoo.boosting import BoostingConfig
from huaxiang.models.zoo.linear import LinearConfig
from huaxiang.models.zoo.prepare import Preparation

Codes = NDArray[np.integer[Any]]
FOLDS = 5  # of cross-fitting
# The product of treatment and column is penalised a hundred times as much as the column: the effect is nearly the same for all in
# log-odds, and so largest where the outcome is neither rare nor sure.
SHRUNK = ((f"{TREATED} ×", 0.1), (TREATED, 3.0))
SMALL = 6_000  # rows: a tree splits 0.3 of them, and a leaf has a quarter of these at most: 450
SPARSE_COLUMNS = 200  # the sparse learner inverts a matrix of so many


@dataclass(frozen=True)
class LearnerConfig:
    """`outcome`: the model of the outcome; `effect`: of the effect (x); `bags`: fits on resampled customers that are averaged."""

    name: str
    kind: Kind
    outcome: Config | None = None
    effect: Config | None = None
    forest: ForestConfig | None = None
    bags: int = 1


def learner_grid(*, binary: bool, rows: int = 1_000_000) -> tuple[LearnerConfig, ...]:
    """The learners and strengths of regularisation that inner cross-validation chooses among; of few rows one forest only, for the
    leaves of both would be as large as its share of rows allows."""
    task: Literal["binary", "number"] = "binary" if binary else "number"

    def linear(l2: float) -> LinearConfig:
        return LinearConfig(task, l2=l2)

    def boosting(of: Literal["binary", "number"], leaves: int, trees: int, **rest: float) -> BoostingConfig:
        return BoostingConfig(of, leaves=leaves, trees=trees, leaf_rows=500, l2=20.0, threads=1, **rest)  # type: ignore[arg-type]

    # From the most regularised on, for of those equal within the noise the first is taken. Left out, for they ranked worse
    # (bench/log.md): a linear s-learner with a stronger penalty (it shrinks the treatment itself), forests with smaller leaves.
    return (
        LearnerConfig("sparse", "sparse", linear(0.01)),
        LearnerConfig("s-shrunk", "s", LinearConfig(task, l2=0.001, weights=SHRUNK)),
        *(
            [LearnerConfig("forest-1000", "forest", linear(0.01), forest=ForestConfig(leaf_rows=1000))]
            if rows > SMALL
            else []
        ),
        LearnerConfig("forest-400", "forest", linear(0.01), forest=ForestConfig(leaf_rows=400)),
        LearnerConfig("x-boosting", "x", linear(0.01), boosting("number", 3, 40), bags=3),
        LearnerConfig("t-linear", "t", linear(0.001)),
        LearnerConfig("s-linear", "s", linear(0.003)),
    )


def fit_learner(
    config: LearnerConfig, x: Matrix, treated: Floats, y: Floats, *, seed: int, customer: Codes | None = None
) -> Learner:
    """What predicts each customer's effect; its mean over the rows it was fitted on is the difference of the arms' means, so that a
    penalty on the effect shrinks how customers differ, not the level.

    x: (N, F); treated: (N,) 0/1; y: (N,) outcome; customer: (N,) whose row it is, where one has several (None: a row each)
    """
    prepare = Preparation.fit(x, "dense")
    dense = prepare_dense(prepare, x)
    who = np.arange(len(y)) if customer is None else customer
    parts: list[Part] = []
    for bag in range(config.bags):
        rows = np.arange(len(y))
        if config.bags > 1:
            rows = np.random.default_rng([seed, bag]).choice(len(y), len(y), replace=True)
        parts.append(_FITS[config.kind](config, dense.rows(rows), treated[rows], y[rows], seed + bag, who[rows]))
    found = Learner(prepare, tuple(parts))
    level = y[treated == 1].mean() - y[treated == 0].mean() - found.mean(dense).mean()
    return replace(found, level=float(level))


def cross_fit(
    config: Config,
    x: Matrix,
    y: Floats,
    rows: NDArray[np.bool_],
    *,
    seed: int,
    folds: int = FOLDS,
    customer: Codes | None = None,
) -> Floats:
    """(N,) predictions of a model that has not seen the row's customer; it learns from the rows where `rows` is true only.

    customer: (N,) whose row it is, where one has several: they stay in one fold, for one would tell of the others (None: a row each)
    """
    if customer is None:
        fold = np.random.default_rng(seed).permutation(len(y)) % folds
    else:
        who, own = np.unique(customer, return_inverse=True)
        fold = (np.random.default_rng(seed).permutation(len(who)) % folds)[own]
    made = np.zeros(len(y))
    for one in range(folds):
        learn = (fold != one) & rows
        made[fold == one] = make_model(config).fit(x.rows(learn), y[learn], seed=seed).score(x.rows(fold == one))
    return made


def _fit_s(config: LearnerConfig, x: Matrix, treated: Floats, y: Floats, seed: int, _customer: Codes) -> Part:
    assert config.outcome is not None
    linear = isinstance(config.outcome, LinearConfig)
    return OneModel(make_model(config.outcome).fit(with_treatment(x, treated, products=linear), y, seed=seed), linear)


def _fit_t(config: LearnerConfig, x: Matrix, treated: Floats, y: Floats, seed: int, _customer: Codes) -> Part:
    return TwoModels(*_fit_arms(config, x, treated, y, seed), (1.0, -1.0), "t")


def _fit_x(config: LearnerConfig, x: Matrix, treated: Floats, y: Floats, seed: int, _customer: Codes) -> Part:
    assert config.effect is not None
    one, none = _fit_arms(config, x, treated, y, seed)
    is_treated, share = treated == 1, float(treated.mean())
    own, other = x.rows(is_treated), x.rows(~is_treated)
    of_treated = make_model(config.effect).fit(own, y[is_treated] - none.score(own), seed=seed)
    of_control = make_model(config.effect).fit(other, one.score(other) - y[~is_treated], seed=seed)
    return TwoModels(of_control, of_treated, (share, 1 - share), "x")


def _fit_sparse(config: LearnerConfig, x: Matrix, treated: Floats, y: Floats, seed: int, customer: Codes) -> Part:
    from sklearn.linear_model import ARDRegression

    assert config.outcome is not None
    pseudo = doubly_robust(config.outcome, x, treated, y, seed=seed, customer=customer)
    apart = np.abs((x.values - x.values.mean(axis=0)).T @ (pseudo - pseudo.mean()))
    kept = np.sort(np.argsort(-apart, kind="stable")[:SPARSE_COLUMNS])
    model = ARDRegression().fit(x.values[:, kept], pseudo)
    return Sparse(kept, np.asarray(model.coef_, dtype=float), float(model.intercept_))


def doubly_robust(
    outcome: Config, x: Matrix, treated: Floats, y: Floats, *, seed: int, customer: Codes | None = None
) -> Floats:
    """(N,) pseudo-outcomes whose mean over any group estimates the group's effect; the share treated is the known propensity.

    customer: as `cross_fit` has it
    """
    share = float(treated.mean())
    one = cross_fit(outcome, x, y, treated == 1, seed=seed, customer=customer)
    none = cross_fit(outcome, x, y, treated == 0, seed=seed, customer=customer)
    return one - none + treated * (y - one) / share - (1 - treated) * (y - none) / (1 - share)


def _fit_forest(config: LearnerConfig, x: Matrix, treated: Floats, y: Floats, seed: int, customer: Codes) -> Part:
    assert config.outcome is not None
    assert config.forest is not None
    expected = cross_fit(config.outcome, x, y, np.ones(len(y), dtype=bool), seed=seed, customer=customer)
    return Forest(CausalForest(config.forest).fit(x.values, treated - treated.mean(), y - expected, seed=seed))


_FITS: dict[Kind, Callable[[LearnerConfig, Matrix, Floats, Floats, int, Codes], Part]] = {
    "s": _fit_s,
    "t": _fit_t,
    "x": _fit_x,
    "sparse": _fit_sparse,
    "forest": _fit_forest,
}


def _fit_arms(config: LearnerConfig, x: Matrix, treated: Floats, y: Floats, seed: int) -> tuple[Model, Model]:
    assert config.outcome is not None
    one = make_model(config.outcome).fit(x.rows(treated == 1), y[treated == 1], seed=seed)
    none = make_model(config.outcome).fit(x.rows(treated == 0), y[treated == 0], seed=seed)
    return one, none
