"""An honest causal forest over scikit-learn's trees.

Each tree splits one half of a random part of the customers, on the pseudo-outcome residual(y) / residual(treatment) weighed by
residual(treatment)², which is the residual-on-residual regression of the R-learner; the other half alone fills the leaves. A customer's
effect is Σ residual(t)·residual(y) / Σ residual(t)² over the leaves it falls in, each leaf counting as one.

source: Athey, Tibshirani & Wager 2019 (generalised random forests); Nie & Wager 2021 (R-learner); differs: splits maximise the fall of the
weighed variance of the pseudo-outcome, as scikit-learn has it, in place of GRF's gradient statistic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from huaxiang.models.metrics import Floats


@dataclass(frozen=True)
class ForestConfig:
    trees: int = 150
    leaf_rows: int = 400  # of the half that splits
    depth: int = 5
    column_share: float = 0.35
    row_share: float = 0.6  # of the customers a tree sees, half of them to split, half to fill


class CausalForest:
    """Trees, and what each leaf holds: [Σ t·y, Σ t²] of residuals, a customer."""

    def __init__(self, config: ForestConfig) -> None:
        self.config = config
        self.trees: list[Any] = []
        self.leaves: list[Floats] = []  # (nodes, 2)

    def fit(self, x: Floats, treatment: Floats, outcome: Floats, *, seed: int) -> Self:
        """x: (N, F) without missing values; treatment, outcome: (N,) residuals."""
        from sklearn.tree import DecisionTreeRegressor

        config = self.config
        pseudo, weight = outcome / treatment, treatment**2
        for number in range(config.trees):
            generator = np.random.default_rng([seed, number])
            drawn = generator.permutation(len(x))[: max(4, int(len(x) * config.row_share))]
            split, fill = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
            tree = DecisionTreeRegressor(
                max_depth=config.depth,
                min_samples_leaf=min(config.leaf_rows, max(1, len(split) // 4)),
                max_features=config.column_share,
                random_state=int(generator.integers(2**31)),
            ).fit(x[split], pseudo[split], sample_weight=weight[split])
            leaf, nodes = tree.apply(x[fill]), tree.tree_.node_count
            count = np.maximum(np.bincount(leaf, minlength=nodes), 1)
            sums = [
                np.bincount(leaf, product[fill], minlength=nodes) / count
                for product in (treatment * outcome, treatment**2)
            ]
            self.trees.append(tree)
            self.leaves.append(np.column_stack(sums))
        return self

    def score(self, x: Floats) -> Floats:
        """(N,) effects; 0 where no leaf holds anybody."""
        total = np.zeros((len(x), 2))
        for tree, leaves in zip(self.trees, self.leaves, strict=True):
            total += leaves[tree.apply(x)]
        return np.divide(total[:, 0], total[:, 1], out=np.zeros(len(x)), where=total[:, 1] > 0)
