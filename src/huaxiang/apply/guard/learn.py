"""What verdicts teach: gradient boosting over the signals, the neighbours and the risks of decided cases, used where it ranks them better
than the risks do, and not otherwise.

Only cases that were queued get a verdict, so what is learned tells queued cases apart; nothing is known of those never looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from huaxiang.apply.guard.cases import Case
from huaxiang.models.metrics import Floats, pr_auc
from huaxiang.models.zoo import Matrix, make_model, save_model
from huaxiang.models.zoo.base import Model
from huaxiang.models.zoo.boosting import BoostingConfig

LEAST = 15  # verdicts of each kind
FOLDS, REPEATS = 5, 3
CONFIG = BoostingConfig("binary", trees=80, leaves=4, leaf_rows=5, rate=0.08, threads=1)


@dataclass(frozen=True)
class Learned:
    """What training found. by_score, by_model: mean PR-AUC over held-out folds, repeated; sd: spread of their difference; model: None
    where it is not used."""

    fraud: int
    fine: int
    by_score: float | None = None
    by_model: float | None = None
    sd: float | None = None
    model: Model | None = None
    version: str | None = None


def learn(cases: Sequence[Case], columns: tuple[str, ...], *, seed: int) -> Learned:
    """Trained on the verdicts; with fewer than LEAST of a kind nothing is."""
    decided = [case for case in cases if case.verdict is not None]
    y = np.array([case.verdict == "fraud" for case in decided], dtype=np.float64)
    fraud, fine = int(y.sum()), int(len(y) - y.sum())
    if min(fraud, fine) < LEAST:
        return Learned(fraud, fine)
    x = Matrix(columns, np.array([[case.known.get(name, np.nan) for name in columns] for case in decided]))
    score = np.array([case.score for case in decided])
    gains, by_score, by_model = [], [], []
    for repeat in range(REPEATS):
        guessed = _held_out(x, y, [case.user_id for case in decided], seed + repeat)
        by_score.append(pr_auc(y, score))
        by_model.append(pr_auc(y, guessed))
        gains.append(by_model[-1] - by_score[-1])
    better = float(np.mean(gains)) > max(float(np.std(gains)), 0.0)
    model = make_model(CONFIG).fit(x, y, seed=seed) if better else None
    version = hashlib.sha256(str(save_model(model)).encode()).hexdigest()[:12] if model is not None else None
    return Learned(
        fraud, fine, float(np.mean(by_score)), float(np.mean(by_model)), float(np.std(gains)), model, version
    )


def _held_out(x: Matrix, y: Floats, users: Sequence[str], seed: int) -> Floats:
    """(N,) what models that did not see the customer say of each case."""
    names, of = np.unique(np.array(users), return_inverse=True)
    fold = (np.random.default_rng(seed).permutation(len(names)) % FOLDS)[of]
    guessed = np.full(len(y), y.mean())
    for k in range(FOLDS):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        if 0 < y[train].sum() < len(train) and len(test):
            guessed[test] = make_model(CONFIG).fit(x.rows(train), y[train], seed=seed).score(x.rows(test))
    return guessed
