"""Who is moved by a treatment: choose a learner on inner folds, fit it, and say honestly what its ranking is worth.

    found = measure_uplift(x, treated, outcome, seed=1)        # repeated outer folds; each chooses on its own inner folds
    fitted = fit_uplift(x, treated, outcome, seed=1)           # chosen on all rows, to score customers with
    fitted.score(x)                                            # (N,) effect, outcomes a customer

The treatment must have been given at random: `check_balance` says whether the columns look as if it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from huaxiang.apply.market.qini import Ranking, check_arms, measure_ranking, qini_curve, quick_qini
from huaxiang.apply.market.uplift_learners import Codes, LearnerConfig, fit_learner, learner_grid
from huaxiang.apply.market.uplift_parts import Learner
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix, make_model
from huaxiang.models.zoo.linear import LinearConfig
from huaxiang.models.zoo.prepare import Preparation

OUTER, INNER = 5, 5
HELD = 4_000_000_000  # bytes that learners fitted side by side may hold, about
COPIES = 8  # of the columns that one holds, about: one-hot, products with the treatment, and what a fit copies
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Uplift:
    """A fitted learner. inner: Qini of every candidate on the inner folds, by which it was chosen."""

    learner: str
    inner: dict[str, float]
    score: Learner
    config: LearnerConfig


@dataclass(frozen=True)
class Balance:
    """Whether treated and control look alike: p of Hotelling's T² over the columns, and the column that differs most (in SD)."""

    p_value: float
    widest: str
    widest_sd: float

    @property
    def is_random(self) -> bool:
        return self.p_value > 0.001


@dataclass(frozen=True)
class HeldOut:
    """Of the first repeat: (N,) each row's fold, and its score by the learner of that fold, which has not seen it; the learners by fold."""

    fold: NDArray[Any]
    score: Floats
    learners: tuple[Learner, ...]


@dataclass(frozen=True)
class UpliftReport:
    """What targeting by uplift is worth, by repeated out-of-fold ranking."""

    ranking: Ranking  # mean over the repeats, intervals too
    repeats: int
    folds: int
    chosen: dict[str, int]  # learner -> outer folds that chose it
    balance: Balance
    curve: list[tuple[float, float]]  # (share of customers, incremental outcomes a customer), first repeat
    peers: dict[str, float]  # name -> qini of a plain ranking in the same folds
    per_repeat: dict[str, list[float]]  # qini and auuc of each repeat
    held: HeldOut | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        told = asdict(replace(self, held=None)) | {"is_null": self.ranking.is_null}
        del told["held"]
        return told


