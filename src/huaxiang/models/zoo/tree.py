"""A decision tree (Gini impurity; squared error for numbers), kept and scored as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Any, Self

import numpy as np

from huaxiang.models.metrics import Floats
from huaxiang.models.zoo.base import Config, gather_by_source
from huaxiang.models.zoo.prepare import Matrix, Preparation

LEAF = -1


@dataclass(frozen=True)
class TreeConfig(Config):
    depth: int = 5
    leaf_rows: int = 20


class Tree:
    """Node arrays: `left`, `right` (LEAF in leaves), `feature`, `threshold`, `value` (nodes, K or 1), `rows`."""

    def __init__(self, config: TreeConfig) -> None:
        self.config: Config = config
        self.depth, self.leaf_rows = config.depth, config.leaf_rows
        self.effect_unit = "number" if config.task == "number" else "probability"
        self.columns: tuple[str, ...] = ()

    def fit(
        self, x: Matrix, y: Floats, *, seed: int, classes: int = 2, watch: tuple[Matrix, Floats] | None = None
    ) -> Self:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        self.columns = x.columns
        self.preparation = Preparation.fit(x, "codes")
        prepared = self.preparation.apply(x).astype(np.float32)
        if not prepared.shape[1]:
            prepared = np.zeros((len(y), 1), dtype=np.float32)
        settings = {"max_depth": self.depth, "min_samples_leaf": min(self.leaf_rows, max(1, len(y) // 10))}
        if self.config.task == "number":
            fitted = DecisionTreeRegressor(random_state=seed, **settings).fit(prepared, y)
            value = fitted.tree_.value[:, 0, :]
        else:
            fitted = DecisionTreeClassifier(criterion="gini", random_state=seed, **settings).fit(prepared, y)
            value = np.zeros((fitted.tree_.node_count, classes))
            value[:, fitted.classes_.astype(int)] = fitted.tree_.value[:, 0, :]
            value /= value.sum(axis=1, keepdims=True)
            value = _smoothed(value, fitted.tree_.n_node_samples)
        nodes = fitted.tree_
        self.left, self.right = nodes.children_left.astype(int), nodes.children_right.astype(int)
        self.feature, self.threshold = nodes.feature.astype(int), nodes.threshold.astype(float)
        self.rows = nodes.n_node_samples.astype(int)
        self.value = value[:, 1:2] if self.config.task == "binary" else value
        return self

    def score(self, x: Matrix) -> Floats:
        scored = self.value[self._leaves(self._prepared(x))]
        return scored if self.config.task == "class" else scored[:, 0]

    def explain(self, x: Matrix) -> tuple[Floats, Floats]:
        """Exact Shapley values (path-dependent TreeSHAP), leaf by leaf, all rows at once.

        source: Lundberg et al. 2020, Algorithm 1; differs: one tree, so each leaf is a product game over the columns
        of its path, whose Shapley values follow from the coefficients of Π(z + o·t).
        """
        prepared = self._prepared(x)
        leaf_of = self._leaves(prepared)
        k = self.value[leaf_of].argmax(axis=1) if self.config.task == "class" else np.zeros(len(x), dtype=int)
        effects = np.zeros((len(x), prepared.shape[1]))
        for leaf, path in self._paths():
            inside = {j: self._holds(prepared[:, j], path[j]) for j in path}  # o: 1 where the row keeps to the path
            share = {j: path[j][2] for j in path}  # z: share of training rows that keep to it
            for j in path:
                weight = _shapley_weight([(inside[i], share[i]) for i in path if i != j], len(x))
                effects[:, j] += self.value[leaf, k] * (inside[j] - share[j]) * weight
        base = (self.rows[self.left == LEAF] / self.rows[0]) @ self.value[self.left == LEAF]
        sources = self.preparation.sources if len(self.preparation.sources) else np.array([0])
        return gather_by_source(effects, sources, len(self.columns)), base[k]

    def _prepared(self, x: Matrix) -> np.ndarray:
        prepared = self.preparation.apply(x).astype(np.float32)  # the tree splits 32-bit values
        return prepared if prepared.shape[1] else np.zeros((len(x), 1), dtype=np.float32)

    def _leaves(self, prepared: np.ndarray) -> np.ndarray:
        node = np.zeros(len(prepared), dtype=int)
        every = np.arange(len(prepared))
        for _ in range(self.depth):
            inner = self.left[node] != LEAF
            goes_left = prepared[every, np.maximum(self.feature[node], 0)] <= self.threshold[node]
            node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
        return node

    def _paths(self) -> list[tuple[int, dict[int, tuple[float, float, float]]]]:
        """Each leaf with its path: column -> (above, up to, share of training rows kept by its splits)."""
        found: list[tuple[int, dict[int, tuple[float, float, float]]]] = []
        stack: list[tuple[int, dict[int, tuple[float, float, float]]]] = [(0, {})]
        while stack:
            node, path = stack.pop()
            if self.left[node] == LEAF:
                found.append((node, path))
                continue
            j, cut = int(self.feature[node]), float(self.threshold[node])
            above, upto, share = path.get(j, (-np.inf, np.inf, 1.0))
            for child, bounds in (
                (self.left[node], (above, min(upto, cut))),
                (self.right[node], (max(above, cut), upto)),
            ):
                kept = share * float(self.rows[child]) / float(self.rows[node])
                stack.append((int(child), path | {j: (*bounds, kept)}))
        return found

    @staticmethod
    def _holds(column: np.ndarray, bounds: tuple[float, float, float]) -> Floats:
        return ((column > bounds[0]) & (column <= bounds[1])).astype(float)

    @property
    def dropped(self) -> dict[str, str]:
        return self.preparation.dropped

    def state(self) -> dict[str, Any]:
        arrays = {
            name: getattr(self, name).tolist() for name in ("left", "right", "feature", "threshold", "value", "rows")
        }
        return {"preparation": self.preparation.state()} | arrays

    @classmethod
    def from_state(cls, config: TreeConfig, state: dict[str, Any]) -> Self:
        made = cls(config)
        made.preparation = Preparation.from_state(state["preparation"])
        made.columns = made.preparation.columns
        made.left, made.right = np.array(state["left"]), np.array(state["right"])
        made.feature, made.threshold = np.array(state["feature"]), np.array(state["threshold"], dtype=float)
        made.value, made.rows = np.array(state["value"], dtype=float), np.array(state["rows"])
        return made


def _smoothed(value: Floats, rows: np.ndarray) -> Floats:
    """Shares with one row of the whole table's mix added to each node: a pure leaf of 20 rows is not certainty."""
    return (value * rows[:, None] + value[0]) / (rows[:, None] + 1)


def _shapley_weight(others: list[tuple[Floats, float]], rows: int) -> Floats:
    """(N,) Σ over coalitions S of the other columns: |S|!(d−|S|−1)!/d! · Π o in S · Π z outside."""
    by_size = [np.ones(rows)]  # coefficient of t^s in Π(z + o·t)
    for inside, share in others:
        grown = [share * terms for terms in by_size] + [np.zeros(rows)]
        for size, terms in enumerate(by_size):
            grown[size + 1] = grown[size + 1] + inside * terms
        by_size = grown
    d = len(others) + 1
    return sum(
        (factorial(s) * factorial(d - s - 1) / factorial(d) * terms for s, terms in enumerate(by_size)), np.zeros(rows)
    )
