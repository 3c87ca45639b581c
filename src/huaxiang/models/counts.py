"""Counts around a forecast: boosted trees that learn by what factor another model's expected count is wrong, and for whom."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix


@dataclass(frozen=True)
class CountConfig:
    """`trees` small trees, each a small step, so that what few customers show moves nothing."""

    trees: int = 200
    leaves: int = 7
    rate: float = 0.03
    leaf_rows: int = 100
    l2: float = 10.0
    column_share: float = 0.5
    row_share: float = 0.7
    threads: int = 1


class Counts:
    """Poisson regression by LightGBM with the logarithm of the other model's expectation as its start.

    Letters: N rows, F columns.
    """

    def __init__(self, config: CountConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        self.text = ""
        self.booster: Any = None

    def fit(self, x: Matrix, y: Floats, expected: Floats, *, seed: int) -> Self:
        """y: (N,) counts that came; expected: (N,) counts that the other model expected, above 0."""
        import lightgbm

        config = self.config
        parameters = {
            "objective": "poisson", "learning_rate": config.rate, "num_leaves": config.leaves, "min_data_in_leaf": config.leaf_rows,
            "lambda_l2": config.l2, "feature_fraction": config.column_share, "bagging_fraction": config.row_share, "bagging_freq": 1,
            "seed": seed % 2**31, "num_threads": config.threads, "deterministic": True, "force_row_wise": True, "verbosity": -1,
        }  # fmt: skip
        data = lightgbm.Dataset(x.values, y, init_score=np.log(expected), params={"verbosity": -1})
        self.columns = x.columns
        self._open(lightgbm.train(parameters, data, num_boost_round=config.trees).model_to_string())
        return self

    def factor(self, x: Matrix) -> Floats:
        """(N,) what to multiply the other model's expectation by."""
        return np.exp(self.booster.predict(x.take(self.columns), raw_score=True, num_threads=self.config.threads))

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        """(N, F) effects and (N,) base: base + effects = the logarithm of the factor (Shapley values)."""
        made = self.booster.predict(x.take(self.columns), pred_contrib=True, num_threads=self.config.threads)
        return made[:, :-1], made[:, -1]

    def state(self) -> dict[str, Any]:
        return {"config": asdict(self.config), "columns": list(self.columns), "text": self.text}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls(CountConfig(**state["config"]))
        made.columns = tuple(state["columns"])
        made._open(state["text"])
        return made

    def _open(self, text: str) -> None:
        import lightgbm

        self.text, self.booster = text, lightgbm.Booster(model_str=text)
