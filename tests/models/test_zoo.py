"""Every model of the zoo takes one list of exams."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from huaxiang.errors import ModelError
from huaxiang.models.metrics import Floats, Task, roc_auc
from huaxiang.models.next_item.sequences import Sequences
from huaxiang.models.zoo import Config, Matrix, Model, grids, load_model, make_model, save_model, sequence_grids
from huaxiang.models.zoo.history import Histories, no_history
from huaxiang.models.zoo.sequence import SequenceConfig

TASKS: tuple[Task, ...] = ("binary", "number", "class")


def quicker(config: Config) -> Config:
    """The same model, its networks small and soon done."""
    return replace(config, first=5, epochs=3, length=8, batch=32) if isinstance(config, SequenceConfig) else config


ALL = [
    pytest.param(task, name, quicker(config), id=f"{task}-{name}{place or ''}")
    for task in TASKS
    for name, grid in (grids(task) | sequence_grids(task)).items()
    for place, config in enumerate(grid[:: max(len(grid) - 1, 1)] if name == "mlp" else grid[:1])
]
LEARN = [case for case in ALL if not case.id.endswith(("prior", "mean", "majority"))]  # type: ignore[union-attr]
N = 600


def make_histories(count: int, random: np.random.Generator) -> Histories:
    """Up to 11 events a row, which tell nothing; some rows have none, some prices are not known."""
    counts = random.integers(0, 12, count)
    total = int(counts.sum())
    ts = np.sort(random.integers(1_700_000_000, 1_703_000_000, total))
    price = np.where(random.random(total) < 0.2, np.nan, random.gamma(2.0, 10.0, total))
    starts = np.concatenate([[0], np.cumsum(counts)])
    events = Sequences(starts, random.integers(0, 50, total), ts, random.integers(1, 5, total), price)
    until = np.full(count, 1_703_100_000)
    category, clock = random.integers(-1, 3, total), random.integers(-1, 168, total)
    return Histories(events, category, clock, until, ("tea", "bread", "candles"), np.arange(count))


def make_data(task: Task, *, seed: int = 5) -> tuple[Matrix, Floats]:
    """Four numbers (the first tells, the second half-tells and is often missing), a constant, an empty one, a category."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(N, 7))
    values[:, 4], values[:, 5] = 1.0, np.nan
    values[:, 6] = random.integers(0, 4, N)
    signal = 2 * values[:, 0] + values[:, 1] + (values[:, 6] == 2) + random.normal(size=N)
    values[random.random(N) < 0.3, 1] = np.nan
    y = {"binary": (signal > 0).astype(float), "number": signal, "class": np.digitize(signal, [-1, 1]).astype(float)}[
        task
    ]
    columns = ("a", "b", "c", "d", "same", "empty", "kind")
    return Matrix(columns, values, frozenset({"kind"}), make_histories(N, random)), y


def fitted(config: Config, *, seed: int = 1) -> tuple[Model, Matrix, Floats]:
    x, y = make_data(config.task)
    return make_model(config).fit(x, y, seed=seed, classes=3 if config.task == "class" else 2), x, y


@pytest.mark.parametrize(("task", "name", "config"), ALL)
def test_reloaded_model_scores_bit_identically(task: Task, name: str, config: Config) -> None:
    model, x, _ = fitted(config)
    back = load_model(json.loads(json.dumps(save_model(model))))
    assert np.array_equal(model.score(x), back.score(x))
    assert all(np.array_equal(a, b) for a, b in zip(model.explain(x), back.explain(x), strict=True))
    assert json.dumps(save_model(back)) == json.dumps(save_model(model))


@pytest.mark.parametrize(("task", "name", "config"), ALL)
def test_refit_with_the_same_seed_is_the_same_model(task: Task, name: str, config: Config) -> None:
    assert save_model(fitted(config)[0]) == save_model(fitted(config)[0])


@pytest.mark.parametrize(("task", "name", "config"), ALL)
def test_columns_are_found_by_name_in_any_order(task: Task, name: str, config: Config) -> None:
    model, x, _ = fitted(config)
    turned = Matrix(
        ("more", *x.columns[::-1]), np.column_stack([np.zeros(N), x.values[:, ::-1]]), x.categories, x.history
    )
    assert np.array_equal(model.score(x), model.score(turned))


@pytest.mark.parametrize(("task", "name", "config"), ALL)
def test_one_row_scores_as_it_does_among_many(task: Task, name: str, config: Config) -> None:
    model, x, _ = fitted(config)
    among, alone = model.score(x)[17], model.score(x.rows(np.array([17])))[0]
    if config.reads_history:  # PyTorch adds in another order for one row than for many
        assert alone == pytest.approx(among, abs=1e-5)
    else:
        assert np.array_equal(among, alone)


@pytest.mark.parametrize(("task", "name", "config"), ALL)
def test_missing_and_unseen_values_still_get_a_score(task: Task, name: str, config: Config) -> None:
    model, x, _ = fitted(config)
    strange = Matrix(x.columns, np.array([[np.nan] * 7, [1e12, -1e12, 0, 0, 9, 9, 77]]), x.categories, no_history(2))
    assert np.isfinite(model.score(strange)).all()