def choose_learner(
    x: Matrix,
    treated: Floats,
    y: Floats,
    *,
    seed: int,
    folds: int = INNER,
    grid: Sequence[LearnerConfig] | None = None,
    customer: Codes | None = None,
) -> tuple[LearnerConfig, dict[str, float]]:
    """The learner chosen by Qini on held-out inner folds, and the mean Qini of each.

    The first of the grid, which goes from the most regularised on, that is not worse than the best by more than one standard error of
    their difference over the folds: the best of several by a noisy figure is the luckiest (it cost .007 of Qini on Hillstrom).
    source: Breiman et al. 1984 (the one-standard-error rule)
    """
    grid = learner_grid(binary=is_binary(y), rows=len(y)) if grid is None else grid
    if len(grid) == 1:
        return grid[0], {}
    fold = split_folds(treated, y, folds, seed, customer)

    def reached(config: LearnerConfig, one: int) -> float:
        learn = fold != one
        own = None if customer is None else customer[learn]
        score = fit_learner(config, x.rows(learn), treated[learn], y[learn], seed=seed, customer=own)
        return quick_qini(score(x.rows(~learn)), treated[~learn], y[~learn])

    side_by_side = min(os.cpu_count() or 1, max(1, HELD // max(COPIES * x.values.nbytes, 1)))
    with threadpool_limits(1), ThreadPoolExecutor(side_by_side) as pool:  # each fit on one core
        told = {config.name: [pool.submit(reached, config, one) for one in range(folds)] for config in grid}
        each = {name: np.array([one.result() for one in scores]) for name, scores in told.items()}
    found = {name: float(scores.mean()) for name, scores in each.items()}
    best = each[max(found, key=lambda name: found[name])]

    def is_near(config: LearnerConfig) -> bool:
        behind = best - each[config.name]
        return bool(behind.mean() <= behind.std(ddof=1) / np.sqrt(folds))

    return next(config for config in grid if is_near(config)), found


def fit_uplift(
    x: Matrix,
    treated: Floats,
    y: Floats,
    *,
    seed: int,
    grid: Sequence[LearnerConfig] | None = None,
    customer: Codes | None = None,
) -> Uplift:
    """A learner chosen on inner folds and fitted on all rows; raises ModelError where an arm is empty."""
    check_arms(treated, y)
    config, inner = choose_learner(x, treated, y, seed=seed, grid=grid, customer=customer)
    fitted = fit_learner(config, x, treated, y, seed=seed, customer=customer)
    return Uplift(config.name, inner, fitted, config)


def measure_uplift(
    x: Matrix,
    treated: Floats,
    y: Floats,
    *,
    seed: int,
    repeats: int = 2,
    folds: int = OUTER,
    resamples: int = 300,
    grid: Sequence[LearnerConfig] | None = None,
    customer: Codes | None = None,
    tell: Tell = lambda line: None,
) -> UpliftReport:
    """The worth of ranking by uplift: in each outer fold a learner is chosen and fitted without it, then ranks it.

    customer: (N,) whose row it is, from 0 on, where one has several: they stay in one fold and are resampled together (None: a row each)

    The plain peers rank the same folds: the outcome's propensity among the treated, and a random order.
    raises: ModelError where one arm is empty or the outcome never varies
    """
    check_arms(treated, y)
    rankings: list[Ranking] = []
    chosen: dict[str, int] = {}
    curve: list[tuple[float, float]] = []
    kept: HeldOut | None = None
    peers: dict[str, list[float]] = {"propensity": [], "random": []}
    for repeat in range(repeats):
        fold = split_folds(treated, y, folds, seed + repeat, customer)
        score, propensity = np.zeros(len(y)), np.zeros(len(y))
        learners = []
        for one in range(folds):
            learn, held = fold != one, fold == one
            own = None if customer is None else np.unique(customer[learn], return_inverse=True)[1]
            fitted = fit_uplift(
                x.rows(learn), treated[learn], y[learn], seed=seed + 1000 * repeat + one, grid=grid, customer=own
            )
            score[held] = fitted.score(x.rows(held))
            learners.append(fitted.score)
            propensity[held] = _propensity(x, treated, y, learn, held, seed)
            chosen[fitted.learner] = chosen.get(fitted.learner, 0) + 1
            tell(f"{repeat + 1}.{one + 1} {fitted.learner}")
        rankings.append(
            measure_ranking(score, treated, y, seed=seed + repeat, resamples=resamples, fold=fold, customer=customer)
        )
        chance = np.random.default_rng(seed + repeat).random(len(y))
        for name, given in (("propensity", propensity), ("random", chance)):
            peers[name].append(
                float(np.mean([quick_qini(given[fold == k], treated[fold == k], y[fold == k]) for k in range(folds)]))
            )
        if repeat == 0:
            curve = mean_curve(score, treated, y, fold)
            kept = HeldOut(fold, score, tuple(learners))
    return UpliftReport(
        ranking=_mean_ranking(rankings),
        repeats=repeats,
        folds=folds,
        chosen=dict(sorted(chosen.items(), key=lambda pair: -pair[1])),
        balance=check_balance(x, treated),
        curve=curve,
        per_repeat={
            "qini": [one.qini for one in rankings],
            "auuc": [one.auuc for one in rankings],
        },
        peers={name: float(np.mean(values)) for name, values in peers.items()},
        held=kept,
    )


def mean_curve(
    score: Floats, treated: Floats, y: Floats, fold: np.ndarray, points: int = 21
) -> list[tuple[float, float]]:
    """(share of customers from the top, incremental outcomes a customer of the whole), mean over folds."""
    at = np.linspace(0, 1, points)
    lines = []
    for one in np.unique(fold):
        held = fold == one
        share, q = qini_curve(score[held], treated[held], y[held])
        lines.append(np.interp(at, share, q) / treated[held].sum())
    return [(float(a), float(b)) for a, b in zip(at, np.mean(lines, axis=0), strict=True)]


def check_balance(x: Matrix, treated: Floats) -> Balance:
    """Whether the treated and the control look alike in `x`, as they do when chance chose. source: Hotelling 1931, two samples."""
    from scipy.stats import chi2

    values = Preparation.fit(x, "dense").apply(x)
    one, none = values[treated == 1], values[treated == 0]
    apart = one.mean(axis=0) - none.mean(axis=0)
    spread = np.cov(values, rowvar=False).reshape(len(apart), len(apart))
    statistic = float(apart @ np.linalg.pinv(spread, hermitian=True) @ apart) * len(one) * len(none) / len(values)
    widest = int(np.argmax(np.abs(apart)))
    rank = int(np.linalg.matrix_rank(spread, hermitian=True))
    name = x.columns[int(Preparation.fit(x, "dense").sources[widest])]
    return Balance(float(chi2.sf(statistic, rank)), name, float(apart[widest]))


def is_binary(y: Floats) -> bool:
    return bool(np.isin(y, (0.0, 1.0)).all())


def split_folds(treated: Floats, y: Floats, folds: int, seed: int, customer: Codes | None = None) -> np.ndarray:
    """(N,) fold of each row; each holds the same share of treated and, of 0/1 outcomes, of those who did it.

    customer: (N,) whose row it is: rows of one stay together (each goes by its first)
    """
    if customer is not None:
        _, first, own = np.unique(customer, return_index=True, return_inverse=True)
        return split_folds(treated[first], y[first], folds, seed)[own]
    generator = np.random.default_rng(seed)
    stratum = treated * 2 + (y > 0)
    fold = np.zeros(len(y), dtype=int)
    for one in np.unique(stratum):
        rows = generator.permutation(np.flatnonzero(stratum == one))
        fold[rows] = (np.arange(len(rows)) + generator.integers(folds)) % folds
    return fold


def _propensity(x: Matrix, treated: Floats, y: Floats, learn: np.ndarray, held: np.ndarray, seed: int) -> Floats:
    """The plain peer: how likely (or how much) a treated customer responds, whether the treatment moves them or not."""
    rows = learn & (treated == 1)
    model = make_model(LinearConfig("binary" if is_binary(y) else "number", l2=0.003))
    return model.fit(x.rows(rows), y[rows], seed=seed).score(x.rows(held))


def _mean_ranking(rankings: Sequence[Ranking]) -> Ranking:
    """Mean over repeats of every figure and of every interval's ends: repeats share the customers, so they do not narrow it."""
    first = rankings[0]
    mean: dict[str, Any] = {}
    for one in fields(Ranking):
        values = [getattr(ranking, one.name) for ranking in rankings]
        if isinstance(values[0], tuple):
            mean[one.name] = tuple(float(end) for end in np.mean(values, axis=0))
        else:
            mean[one.name] = type(getattr(first, one.name))(np.mean(values))
    return Ranking(**mean)
