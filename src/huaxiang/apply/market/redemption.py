"""Who redeems, for a shop where chance held out nobody: a model of redemption, measured on later campaigns than it learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from huaxiang.models.metrics import Floats, roc_auc
from huaxiang.models.zoo import Matrix, make_model
from huaxiang.models.zoo.baseline import BaselineConfig
from huaxiang.models.zoo.boosting import BoostingConfig
from huaxiang.models.zoo.linear import LinearConfig

TOP = 0.2  # share of customers reached, in the comparison
NEED = 40  # redemptions to learn from, and to measure on half as many
RESAMPLES = 1000


@dataclass(frozen=True)
class Redemption:
    """Targeted against random, on campaigns later than those learned from. Rates are redemptions a message; intervals 95 %."""

    campaigns: list[str]
    learned_from: int
    measured_on: int
    redemptions: int
    model: str
    roc_auc: float
    top_share: float
    targeted: float
    targeted_interval: tuple[float, float]
    by_spend: float  # the plain rule: who spent most in 90 days
    random: float
    captured: float  # share of all redemptions among the targeted
    gain: list[tuple[float, float]]  # share reached, share of redemptions captured

    @property
    def is_null(self) -> bool:
        return self.targeted_interval[0] <= self.random


MODELS: dict[str, Any] = {
    "logistic": LinearConfig("binary", l2=0.03, log=True),
    "lightgbm": BoostingConfig("binary", trees=120, leaves=7, threads=1),
    "prior": BaselineConfig("binary"),
}


def choose_model(x: Matrix, y: Floats, starts: Any, seed: int) -> tuple[str, Any]:
    """The model with the best ROC-AUC on the last campaigns of those learned from, then fitted on all of them."""
    cut = cut_date(starts, y)
    early, late = starts < cut, starts >= cut
    scores = {"prior": 0.5}
    if y[early].sum() >= NEED / 2 and y[late].sum() >= NEED / 4:
        for name in ("logistic", "lightgbm"):
            fitted = make_model(MODELS[name]).fit(x.rows(early), y[early], seed=seed)
            scores[name] = roc_auc(y[late], fitted.score(x.rows(late)))
    best = max(scores, key=lambda name: scores[name])
    return best, make_model(MODELS[best]).fit(x, y, seed=seed).score


def measure_redemption(
    likely: Floats, spend: Floats, y: Floats, model: str, campaigns: list[str], learned: int, seed: int
) -> Redemption:
    count = max(1, round(TOP * len(y)))
    order = np.argsort(-likely, kind="stable")
    generator = np.random.default_rng(seed)
    rates = []
    for _ in range(RESAMPLES):
        drawn = np.sort(generator.integers(len(y), size=len(y)))  # places of the ranking, resampled
        rates.append(y[order][drawn][:count].mean())
    low, high = np.quantile(rates, (0.025, 0.975))
    reached = np.append(0, np.cumsum(y[order])) / max(1.0, y.sum())
    shares = np.linspace(0, 1, 21)
    return Redemption(
        campaigns=campaigns,
        learned_from=learned,
        measured_on=len(y),
        redemptions=int(y.sum()),
        model=model,
        roc_auc=roc_auc(y, likely),
        top_share=TOP,
        targeted=float(y[order[:count]].mean()),
        targeted_interval=(float(low), float(high)),
        by_spend=float(y[np.argsort(-spend, kind="stable")[:count]].mean()),
        random=float(y.mean()),
        captured=float(y[order[:count]].sum() / max(1.0, y.sum())),
        gain=[(float(s), float(np.interp(s, np.arange(len(reached)) / len(y), reached))) for s in shares],
    )


def cut_date(starts: Any, y: Floats) -> Any:
    """The date from which on about a third of the redemptions lie, whole campaigns together."""
    order = np.argsort(starts, kind="stable")
    done = np.cumsum(y[order]) / max(1.0, y.sum())
    return starts[order][min(len(y) - 1, int(np.searchsorted(done, 2 / 3)))]