@pytest.mark.parametrize(("task", "name", "config"), ALL)
def test_effects_add_up_to_the_score(task: Task, name: str, config: Config) -> None:
    model, x, _ = fitted(config)
    effects, base = model.explain(x)
    scored = model.score(x)
    total = base + effects.sum(axis=1)
    if task == "class" and model.effect_unit == "log_odds":
        pytest.skip("log-odds of one class do not give its probability; the binary and number cases cover the sums")
    if task == "class":
        scored = scored.max(axis=1)
    elif model.effect_unit == "log_odds":
        total = 1 / (1 + np.exp(-total))
    assert total == pytest.approx(scored, abs=1e-9)


@pytest.mark.parametrize(("task", "name", "config"), LEARN)
def test_planted_signal_is_found_and_named(task: Task, name: str, config: Config) -> None:
    model, _, _ = fitted(config)
    new, y = make_data(task, seed=6)
    scored = model.score(new)
    truth, score = {
        "binary": (y, scored),
        "number": ((y > 0).astype(float), scored),
        "class": ((y == 2).astype(float), scored[:, 2] if task == "class" else scored),
    }[task]
    assert roc_auc(truth, score) > 0.85
    effects, _ = model.explain(new)
    assert model.columns[int(np.abs(effects).mean(axis=0).argmax())] == "a"


@pytest.mark.parametrize(("task", "name", "config"), LEARN)
def test_shuffled_labels_teach_nothing(task: Task, name: str, config: Config) -> None:
    areas = []
    for seed in range(3):
        x, y = make_data(task, seed=seed)
        y = np.random.default_rng(seed).permutation(y)
        model = make_model(config).fit(x.rows(np.arange(300)), y[:300], seed=1, classes=3 if task == "class" else 2)
        scored = model.score(x.rows(np.arange(300, N)))
        areas.append(roc_auc((y[300:] > 0).astype(float), scored[:, 0] if task == "class" else scored))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("task", "name", "config"), LEARN)
def test_lacking_column_is_named(task: Task, name: str, config: Config) -> None:
    model, x, _ = fitted(config)
    with pytest.raises(ModelError, match=r"lacks 1 column .*: a"):
        model.score(Matrix(x.columns[1:], x.values[:, 1:], x.categories, x.history))


@pytest.mark.parametrize(("task", "name", "config"), ALL)
def test_table_without_any_varying_column_gives_the_average(task: Task, name: str, config: Config) -> None:
    _, y = make_data(task)
    x = Matrix(("same",), np.ones((N, 1)), history=no_history(N))
    scored = make_model(config).fit(x, y, seed=1, classes=3 if task == "class" else 2).score(x)
    expected = [np.mean(y == k) for k in range(3)] if task == "class" else y.mean()
    assert scored[0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("task", "name", "config"), [case for case in ALL if case.id.startswith("class")])  # type: ignore[union-attr]
def test_class_absent_from_training_keeps_its_place(task: Task, name: str, config: Config) -> None:
    x, y = make_data("class")
    seen = np.flatnonzero(y != 1)
    scored = make_model(config).fit(x.rows(seen), y[seen], seed=1, classes=3).score(x)
    assert scored.shape == (N, 3)
    assert scored.sum(axis=1) == pytest.approx(1.0)
    assert scored[:, 1].max() < 0.05


def test_tree_effects_equal_the_shap_library() -> None:
    shap = pytest.importorskip("shap")
    from sklearn.tree import DecisionTreeRegressor

    from huaxiang.models.zoo.tree import Tree, TreeConfig

    x, y = make_data("number")
    numbers = Matrix(x.columns[:4], np.nan_to_num(x.values[:, :4]).astype(np.float32).astype(float))
    tree = Tree(TreeConfig("number", depth=6, leaf_rows=5)).fit(numbers, y, seed=3)
    same = DecisionTreeRegressor(max_depth=6, min_samples_leaf=5, random_state=3).fit(numbers.values, y)
    theirs = shap.TreeExplainer(same).shap_values(numbers.values[:50])
    assert tree.explain(numbers.rows(np.arange(50)))[0] == pytest.approx(theirs, abs=1e-6)


def test_early_stopping_keeps_fewer_trees_than_allowed() -> None:
    x, y = make_data("binary")
    config = grids("binary")["lightgbm"][0]
    half = np.arange(N) < 300
    model = make_model(config).fit(
        x.rows(np.flatnonzero(half)), y[half], seed=1, watch=(x.rows(np.flatnonzero(~half)), y[~half])
    )
    assert model.config.trees < config.trees  # type: ignore[attr-defined]


def test_unknown_kind_of_model_is_refused() -> None:
    with pytest.raises(ModelError, match="no model of kind pickle"):
        load_model({"kind": "pickle", "config": {}, "state": {}})
