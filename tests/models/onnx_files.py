"""Small ONNX files as other tools write them: scikit-learn (skl2onnx), PyTorch, Keras (an input a feature), and broken ones."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS = "rows"  # the open dimension


def from_sklearn(model: Any, columns: Sequence[str], *, zipmap: bool = True) -> bytes:
    """A fitted scikit-learn model; its features stand in the file's metadata."""
    from skl2onnx import to_onnx

    options = {"zipmap": zipmap} if hasattr(model, "predict_proba") else None
    made = to_onnx(model, np.zeros((1, len(columns)), dtype=np.float32), options=options, target_opset=17)
    helper.set_model_props(made, {"features": json.dumps(list(columns))})
    return bytes(made.SerializeToString())


def from_torch(width: int, *, open_rows: bool = True, seed: int = 1) -> bytes:
    """A network with one hidden layer that answers a logit."""
    import torch

    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(width, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)).eval()
    out = io.BytesIO()
    axes = {"x": {0: ROWS}, "y": {0: ROWS}} if open_rows else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that this exporter is the older one
        torch.onnx.export(
            network,
            (torch.zeros(1, width),),
            out,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes=axes,
            dynamo=False,
        )
    return out.getvalue()


def from_keras(weights: dict[str, float], bias: float = 0.0, *, kind: int = TensorProto.FLOAT) -> bytes:
    """A functional Keras model as tf2onnx writes it: an input (rows, 1) a feature, joined, a dense layer with a sigmoid."""
    inputs = [helper.make_tensor_value_info(name, kind, [ROWS, 1]) for name in weights]
    nodes = [helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT) for name in weights]
    nodes += [
        helper.make_node("Concat", [f"{name}_f" for name in weights], ["joined"], axis=1),
        helper.make_node("Gemm", ["joined", "weights", "bias"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
    ]
    held = {"weights": np.array(list(weights.values()), np.float32)[:, None], "bias": np.array([bias], np.float32)}
    return write(nodes, inputs, [helper.make_tensor_value_info("p", TensorProto.FLOAT, [ROWS, 1])], held)


def dense(
    weight: Any, *, last: str = "", rows: Any = ROWS, metadata: dict[str, str] | None = None, opset: int = 17
) -> bytes:
    """`x @ weight`, then the operator `last` (Sigmoid, Softmax …)."""
    held = {"w": np.array(weight, np.float32)}
    width, answers = held["w"].shape
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z" if last else "y"])]
    nodes += [helper.make_node(last, ["z"], ["y"])] if last else []
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, answers])
    return write(nodes, [x], [y], held, metadata=metadata, opset=opset)


def write(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    held: dict[str, Any],
    *,
    metadata: dict[str, str] | None = None,
    domains: Sequence[str] = (),
    opset: int = 17,
) -> bytes:
    tensors = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), tensors)
    sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=sets, ir_version=8)
    helper.set_model_props(made, metadata or {})
    return bytes(made.SerializeToString())


def custom_operator() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [ROWS, 1])
    return write([helper.make_node("Run", ["x"], ["y"], domain="my.ops")], [x], [y], {}, domains=["my.ops"])


def external_data(content: bytes) -> bytes:
    """The same file with its first tensor in a file beside it."""
    made = onnx.load_from_string(content)
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("length", "8")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return bytes(made.SerializeToString())


def external_inside(content: bytes) -> bytes:
    """… in a tensor that hides in the branch of an If, as an attribute of a node."""
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "c")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=tensor)],
        "branch",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [2])],
    )
    made = onnx.load_from_string(content)
    made.graph.node.append(helper.make_node("If", ["flag"], ["unused"], then_branch=branch, else_branch=branch))
    return bytes(made.SerializeToString())
