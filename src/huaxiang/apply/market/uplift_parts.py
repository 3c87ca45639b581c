"""Fitted learners of an individual effect: each scores customers, and is saved as JSON (trees in LightGBM's own text), never as pickle.

    learner = fit_learner(config, x, treated, y, seed=1)
    learner(x)                                            # (N,) effect of the treatment, outcomes a customer
    Learner.from_state(learner.state())(x)                # the same numbers, bit by bit

Letters: N customers, F columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from huaxiang.apply.market.causal_forest import CausalForest
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix, Model, load_model, save_model
from huaxiang.models.zoo.prepare import Preparation

Kind = Literal["s", "t", "x", "sparse", "forest"]
Score = Callable[[Matrix], Floats]  # (N,) effect of the treatment on the outcome, outcomes a customer
TREATED = "treated"


class Part(Protocol):
    """One fit of a learner: what it makes of prepared columns, before the level is set."""

    @property
    def kind(self) -> Kind: ...

    def score(self, x: Matrix) -> Floats: ...

    def state(self) -> dict[str, Any]: ...

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self: ...


@dataclass(frozen=True)
class OneModel:
    """s: the outcome with the treatment minus the outcome without, by one model; products: whether it sees their products too."""

    model: Model
    products: bool
    kind: Kind = "s"

    def score(self, x: Matrix) -> Floats:
        ones = np.ones(len(x))
        one = self.model.score(with_treatment(x, ones, products=self.products))
        return one - self.model.score(with_treatment(x, 0 * ones, products=self.products))

    def state(self) -> dict[str, Any]:
        return {"model": save_model(self.model), "products": self.products}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(load_model(state["model"]), state["products"])


@dataclass(frozen=True)
class TwoModels:
    """t: one arm's model minus the other's. x: the effect as learned among the held-out times the share treated, plus the effect as
    learned among the treated times the rest. one, none: weight × model each."""

    one: Model
    none: Model
    weights: tuple[float, float]
    kind: Kind

    def score(self, x: Matrix) -> Floats:
        return self.weights[0] * self.one.score(x) + self.weights[1] * self.none.score(x)

    def state(self) -> dict[str, Any]:
        return {
            "one": save_model(self.one),
            "none": save_model(self.none),
            "weights": list(self.weights),
            "kind": self.kind,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        first, second = state["weights"]
        return cls(load_model(state["one"]), load_model(state["none"]), (first, second), state["kind"])


@dataclass(frozen=True)
class Sparse:
    """A linear effect of few columns. kept: (K,) places of the columns; coef: (K,)"""

    kept: NDArray[np.int64]
    coef: Floats
    intercept: float
    kind: Kind = "sparse"

    def score(self, x: Matrix) -> Floats:
        # einsum, not @: a customer scored alone must get the same
        return np.einsum("nf,f->n", x.values[:, self.kept], self.coef) + self.intercept

    def state(self) -> dict[str, Any]:
        return {"kept": self.kept.tolist(), "coef": self.coef.tolist(), "intercept": self.intercept}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(np.array(state["kept"], np.int64), np.array(state["coef"], float), state["intercept"])


@dataclass(frozen=True)
class Forest:
    """The honest causal forest (causal_forest.py)."""

    forest: CausalForest
    kind: Kind = "forest"

    def score(self, x: Matrix) -> Floats:
        return self.forest.score(x.values)

    def state(self) -> dict[str, Any]:
        return self.forest.state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(CausalForest.from_state(state))


_PARTS: dict[Kind, type[Any]] = {"s": OneModel, "t": TwoModels, "x": TwoModels, "sparse": Sparse, "forest": Forest}


@dataclass(frozen=True)
class Learner:
    """A fitted learner: the mean of its parts over columns as `prepare` makes them, plus `level`."""

    prepare: Preparation
    parts: tuple[Part, ...]
    level: float = 0.0

    def __call__(self, x: Matrix) -> Floats:
        """(N,) effect of the treatment on the outcome, outcomes a customer."""
        return self.mean(prepare_dense(self.prepare, x)) + self.level

    def mean(self, made: Matrix) -> Floats:
        """(N,) mean of the parts over prepared columns, before the level is set."""
        return np.mean([part.score(made) for part in self.parts], axis=0)

    def state(self) -> dict[str, Any]:
        parts = [{"kind": part.kind, "state": part.state()} for part in self.parts]
        return {"prepare": self.prepare.state(), "parts": parts, "level": self.level}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        parts = tuple(_PARTS[one["kind"]].from_state(one["state"]) for one in state["parts"])
        return cls(Preparation.from_state(state["prepare"]), parts, state["level"])


def with_treatment(x: Matrix, treated: Floats, *, products: bool) -> Matrix:
    """x with the treatment beside it, and its product with every column where a model is linear."""
    columns, values = (*x.columns, TREATED), np.column_stack([x.values, treated])
    if products:
        columns += tuple(f"{TREATED} × {name}" for name in x.columns)
        values = np.column_stack([values, x.values * treated[:, None]])
    return Matrix(columns, values)


def prepare_dense(prepare: Preparation, x: Matrix) -> Matrix:
    """One-hot, filled and standardised: numbers only, so that every learner sees the same columns."""
    values = prepare.apply(x)
    return Matrix(tuple(f"c{at}" for at in range(values.shape[1])), values)
