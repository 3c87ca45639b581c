"""Heads on the behaviour model's vector: what they read, how they are refitted, and that saved ones are the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from huaxiang.errors import ModelError
from huaxiang.models.behaviour import Behaviour, BehaviourConfig
from huaxiang.models.contest import hold_contest
from huaxiang.models.foresight import Foresight, save_foresight
from huaxiang.models.labelled import Labelled
from huaxiang.models.next_item.lake import ShopItems
from huaxiang.models.next_item.sequences import Items, from_lists
from huaxiang.models.outcomes import _Vectors
from huaxiang.models.past import Past
from huaxiang.models.scoring import make_card
from huaxiang.models.zoo import Matrix, grids, load_model, make_model, save_model, vector_grids
from huaxiang.models.zoo.history import RECENT_EVENTS, no_history
from huaxiang.models.zoo.linear import LinearConfig
from huaxiang.models.zoo.vector import VectorConfig
from huaxiang.settings import TrainSettings

N = 400
TASKS = ("binary", "number", "class")
CONFIGS = [
    pytest.param(config, id=f"{name}-{task}-{place}")
    for task in TASKS
    for name, grid in vector_grids(task, "v1").items()  # type: ignore[arg-type]
    for place, config in enumerate(grid[:1])
]


def rows(task: str, seed: int = 3) -> tuple[Matrix, Any]:
    """The first column and the first number of the vector both tell; nothing else does."""
    random = np.random.default_rng(seed)
    values, vectors = random.normal(size=(N, 3)), random.normal(size=(N, 8)).astype(np.float32)
    raw = values[:, 0] + 2 * vectors[:, 0] + 0.3 * random.normal(size=N)
    y = {"binary": (raw > 0).astype(float), "number": raw, "class": np.digitize(raw, [-1, 1]).astype(float)}[task]
    history = replace(no_history(N), vectors=vectors)
    return Matrix(("a", "b", "c"), values, history=history), y


@pytest.mark.parametrize("config", CONFIGS)
def test_what_is_saved_scores_and_explains_to_the_bit(config: VectorConfig) -> None:
    x, y = rows(config.task)
    model = make_model(config).fit(x, y, seed=1, classes=3)
    again = load_model(json.loads(json.dumps(save_model(model))))
    assert again.config == model.config
    assert np.array_equal(again.score(x), model.score(x))
    assert np.array_equal(make_model(config).fit(x, y, seed=1, classes=3).score(x), model.score(x))
    effects, base = model.explain(x)
    assert effects.shape == (N, 1 if not config.features else 4) and np.isfinite(effects).all()
    assert model.columns[-1] == RECENT_EVENTS and np.isfinite(base).all()


@pytest.mark.parametrize("task", TASKS)
def test_both_know_more_than_either(task: str) -> None:
    x, y = rows(task)
    half = np.arange(N) < N // 2
    train, out = np.flatnonzero(half), np.flatnonzero(~half)

    def loss(config: Any) -> float:
        from huaxiang.models.metrics import row_losses

        model = make_model(config).fit(x.rows(train), y[train], seed=1, classes=3)
        return float(row_losses(config.task, y[out], model.score(x.rows(out))).mean())

    both = loss(VectorConfig(task))  # type: ignore[arg-type]
    assert both < loss(VectorConfig(task, features=False))  # type: ignore[arg-type]
    assert both < loss(LinearConfig(task, l2=0.03))  # type: ignore[arg-type]


def test_a_refit_grows_as_many_trees_as_the_exam_found_best() -> None:
    x, y = rows("binary")
    watch = (x.rows(np.arange(200, N)), y[200:])
    made = make_model(VectorConfig("binary", head="lightgbm")).fit(x.rows(np.arange(200)), y[:200], seed=1, watch=watch)
    found = made.config.trees  # type: ignore[attr-defined]
    assert 0 < found < 300
    refit = make_model(made.config).fit(x, y, seed=1)
    assert refit.inner.booster.num_trees() == found  # type: ignore[attr-defined]


def test_a_small_weight_is_a_greater_penalty_of_those_columns_alone() -> None:
    x, y = rows("number")

    def coefficients(weight: float) -> np.ndarray:
        config = VectorConfig("number", l2=0.1, weight=weight, log=False)
        return np.asarray(make_model(config).fit(x, y, seed=1).inner.coef[0])  # type: ignore[attr-defined]

    even, small = coefficients(1.0), coefficients(0.1)
    assert abs(small[3]) < 0.2 * abs(even[3])  # the vector's first number
    assert abs(small[0]) > 0.8 * abs(even[0])  # the first column
    known = LinearConfig("number", l2=0.1, weights=(("b", 0.5), ("", 2.0)))
    assert [known.weight_of(name) for name in ("bcd", "a")] == [0.5, 2.0]


def test_rows_without_vectors_are_refused() -> None:
    x, y = rows("binary")
    model = make_model(VectorConfig("binary")).fit(x, y, seed=1)
    with pytest.raises(ModelError):
        model.score(replace(x, history=no_history(N)))


def test_what_reads_the_vector_costs_what_the_behaviour_model_costs_too(tmp_path: Path) -> None:
    """A saved behaviour model whose training took 40 s and 2 s; a head of a few numbers on it."""
    every = from_lists([[n % 5, (n + 1) % 5, (n + 2) % 5] for n in range(20)])
    items = Items(tuple(f"i{n}" for n in range(5)))
    model = Behaviour(BehaviourConfig(width=8, heads=1, layers=1, epochs=1, threads=1)).fit(every, items, seed=1)
    curve = ({"loss": 2.0, "seconds": 40.0}, {"loss": 1.0, "seconds": 2.0})
    version = save_foresight(
        Foresight({"behaviour": model}, (1.0,), (1e-4,), "behaviour", items.ids, {}, curve, {}), tmp_path
    )
    past = Past(model, ShopItems(np.arange(5), items), version)
    under = _Vectors(past, tmp_path)
    assert under.embed(replace(every, item=every.item + 1)).shape == (20, 16)
    cost = under.cost()
    saved = sum(len(value.tobytes()) for value in model.state().values())
    assert cost.seconds == 42.0 and cost.bytes > saved and cost.ms_per_user > 0

    x, y = rows("binary")
    split = np.repeat(np.array(["train", "valid", "test"], dtype=object), [200, 100, 100])
    data = Labelled("binary", x, y, np.arange(N), split, split, [], {}, 1.0)
    settings = TrainSettings(folds=2)
    entered: dict[str, Any] = grids("binary") | vector_grids("binary", version)
    contest = hold_contest(data, {}, {name: entered[name][:1] for name in ("prior", "logistic", "vector", "vector_features")}, settings, lambda: None, vectors=cost)  # fmt: skip
    card = make_card({"name": "buys"}, data, contest, None, None, why=None, settings=settings, seconds=0.0)
    costs = {one.name: one for one in card.models}
    for name in ("vector", "vector_features"):
        one = costs[name]
        assert one.bytes > cost.bytes and one.seconds > 42 and one.ms_per_user > cost.ms_per_user
    assert costs["logistic"].bytes < cost.bytes and costs["logistic"].seconds < 42
    assert card.model == "vector_features" and card.bytes == costs["vector_features"].bytes
