"""Small models made on the spot, and the samples that go with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, NDArray[np.float32]]
Build = Callable[..., Path]


def linear_model(
    path: Path,
    *,
    opset: int = 20,
    input_shape: tuple[int | str, ...] = (1, 4),
    input_type: int = TensorProto.FLOAT,
    weights: NDArray[np.float32] | None = None,
    operator: str = "Relu",
) -> Path:
    """Write y = operator(x @ w), the smallest model that compiles."""
    values = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32) if weights is None else weights
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node(operator, ["h"], ["y"], name="last")],
        "linear",
        [helper.make_tensor_value_info("x", input_type, list(input_shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(values, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(model, path)
    return path


def linear_samples(count: int = 8) -> Arrays:
    """Give samples for `linear_model`."""
    return {"x": np.random.default_rng(1).normal(size=(count, 4)).astype(np.float32)}


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    return linear_model(tmp_path / "linear.onnx")


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def make(**changes: Any) -> Path:
        return linear_model(tmp_path / "built.onnx", **changes)

    return make


@pytest.fixture
def samples() -> Arrays:
    return linear_samples()
