from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge_compile.onnx_model import read_model
from platform_lib.errors import ContractError, MissingPartError, PlatformError


def test_reads_names_shapes_and_opset(linear: Path) -> None:
    model = read_model(linear)
    assert [(item.name, item.shape) for item in model.inputs] == [("x", (1, 4))]
    assert [(item.name, item.shape) for item in model.outputs] == [("y", (1, 3))]
    assert model.opset == 20
    assert model.external == ()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match="no such ONNX file"):
        read_model(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x00" * 64, b"PK\x03\x04 a zip"])
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ContractError, match="not a valid ONNX model"):
        read_model(path)


def test_a_truncated_model_is_refused(linear: Path) -> None:
    linear.write_bytes(linear.read_bytes()[:-30])
    with pytest.raises(ContractError, match="not a valid ONNX model"):
        read_model(linear)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_model_is_read_or_refused_but_never_crashes(linear: Path, data: st.DataObject) -> None:
    content = bytearray(linear.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = linear.with_name("damaged.onnx")
    damaged.write_bytes(content)
    with suppress(PlatformError):
        read_model(damaged)


@pytest.mark.parametrize("shape", [("N", 4), (0, 4)])
def test_a_dynamic_shape_is_refused_by_input_and_axis(build, shape: tuple[int | str, ...]) -> None:
    with pytest.raises(ContractError, match="input 'x' has a dynamic shape \\(axis 0"):
        read_model(build(input_shape=shape))


def test_weights_that_are_not_finite_are_refused_by_name(build) -> None:
    weights = np.ones((4, 3), np.float32)
    weights[1, 2] = np.nan
    with pytest.raises(ContractError, match="1 of 12 weights of 'w' are NaN"):
        read_model(build(weights=weights))


def test_an_old_opset_is_refused(build) -> None:
    with pytest.raises(ContractError, match="opset 11 is too old"):
        read_model(build(opset=11))


def test_an_input_that_is_no_float_is_refused(build) -> None:
    with pytest.raises(ContractError, match="input 'x' is INT64"):
        read_model(build(input_type=TensorProto.INT64))


def test_weights_in_a_file_beside_are_read_and_missed(build, tmp_path: Path) -> None:
    folder = tmp_path / "external"
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save(onnx.load(build()), path, save_as_external_data=True, location="model.data", size_threshold=0)
    assert [item.name for item in read_model(path).external] == ["model.data"]
    (folder / "model.data").unlink()
    with pytest.raises(MissingPartError, match="weights is missing"):
        read_model(path)


def test_a_quantized_model_is_refused(tmp_path: Path) -> None:
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [0.1])
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s"], ["y"]),
        ],
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [scale],
    )
    path = tmp_path / "q.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    with pytest.raises(ContractError, match="quantized already"):
        read_model(path)
