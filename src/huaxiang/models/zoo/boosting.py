"""Gradient boosting (LightGBM), kept as its own text model; missing values and categories are native to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from huaxiang.models.metrics import Floats
from huaxiang.models.zoo.base import Config, gather_by_source
from huaxiang.models.zoo.prepare import Matrix, Preparation

PARALLEL = 100_000  # cells below which threads wait for each other longer than they work


@dataclass(frozen=True)
class BoostingConfig(Config):
    """`trees` is the most it may grow; with validation data to watch, it stops when they no longer improve."""

    trees: int = 300
    leaves: int = 15
    rate: float = 0.06
    leaf_rows: int = 40
    l2: float = 5.0
    column_share: float = 0.6
    row_share: float = 0.8
    bins: int = 127
    patience: int = 25
    threads: int = 2


class Boosting:
    """Trees added one by one, each to the gradient of the log loss (or squared error) left by those before."""

    def __init__(self, config: BoostingConfig) -> None:
        self.config: Config = config
        self.settings = config
        self.effect_unit = "number" if config.task == "number" else "log_odds"
        self.columns: tuple[str, ...] = ()
        self.classes = 2
        self.text = ""
        self.booster: Any = None

    def fit(
        self, x: Matrix, y: Floats, *, seed: int, classes: int = 2, watch: tuple[Matrix, Floats] | None = None
    ) -> Self:
        import lightgbm

        self.columns, self.classes = x.columns, classes
        self.preparation = Preparation.fit(x, "native")
        data = self._dataset(x, y)
        callbacks = []
        if watch is not None:
            callbacks.append(lightgbm.early_stopping(self.settings.patience, verbose=False))
        booster = lightgbm.train(
            self._parameters(seed, self._threads(x.values)),
            data,
            num_boost_round=self.settings.trees,
            valid_sets=[self._dataset(*watch, reference=data)] if watch is not None else None,
            callbacks=callbacks,
        )
        trees = booster.best_iteration if watch is not None else booster.num_trees() // self._per_round
        if watch is not None:
            self.config = self.settings = replace(self.settings, trees=max(1, trees))
        self._open(booster.model_to_string(num_iteration=max(1, trees)))
        return self

    @property
    def _per_round(self) -> int:
        return self.classes if self.config.task == "class" else 1

    def _threads(self, prepared: Floats) -> int:
        return self.settings.threads if prepared.size >= PARALLEL else 1

    def _parameters(self, seed: int, threads: int) -> dict[str, Any]:
        settings = self.settings
        objective = {"binary": "binary", "number": "regression", "class": "multiclass"}[settings.task]
        return {
            "objective": objective,
            "metric": {"binary": "binary_logloss", "number": "l2", "class": "multi_logloss"}[settings.task],
            "num_class": self._per_round,
            "learning_rate": settings.rate,
            "num_leaves": settings.leaves,
            "min_data_in_leaf": settings.leaf_rows,
            "lambda_l2": settings.l2,
            "feature_fraction": settings.column_share,
            "bagging_fraction": settings.row_share,
            "bagging_freq": 1,
            "max_bin": settings.bins,
            "seed": seed % 2**31,
            "num_threads": threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }

    def _dataset(self, x: Matrix, y: Floats, reference: Any = None) -> Any:
        import lightgbm

        return lightgbm.Dataset(
            self._prepared(x),
            label=y,
            reference=reference,
            categorical_feature=self.preparation.category_places,
            params={
                "verbosity": -1,
                "max_bin": self.settings.bins,
                "min_data_in_leaf": self.settings.leaf_rows,
                "num_threads": self._threads(x.values),
            },
        )

    def _prepared(self, x: Matrix) -> Floats:
        prepared = self.preparation.apply(x)
        return prepared if prepared.shape[1] else np.zeros((len(x), 1))

    def _open(self, text: str) -> None:
        """Take the model back from its text, so that what was fitted and what is reloaded are one and the same."""
        import lightgbm

        self.text = text
        self.booster = lightgbm.Booster(model_str=text)

    def score(self, x: Matrix) -> Floats:
        prepared = self._prepared(x)
        return np.asarray(self.booster.predict(prepared, num_threads=self._threads(prepared)))

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        prepared = self._prepared(x)
        made = prepared.shape[1] + 1
        found = np.asarray(self.booster.predict(prepared, pred_contrib=True, num_threads=self._threads(prepared)))
        if self.config.task == "class":
            likely = self.score(x).argmax(axis=1)
            found = found.reshape(len(x), self.classes, made)[np.arange(len(x)), likely]
        sources = self.preparation.sources if len(self.preparation.sources) else np.array([0])
        return gather_by_source(found[:, :-1], sources, len(self.columns)), found[:, -1]

    @property
    def dropped(self) -> dict[str, str]:
        return self.preparation.dropped

    def state(self) -> dict[str, Any]:
        return {"preparation": self.preparation.state(), "classes": self.classes, "text": self.text}

    @classmethod
    def from_state(cls, config: BoostingConfig, state: dict[str, Any]) -> Self:
        made = cls(config)
        made.preparation = Preparation.from_state(state["preparation"])
        made.columns, made.classes = made.preparation.columns, state["classes"]
        made._open(state["text"])
        return made
