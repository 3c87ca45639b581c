"""Models brought as ONNX files: read, run, explained, saved, examined, and refused with a reason."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests.models import onnx_files as files

from huaxiang.errors import ModelError
from huaxiang.models.zoo import Matrix, OnnxConfig, load_model, make_model, save_model
from huaxiang.models.zoo.onnx_bytes import read_onnx
from huaxiang.models.zoo.onnx_file import HELD, OnnxModel, open_file
from huaxiang.models.zoo.shapley import EVALUATIONS, count_orders, sample_effects

N = 400
COLUMNS = ("a", "b", "c", "d")


def make_data(seed: int = 3) -> tuple[Matrix, Any]:
    random = np.random.default_rng(seed)
    values = random.normal(size=(N, 5)).round(3)
    y = (2 * values[:, 0] - values[:, 1] + values[:, 2] ** 2 + random.normal(size=N) > 1).astype(float)
    values[random.random(N) < 0.2, 1] = np.nan
    return Matrix((*COLUMNS, "other"), values), y


def config_of(content: bytes, columns: tuple[str, ...] = COLUMNS, **more: Any) -> OnnxConfig:
    given = {"task": "binary", "file": "mine.onnx", "sha256": hashlib.sha256(content).hexdigest(), "columns": columns}
    return OnnxConfig(**(given | more), content=content)


def sklearn_forest(*, zipmap: bool) -> tuple[bytes, Any]:
    from sklearn.ensemble import RandomForestClassifier

    x, y = make_data()
    learned = RandomForestClassifier(20, max_depth=5, random_state=0)
    learned.fit(np.nan_to_num(x.take(COLUMNS)).astype(np.float32), y.astype(int))
    return files.from_sklearn(learned, COLUMNS, zipmap=zipmap), learned


def sklearn_classes() -> bytes:
    from sklearn.linear_model import LogisticRegression

    x, _ = make_data()
    values = np.nan_to_num(x.take(COLUMNS))
    labels = np.array(["low", "mid", "top"])[np.digitize(values[:, 0], [-0.5, 0.5])]
    return files.from_sklearn(LogisticRegression(max_iter=500).fit(values, labels), COLUMNS)


CASES = {
    "sklearn zipmap": lambda: config_of(sklearn_forest(zipmap=True)[0]),
    "sklearn tensor": lambda: config_of(sklearn_forest(zipmap=False)[0]),
    "torch logit": lambda: config_of(files.from_torch(4), output="logit"),
    "keras inputs": lambda: config_of(
        files.from_keras({"d": 0.1, "a": 2.0, "c": 0.5, "b": -1.0}), columns=("d", "a", "c", "b")
    ),
    "keras whole numbers": lambda: config_of(
        files.from_keras({"a": 1.0, "b": -1.0}, kind=TensorProto.INT64), columns=("a", "b")
    ),
    "two logits": lambda: config_of(files.dense([[0, 2], [1, 0], [0, 1], [0, 0]]), output="logit"),
    "number": lambda: config_of(files.dense([[3], [-1], [0], [2]]), task="number", output="number"),
    "classes": lambda: config_of(sklearn_classes(), task="class", classes=("low", "mid", "top")),
    "class logits": lambda: config_of(
        files.dense(np.eye(4)[:, :3]),
        task="class",
        output="logit",
        labels=("top", "low", "mid"),
        classes=("low", "mid", "top"),
    ),
}


@pytest.fixture(params=list(CASES), scope="module")
def config(request: pytest.FixtureRequest) -> OnnxConfig:
    made: OnnxConfig = CASES[request.param]()
    return made


def fitted(config: OnnxConfig) -> tuple[OnnxModel, Matrix]:
    x, y = make_data()
    made = make_model(config).fit(x, y, seed=1, classes=max(2, len(config.classes)))
    assert isinstance(made, OnnxModel)
    return made, x


# ---- every kind of file takes the exams of the zoo -------------------------------------------------------------------


def test_file_passes_its_check_and_answers_for_missing_and_far_values(config: OnnxConfig) -> None:
    model, x = fitted(config)
    model.check(x)
    far = Matrix(x.columns, np.array([[np.nan] * 5, [1e12, -1e12, 1e30, 0, 0]]))
    assert np.isfinite(model.score(far)).all()


def test_reloaded_model_scores_bit_identically(config: OnnxConfig) -> None:
    model, x = fitted(config)
    saved = json.dumps(save_model(model))
    assert len(saved) < 1500  # the file is not in it
    back = load_model(json.loads(saved), {config.sha256: config.content}.__getitem__)
    open_file.cache_clear()
    assert np.array_equal(model.score(x), back.score(x))
    assert all(np.array_equal(a, b) for a, b in zip(model.explain(x), back.explain(x), strict=True))
    assert json.dumps(save_model(back)) == saved


def test_one_row_scores_as_it_does_among_many(config: OnnxConfig) -> None:
    model, x = fitted(config)
    for row in (0, 17, N - 1):
        assert model.score(x.rows(np.array([row])))[0] == pytest.approx(model.score(x)[row], abs=1e-6)


def test_columns_are_found_by_name(config: OnnxConfig) -> None:
    model, x = fitted(config)
    turned = Matrix(x.columns[::-1], x.values[:, ::-1])
    assert np.array_equal(model.score(x), model.score(turned))


def test_effects_add_up_to_the_raw_score(config: OnnxConfig) -> None:
    model, x = fitted(config)
    effects, base = model.explain(x)
    assert effects.shape == (N, len(config.columns))
    scored, total = model.score(x), base + effects.sum(axis=1)
    raw = {
        "log_odds": lambda: np.log(scored / (1 - scored)),
        "probability": lambda: scored.max(axis=1),
        "number": lambda: scored,
    }[model.effect_unit]()
    assert total == pytest.approx(raw, abs=1e-9)
    if config.task != "class":
        assert np.ptp(base) < 1e-4  # one reference customer: what differs is 32-bit rounding


# ---- the answers are the file's own ----------------------------------------------------------------------------------


@pytest.mark.parametrize("zipmap", [True, False])
def test_scores_equal_scikit_learns(zipmap: bool) -> None:
    content, learned = sklearn_forest(zipmap=zipmap)
    model, x = fitted(config_of(content))
    filled = np.where(np.isnan(x.take(COLUMNS)), model.medians, x.take(COLUMNS))
    assert model.score(x) == pytest.approx(learned.predict_proba(filled.astype(np.float32))[:, 1], abs=1e-5)
    assert model.medians[1] == np.nanmedian(x.values[:, 1])


def test_keras_inputs_are_fed_by_name_and_give_the_sigmoid() -> None:
    weights = {"d": 0.1, "a": 2.0, "c": 0.5, "b": -1.0}
    model, x = fitted(config_of(files.from_keras(weights, 0.3), columns=("b", "a", "d", "c")))
    filled = {name: np.nan_to_num(x.take((name,))[:, 0], nan=model.medians[0]) for name in weights}
    z = 0.3 + sum(weight * filled[name] for name, weight in weights.items())
    assert model.score(x) == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-6)


def test_inputs_of_other_names_are_fed_in_the_order_given() -> None:
    content = files.from_keras({"in_1": 2.0, "in_2": -1.0})
    model, x = fitted(config_of(content, columns=("c", "a")))
    z = 2 * x.take(("c",))[:, 0] - x.take(("a",))[:, 0]
    assert model.score(x) == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-6)


def test_declared_labels_are_put_into_the_outcomes_order() -> None:
    model, x = fitted(CASES["class logits"]())
    values = np.where(np.isnan(x.take(COLUMNS)), model.medians, x.take(COLUMNS))[:, :3]  # logits of top, low, mid
    powered = np.exp(values)[:, [1, 2, 0]]
    assert model.score(x) == pytest.approx(powered / powered.sum(axis=1, keepdims=True), abs=1e-6)


def test_class_the_file_does_not_know_gets_nothing_and_the_rest_adds_up_to_one() -> None:
    labels, classes = ("top", "low", "gone"), ("low", "mid", "top")
    model, x = fitted(
        config_of(files.dense(np.eye(4)[:, :3], last="Softmax"), task="class", labels=labels, classes=classes)
    )
    assert model.score(x)[:, 1].max() == 0
    assert model.score(x).sum(axis=1) == pytest.approx(1.0)


def test_certain_answers_are_held_off_zero_and_one() -> None:
    model, x = fitted(config_of(files.dense([[1e6], [0], [0], [0]], last="Sigmoid")))
    assert (model.score(x).min(), model.score(x).max()) == (HELD, 1 - HELD)


def test_missing_values_reach_a_file_that_takes_them() -> None:
    x_in = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])
    nodes = [
        helper.make_node("IsNaN", ["x"], ["missing"]),
        helper.make_node("Where", ["missing", "high", "low"], ["y"]),
    ]
    held = {"high": np.array([[0.9]], np.float32), "low": np.array([[0.2]], np.float32)}
    content = files.write(nodes, [x_in], [out], held)
    with_nan, x = fitted(config_of(content, columns=("b",), nan=True))
    without, _ = fitted(config_of(content, columns=("b",)))
    missing = np.isnan(x.take(("b",))[:, 0])
    assert with_nan.score(x) == pytest.approx(np.where(missing, 0.9, 0.2))
    assert without.score(x) == pytest.approx(np.full(N, 0.2))
    assert with_nan.explain(x)[0][missing][:, 0] == pytest.approx(np.log(9 * 4))


def test_row_without_an_answer_gets_that_of_the_customer_of_medians(caplog: pytest.LogCaptureFixture) -> None:
    content = files.write(
        [helper.make_node("Sqrt", ["x"], ["r"]), helper.make_node("Sigmoid", ["r"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])],
        {},
    )
    good = Matrix(("a",), np.array([[4.0], [4.0], [9.0]]))
    model = make_model(config_of(content, columns=("a",))).fit(good, np.zeros(3), seed=1)
    assert model.score(Matrix(("a",), np.array([[-1.0]])))[0] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)
    assert "no answer for 1 of 1 rows" in caplog.text


# ---- Shapley values --------------------------------------------------------------------------------------------------


def test_sampled_effects_of_a_sum_are_exact_and_of_a_product_are_shared() -> None:
    values, reference = np.array([[2.0, 3.0, 5.0]]), np.array([1.0, 1.0, 5.0])
    linear = sample_effects(lambda v, _: v @ np.array([1.0, 10.0, 100.0]), values, reference, seed=1)
    assert linear == pytest.approx(np.array([[1.0, 20.0, 0.0]]))
    product = sample_effects(lambda v, _: v[:, 0] * v[:, 1], values, reference, seed=1)
    assert product == pytest.approx(np.array([[2.0, 3.0, 0.0]]))  # by hand: ((2−1)·1 + (2−1)·3) / 2 and (2·1 + 2·2) / 2


@pytest.mark.parametrize("width", [1, 4, 30, 128, 300])
def test_work_of_an_explanation_is_bounded(width: int) -> None:
    asked = []

    def raw(values: Any, rows: Any) -> Any:
        asked.append(len(values))
        return values.sum(axis=1)

    sample_effects(raw, np.ones((2, width)), np.zeros(width), seed=1)
    assert sum(asked) / 2 <= max(EVALUATIONS, 2 * width) + 1
    assert count_orders(width) % 2 == 0


# ---- what is refused -------------------------------------------------------------------------------------------------


def several_outputs() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 4]) for name in ("y", "z")]
    return files.write([helper.make_node("Sigmoid", ["x"], [name]) for name in ("y", "z")], [x], outs, {})


def only_label() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, ["rows"])
    return files.write([helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)], [x], [y], {})


def text_input() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.STRING, ["rows", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 4])
    return files.write([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], [x], [y], {})


def batch_dependent() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["y"]),
    ]
    return files.write(nodes, [x], [y], {})


def answers_nan() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])
    return files.write([helper.make_node("Sqrt", ["x"], ["y"])], [x], [y], {})


ONE = ("a",)
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "not a model": (lambda: b"PK\x03\x04 a zip file", {}, "not an ONNX model.*\n.*torch.onnx.export"),
    "a pickle": (lambda: b"\x80\x04\x95\x10", {}, "not an ONNX model"),
    "empty": (lambda: b"", {}, "not an ONNX model"),
    "cut off": (lambda: files.dense(np.eye(4))[:-40], {}, "not an ONNX model|cannot open"),
    "external": (lambda: files.external_data(files.dense(np.eye(4))), {}, "weights in other files"),
    "external inside": (lambda: files.external_inside(files.dense(np.eye(4))), {}, "weights in other files"),
    "custom": (files.custom_operator, {}, r"operators of its own \(my.ops\)"),
    "future opset": (lambda: files.dense(np.eye(4), opset=99), {}, "onnxruntime .* cannot open"),
    "fixed rows": (lambda: files.from_torch(4, open_rows=False), {"output": "logit"}, r"fixed number of rows.*\n.*dyn"),
    "width": (lambda: files.from_torch(3), {"output": "logit"}, "but 4 features are named"),
    "inputs": (lambda: files.from_keras({"a": 1.0, "b": 1.0}), {}, r"takes 2 inputs.*but 4 features"),
    "texts": (text_input, {}, r"takes tensor\(string\)"),
    "two outputs": (several_outputs, {}, "several outputs"),
    "label only": (only_label, {}, "no probability or number"),
    "range": (lambda: files.dense([[3], [0], [0], [0]]), {}, "these are no probabilities.*\n.*--output logit"),
    "NaN": (answers_nan, {"columns": ONE, "output": "logit"}, r"answers NaN or infinity"),
    "too many answers": (lambda: files.dense(np.eye(4)[:, :3]), {"output": "logit"}, r"\(3,\) values a row"),
    "batch": (batch_dependent, {"columns": ONE}, "differs from the same row among others"),
    "sum": (
        lambda: files.dense(np.eye(4)[:, :3], last="Sigmoid"),
        {"task": "class", "labels": ("x", "y", "z"), "classes": ("x", "y", "z")},
        "add up to",
    ),
    "labels": (
        lambda: files.dense(np.eye(4)[:, :3], last="Softmax"),
        {"task": "class", "labels": ("x", "y", "z"), "classes": ("low", "top")},
        r"\(x, y, z\) share fewer than two.*\(low, top\)",
    ),
    "labels count": (
        lambda: files.dense(np.eye(4)[:, :3], last="Softmax"),
        {"task": "class", "classes": ("low", "top")},
        "and 0 labels are named",
    ),
    "task": (lambda: files.dense(np.eye(4)), {"output": "number"}, "does not fit an outcome of kind 'binary'"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_file_that_does_not_fit_is_refused_with_a_mend(case: str) -> None:
    content, more, says = REFUSED[case]
    x, _ = make_data()
    with pytest.raises(ModelError, match=says) as refused:
        OnnxModel(config_of(content(), **more)).check(x)
    assert all("→" in refused.value.say(lang) for lang in ("en", "zh"))  # type: ignore[arg-type]


def test_changed_file_is_never_run() -> None:
    content = files.dense(np.eye(4)[:, :1], last="Sigmoid")
    saved = save_model(fitted(config_of(content))[0])
    with pytest.raises(ModelError, match="not the one that was added"):
        load_model(saved, lambda _: content + b"\x00")
    with pytest.raises(ModelError, match="not the one that was added"):
        load_model(saved)


def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    open_file.cache_clear()
    with pytest.raises(ModelError, match=r"pip install 'huaxiang\[onnx\]'"):
        OnnxModel(config_of(files.from_torch(4), output="logit")).check(make_data()[0])


def test_reader_skips_the_numbers_of_a_forest_and_finds_the_metadata() -> None:
    found = read_onnx(sklearn_forest(zipmap=True)[0])
    assert json.loads(found.metadata["features"]) == list(COLUMNS)
    assert found.domains <= {"", "ai.onnx.ml"}
    assert not found.external


def test_location_hidden_in_long_numbers_is_found() -> None:
    """Protobuf keeps the low half of numbers written too long; a reader that kept more would miss EXTERNAL (1)."""
    tensor = b"\xf0\x80\x80\x80\x00" + b"\x81\x80\x80\x80\x10"  # field 14, written long; 2**32 + 1
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    assert read_onnx(b"\x3a" + bytes([len(graph)]) + graph).external
