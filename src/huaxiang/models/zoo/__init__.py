"""The zoo: each model one frozen config and one class with `fit`, `score`, `explain`, `state`, `from_state`.

    prepare.py   Matrix (named columns) and what each model does to it before fitting
    baseline.py  prior, majority, mean      linear.py   logistic and linear regression
    tree.py      decision tree (Gini)       boosting.py LightGBM
    mlp.py       dense network (where PyTorch is installed)
    onnx_file.py a file the shop brings (onnx_run.py runs it, onnx_bytes.py reads it first); shapley.py explains it
    sequence.py  CNN, GRU and Transformer over each customer's events (history.py), joined with the columns; also needs PyTorch
    vector.py    a head on the behaviour model's vector

A model is saved as JSON (LightGBM's own text format inside it), never as pickle, and comes back bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from huaxiang.errors import ModelError
from huaxiang.models.metrics import Task
from huaxiang.models.zoo.base import Config, Model, config_to_json, file_bytes
from huaxiang.models.zoo.baseline import Baseline, BaselineConfig
from huaxiang.models.zoo.boosting import Boosting, BoostingConfig
from huaxiang.models.zoo.linear import Linear, LinearConfig
from huaxiang.models.zoo.mlp import Mlp, MlpConfig
from huaxiang.models.zoo.onnx_file import OnnxConfig, OnnxModel
from huaxiang.models.zoo.prepare import Matrix
from huaxiang.models.zoo.sequence import SequenceConfig, SequenceModel
from huaxiang.models.zoo.tree import Tree, TreeConfig
from huaxiang.models.zoo.vector import VectorConfig, VectorModel

__all__ = [
    "BASELINE",
    "Config",
    "Files",
    "Matrix",
    "Model",
    "OnnxConfig",
    "config_to_json",
    "file_bytes",
    "grids",
    "load_model",
    "make_model",
    "save_model",
    "sequence_grids",
    "vector_boosting",
    "vector_grids",
]

Files = Callable[[str], bytes]  # the file of a SHA-256

BASELINE: dict[Task, str] = {"binary": "prior", "number": "mean", "class": "majority"}
_CLASSES: dict[str, tuple[Any, Any]] = {
    "baseline": (BaselineConfig, Baseline),
    "linear": (LinearConfig, Linear),
    "tree": (TreeConfig, Tree),
    "lightgbm": (BoostingConfig, Boosting),
    "mlp": (MlpConfig, Mlp),
    "onnx": (OnnxConfig, OnnxModel),
    "sequence": (SequenceConfig, SequenceModel),
    "vector": (VectorConfig, VectorModel),
}


def grids(task: Task) -> dict[str, tuple[Config, ...]]:
    """The models of a task by name, each with the settings that validation data choose between; the baseline first."""
    found: dict[str, tuple[Config, ...]] = {
        BASELINE[task]: (BaselineConfig(task),),
        "linear" if task == "number" else "logistic": tuple(
            LinearConfig(task, l2=l2, log=log) for l2 in (0.001, 0.03) for log in (False, True)
        ),
        "tree": tuple(TreeConfig(task, depth=depth, leaf_rows=rows) for depth, rows in ((3, 20), (5, 20), (6, 50))),
        "lightgbm": tuple(BoostingConfig(task, leaves=leaves, leaf_rows=rows) for leaves, rows in ((7, 20), (15, 40))),
    }
    if find_spec("torch") is not None:
        found["mlp"] = tuple(MlpConfig(task, hidden=hidden) for hidden in ((64,), (2,)))
    return found


def sequence_grids(task: Task) -> dict[str, tuple[Config, ...]]:
    """The models that also read events (Matrix.history), as `grids` has the others; none without PyTorch."""
    if find_spec("torch") is None:
        return {}
    return {
        "seq_cnn": (SequenceConfig(task, encoder="cnn"),),
        "seq_gru": (SequenceConfig(task, encoder="gru"),),
        "seq_transformer": (SequenceConfig(task, encoder="transformer"),),
    }


def vector_grids(task: Task, version: str) -> dict[str, tuple[Config, ...]]:
    """The heads on the behaviour model's vector (Histories.vectors); version: of that model."""
    return {
        "vector": tuple(VectorConfig(task, features=False, version=version, l2=l2) for l2 in (0.001, 0.03)),
        "vector_features": tuple(
            VectorConfig(task, version=version, l2=0.03 * weight**2, weight=weight, log=log)
            for weight in (0.2, 1.0)
            for log in (False, True)
        ),
    }


def vector_boosting(task: Task, version: str) -> dict[str, tuple[Config, ...]]:
    """Gradient boosting over the features and the vector: dear, for it has several hundred columns."""
    return {"vector_lightgbm": (VectorConfig(task, head="lightgbm", version=version),)}


def make_model(config: Config) -> Model:
    """An unfitted model of `config`."""
    for wanted, made in _CLASSES.values():
        if isinstance(config, wanted):
            return made(config)
    raise TypeError(f"no model takes {type(config).__name__}")


def save_model(model: Model) -> dict[str, Any]:
    """The model as a JSON object."""
    kind = next(kind for kind, (_, made) in _CLASSES.items() if isinstance(model, made))
    return {"kind": kind, "config": config_to_json(model.config), "state": model.state()}


def load_model(saved: dict[str, Any], files: Files | None = None) -> Model:
    """The model that `save_model` saved; raises ModelError for a kind this version does not know.

    files: where a brought model's file is found by its hash
    """
    if saved.get("kind") not in _CLASSES:
        raise ModelError("models.unknown_kind", kind=saved.get("kind"), known=", ".join(_CLASSES))
    config, made = _CLASSES[saved["kind"]]
    settings = saved["config"]
    if "sha256" in settings:
        settings = settings | {"content": files(settings["sha256"]) if files is not None else b""}
    return made.from_state(config(**settings), saved["state"])
