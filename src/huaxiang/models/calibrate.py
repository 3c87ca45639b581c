"""Calibration: a monotone map from a model's score to the share that is truly positive.

Which map (none, sigmoid, isotonic) is chosen by log loss over cross-fitted folds of the validation data, so that the
flexible one gains nothing from having seen the answer. State is plain JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from huaxiang.models.metrics import TINY, Floats, row_losses

Method = Literal["none", "sigmoid", "isotonic"]
METHODS: tuple[Method, ...] = ("none", "sigmoid", "isotonic")
ENOUGH = 200  # rows below which isotonic steps are mostly noise


@dataclass(frozen=True)
class Calibration:
    """`slope`, `offset` on the log-odds (sigmoid), or the corners `x` → `y` of a monotone line (isotonic)."""

    method: Method = "none"
    slope: float = 1.0
    offset: float = 0.0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def apply(self, p: Floats) -> Floats:
        """Calibrated probabilities; for classes (N, K) each row is brought to sum 1 again."""
        if self.method == "none":
            return p
        if self.method == "isotonic":
            return np.interp(p, self.x, self.y)
        if p.ndim == 2:
            powered = np.exp(self.slope * np.log(np.clip(p, TINY, 1)))
            return powered / powered.sum(axis=1, keepdims=True)
        return 1 / (1 + np.exp(-(self.slope * log_odds(p) + self.offset)))

    def state(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "slope": self.slope,
            "offset": self.offset,
            "x": list(self.x),
            "y": list(self.y),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Calibration:
        return cls(state["method"], state["slope"], state["offset"], tuple(state["x"]), tuple(state["y"]))


def fit_calibration(method: Method, y: Floats, p: Floats) -> Calibration:
    """The map of `method` that brings `p` to `y`: (N,) binary, or (N, K) where "sigmoid" is temperature scaling."""
    if method == "none" or len(y) == 0:
        return Calibration()
    if method == "sigmoid":
        return _fit_sigmoid(y, p) if p.ndim == 1 else _fit_temperature(y, p)
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=1 / (len(y) + 2), y_max=1 - 1 / (len(y) + 2), out_of_bounds="clip").fit(p, y)
    return Calibration("isotonic", x=tuple(map(float, fitted.X_thresholds_)), y=tuple(map(float, fitted.y_thresholds_)))


def choose_calibration(y: Floats, p: Floats, folds: np.ndarray) -> tuple[Method, dict[str, float], Floats]:
    """The method with the least cross-fitted log loss, the loss of each, and the cross-fitted probabilities of the chosen."""
    task: Literal["binary", "class"] = "binary" if p.ndim == 1 else "class"
    losses: dict[str, float] = {}
    crossed: dict[Method, Floats] = {}
    for method in METHODS:
        if method == "isotonic" and (task == "class" or len(y) < ENOUGH):
            continue
        made = np.empty_like(p)
        for fold in np.unique(folds):
            inside = folds == fold
            made[inside] = fit_calibration(method, y[~inside], p[~inside]).apply(p[inside])
        crossed[method] = made
        losses[method] = float(row_losses(task, y, made).mean())
    chosen = min(crossed, key=lambda method: (losses[method], METHODS.index(method)))
    return chosen, losses, crossed[chosen]


def log_odds(p: Floats) -> Floats:
    q = np.clip(p, 1e-12, 1 - 1e-12)
    return np.log(q) - np.log1p(-q)


def _fit_sigmoid(y: Floats, p: Floats) -> Calibration:
    """source: Platt 1999, with his smoothed targets; differs: fitted on log-odds, so that slope 1, offset 0 is identity."""
    from scipy.optimize import minimize

    x = log_odds(p)
    ones = float(y.sum())
    target = np.where(y == 1, (ones + 1) / (ones + 2), 1 / (len(y) - ones + 2))

    def loss(at: Floats) -> tuple[float, Floats]:
        z = at[0] * x + at[1]
        gap = 1 / (1 + np.exp(-np.clip(z, -500, 500))) - target
        return float(np.mean(np.logaddexp(0, z) - target * z)), np.array([np.mean(gap * x), np.mean(gap)])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(1e-3, 20), (-20, 20)])
    return Calibration("sigmoid", slope=float(found.x[0]), offset=float(found.x[1]))


def _fit_temperature(y: Floats, p: Floats) -> Calibration:
    """source: Guo et al. 2017, temperature scaling; `slope` is one over the temperature."""
    from scipy.optimize import minimize_scalar

    def loss(slope: float) -> float:
        return float(row_losses("class", y, Calibration("sigmoid", slope=slope).apply(p)).mean())

    found = minimize_scalar(loss, bounds=(0.02, 10), method="bounded")
    return Calibration("sigmoid", slope=float(found.x))
