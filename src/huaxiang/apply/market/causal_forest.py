"""An honest causal forest over scikit-learn's trees.

Each tree splits one half of a random part of the customers, on the pseudo-outcome residual(y) / residual(treatment) weighed by
residual(treatment)², which is the residual-on-residual regression of the R-learner; the other half alone fills the leaves. A customer's
effect is Σ residual(t)·residual(y) / Σ residual(t)² over the leaves it falls in, each leaf counting as one.

source: Athey, Tibshirani & Wager 2019 (generalised random forests); Nie & Wager 2021 (R-learner); differs: splits maximise the fall of the
weighed variance of the pseudo-outcome, as scikit-learn has it, in place of GRF's gradient statistic.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from huaxiang.models.metrics import Floats

ROWS = 20_000  # scored at a time: what a tree touches then stays in the cache


@dataclass(frozen=True)
class ForestConfig:
    trees: int = 150
    leaf_rows: int = 400  # of the half that splits
    depth: int = 5
    column_share: float = 0.35
    row_share: float = 0.6  # of the customers a tree sees, half of them to split, half to fill


@dataclass(frozen=True)
class Splits:
    """One tree. (nodes,) each: the column and threshold of a split, the nodes to its left and right (−1: a leaf)."""

    column: NDArray[np.int64]
    threshold: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]

    def leaf_of(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        """(N,) the leaf that each row of x (N, F) falls in."""
        node = np.zeros(len(x), dtype=np.int64)
        moving = np.arange(len(x)) if self.left[0] >= 0 else np.zeros(0, dtype=np.int64)
        while len(moving):
            at = node[moving]
            goes_left = x[moving, self.column[at]] <= self.threshold[at]
            node[moving] = np.where(goes_left, self.left[at], self.right[at])
            moving = moving[self.left[node[moving]] >= 0]
        return node


class CausalForest:
    """Trees, and what each leaf holds: [Σ t·y, Σ t²] of residuals, a customer."""

    def __init__(self, config: ForestConfig) -> None:
        self.config = config
        self.trees: list[Splits] = []
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
            grown = DecisionTreeRegressor(
                max_depth=config.depth,
                min_samples_leaf=min(config.leaf_rows, max(1, len(split) // 4)),
                max_features=config.column_share,
                random_state=int(generator.integers(2**31)),
            ).fit(x[split], pseudo[split], sample_weight=weight[split])
            inner = grown.tree_
            tree = Splits(
                inner.feature.astype(np.int64),
                inner.threshold.astype(float),
                inner.children_left.astype(np.int64),
                inner.children_right.astype(np.int64),
            )
            leaf, nodes = tree.leaf_of(x[fill].astype(np.float32)), len(tree.left)
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
        parts = [self._score(x[start : start + ROWS]) for start in range(0, len(x), ROWS)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _score(self, x: Floats) -> Floats:
        total, narrow = np.zeros((len(x), 2)), x.astype(np.float32)  # as scikit-learn's trees compare
        for tree, leaves in zip(self.trees, self.leaves, strict=True):
            total += leaves[tree.leaf_of(narrow)]
        return np.divide(total[:, 0], total[:, 1], out=np.zeros(len(x)), where=total[:, 1] > 0)

    def state(self) -> dict[str, Any]:
        trees = [
            {name: values.tolist() for name, values in (vars(tree) | {"leaves": leaves}).items()}
            for tree, leaves in zip(self.trees, self.leaves, strict=True)
        ]
        return {"config": asdict(self.config), "trees": trees}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        found = cls(ForestConfig(**state["config"]))
        for tree in state["trees"]:
            column, left, right = (np.array(tree[name], dtype=np.int64) for name in ("column", "left", "right"))
            found.trees.append(Splits(column, np.array(tree["threshold"], dtype=float), left, right))
            found.leaves.append(np.array(tree["leaves"], dtype=float))
        return found
