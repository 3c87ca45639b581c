"""Logistic and linear regression on standardised columns, with an L2 penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from huaxiang.models.metrics import Floats
from huaxiang.models.zoo.base import Config, gather_by_source, softmax
from huaxiang.models.zoo.prepare import Matrix, Preparation

NEWTON = 600  # coefficients up to which Newton steps beat L-BFGS (0.2 s against 2 s on 14,000 × 30)
TOLERANCE = (
    1e-3  # of the gradient: half the steps of 1e-4, validation loss the same to 2e-4 (demo shop's next_category)
)
ABSENT = -30.0  # log-odds of a class that no training row had


@dataclass(frozen=True)
class LinearConfig(Config):
    """`l2`: penalty per training row, so that it means the same for every size of data; `log`: long-tailed columns
    enter as log(1 + value). `weights`: (what a column's name begins with, what its standardised values are multiplied by), the first
    that fits: columns of a weight below 1 are penalised more than the others."""

    l2: float = 0.01
    log: bool = False
    weights: tuple[tuple[str, float], ...] = ()
    max_iter: int = 500

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple((str(begin), float(weight)) for begin, weight in self.weights))

    def weight_of(self, name: str) -> float:
        return next((weight for begin, weight in self.weights if name.startswith(begin)), 1.0)


class Linear:
    """score = link(prepared · coef + intercept): link is the sigmoid, the softmax, or nothing (number)."""

    def __init__(self, config: LinearConfig) -> None:
        self.config: Config = config
        self.settings = config
        self.effect_unit = "number" if config.task == "number" else "log_odds"
        self.columns: tuple[str, ...] = ()
        self.coef = np.zeros((1, 0))  # (K or 1, made)
        self.intercept = np.zeros(1)  # (K or 1,)

    def fit(
        self, x: Matrix, y: Floats, *, seed: int, classes: int = 2, watch: tuple[Matrix, Floats] | None = None
    ) -> Self:
        self.columns = x.columns
        self.preparation = Preparation.fit(x, "dense", log=self.settings.log)
        z = self.preparation.apply(x)
        weight = np.ones(z.shape[1])
        if self.settings.weights and z.shape[1]:
            weight = np.array([self.settings.weight_of(self.columns[source]) for source in self.preparation.sources])
            z = z * weight
        self._fit_weighed(z, y, classes)
        self.coef = self.coef * weight  # as of the values before they were weighed
        return self

    def _fit_weighed(self, z: Floats, y: Floats, classes: int) -> None:
        from sklearn.linear_model import LogisticRegression, Ridge

        rows = classes if self.config.task == "class" else 1
        self.coef, self.intercept = np.zeros((rows, z.shape[1])), np.zeros(rows)
        if self.config.task == "number":
            self.intercept = np.array([float(y.mean())])
            if z.shape[1]:
                found = Ridge(alpha=self.settings.l2 * len(y), solver="cholesky").fit(z, y)
                self.coef, self.intercept = np.atleast_2d(found.coef_), np.array([float(found.intercept_)])
            return
        present = np.unique(y).astype(int)
        if len(present) < 2 or not z.shape[1]:
            self._fit_constant(y, present)
            return
        solver = "newton-cholesky" if z.shape[1] * rows <= NEWTON else "lbfgs"
        strength = 1 / (self.settings.l2 * len(y))
        fitted = LogisticRegression(C=strength, max_iter=self.settings.max_iter, solver=solver, tol=TOLERANCE).fit(z, y)
        if self.config.task == "binary":
            self.coef, self.intercept = fitted.coef_, fitted.intercept_
        else:
            # with two classes present scikit-learn gives one row: the second class against the first
            two = len(present) == 2
            self.coef[present] = np.vstack([0 * fitted.coef_, fitted.coef_]) if two else fitted.coef_
            self.intercept[:] = ABSENT
            self.intercept[present] = np.append(0.0, fitted.intercept_) if two else fitted.intercept_

    def _fit_constant(self, y: Floats, present: np.ndarray) -> None:
        """Only the shares: one class, or no column that varies."""
        if self.config.task == "binary":
            share = float(np.clip(y.mean(), 1e-12, 1 - 1e-12))
            self.intercept = np.array([np.log(share / (1 - share))])
        else:
            self.intercept[:] = ABSENT
            self.intercept[present] = np.log([float(np.mean(y == k)) for k in present])

    def score(self, x: Matrix) -> Floats:
        z = self._raw(self.preparation.apply(x))
        if self.config.task == "number":
            return z[:, 0]
        if self.config.task == "class":
            return softmax(z)
        return 1 / (1 + np.exp(-np.clip(z[:, 0], -500, 500)))

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        """coef · (value − training mean): the exact Shapley values of a linear model with independent columns."""
        z = self.preparation.apply(x)
        k = self._raw(z).argmax(axis=1) if self.config.task == "class" else np.zeros(len(z), dtype=int)
        effects = gather_by_source(z * self.coef[k], self.preparation.sources, len(self.columns))
        return effects, self.intercept[k]

    def _raw(self, z: Floats) -> Floats:
        # einsum, not @: BLAS adds in another order for one row than for many, and one user's score must not depend on it
        return np.einsum("nm,km->nk", z, self.coef) + self.intercept

    @property
    def dropped(self) -> dict[str, str]:
        return self.preparation.dropped

    def state(self) -> dict[str, Any]:
        return {
            "preparation": self.preparation.state(),
            "coef": self.coef.tolist(),
            "intercept": self.intercept.tolist(),
        }

    @classmethod
    def from_state(cls, config: LinearConfig, state: dict[str, Any]) -> Self:
        made = cls(config)
        made.preparation = Preparation.from_state(state["preparation"])
        made.columns = made.preparation.columns
        made.coef = np.array(state["coef"], dtype=float).reshape(len(state["intercept"]), -1)
        made.intercept = np.array(state["intercept"], dtype=float)
        return made
