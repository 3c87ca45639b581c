"""One ranker over candidates: trees that learn to order each customer's list (LambdaMART, by LightGBM)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Table = NDArray[np.floating[Any]]  # (N, F)
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RankerConfig:
    """`trees` is the most it may grow: it stops when the validation lists no longer get better."""

    trees: int = 300
    leaves: int = 15
    rate: float = 0.08
    leaf_rows: int = 40
    l2: float = 5.0
    column_share: float = 0.8
    patience: int = 25
    threads: int = 2


class Ranker:
    """score(x): the higher, the further up. source: Burges 2010, From RankNet to LambdaRank to LambdaMART"""

    def __init__(self, config: RankerConfig, columns: Sequence[str]) -> None:
        self.config = config
        self.columns = tuple(columns)
        self.text = ""
        self.booster: Any = None

    def fit(self, train: tuple[Table, Ints, Ints], valid: tuple[Table, Ints, Ints], *, seed: int) -> Self:
        """Each: (N, F) candidates, (N,) 1 for those taken, and how many candidates each customer has, one customer after another."""
        import lightgbm

        data = [
            lightgbm.Dataset(x, y, group=size, feature_name=list(self.columns), free_raw_data=False)
            for x, y, size in (train, valid)
        ]
        config = self.config
        found = lightgbm.train(
            {
                "objective": "lambdarank", "metric": "ndcg", "eval_at": [10], "num_leaves": config.leaves,
                "learning_rate": config.rate, "min_data_in_leaf": config.leaf_rows, "lambda_l2": config.l2,
                "feature_fraction": config.column_share, "lambdarank_truncation_level": 30, "num_threads": config.threads,
                "seed": seed, "deterministic": True, "force_row_wise": True, "verbosity": -1,
            },
            data[0],
            num_boost_round=config.trees,
            valid_sets=[data[1]],
            callbacks=[lightgbm.early_stopping(config.patience, verbose=False)],
        )  # fmt: skip
        self._open(found.model_to_string(num_iteration=max(1, found.best_iteration)))
        return self

    def score(self, x: Table) -> Floats:
        if not len(x):
            return np.zeros(0)
        threads = self.config.threads if x.size > 100_000 else 1
        return np.asarray(self.booster.predict(x, num_threads=threads))

    def gains(self) -> dict[str, float]:
        """Of each column, the share of what the trees gained by it."""
        gain = np.asarray(self.booster.feature_importance("gain"), dtype=float)
        return dict(zip(self.columns, (gain / max(gain.sum(), 1e-12)).round(4).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        return {"columns": list(self.columns), "trees": self.text}

    @classmethod
    def from_state(cls, config: RankerConfig, state: dict[str, Any]) -> Self:
        made = cls(config, state["columns"])
        made._open(state["trees"])
        return made

    def _open(self, text: str) -> None:
        import lightgbm

        self.text = text
        self.booster = lightgbm.Booster(model_str=text)
