"""The coordinates of a GridSample have 16 bits in w8mixed, with what they are computed from; in 8 they sample elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_compile.grids import grid_tensors
from edge_compile.parity import sqnr_db
from edge_compile.quantize import quantize
from edge_compile.worker import Limits

SIZE = 48


def sampler(path: Path) -> Path:
    """A picture sampled at a grid that is computed from (0, 1): Mul, Sub, GridSample."""
    nodes = [
        helper.make_node("Relu", ["image"], ["seen"], name="seen"),
        helper.make_node("Mul", ["grid", "two"], ["doubled"], name="doubled"),
        helper.make_node("Sub", ["doubled", "one"], ["centred"], name="centred"),
        helper.make_node("GridSample", ["seen", "centred"], ["y"], name="sampled", align_corners=0),
    ]
    ends = {"image": [1, 4, SIZE, SIZE], "grid": [1, SIZE, SIZE, 2]}
    graph = helper.make_graph(
        nodes,
        "sampler",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ends["image"])],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("one", 1.0), ("two", 2.0))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_what_carries_coordinates_is_found_up_to_where_it_comes_from(tmp_path: Path) -> None:
    found = grid_tensors(onnx.load(sampler(tmp_path / "m.onnx")).graph)
    assert list(found) == ["sampled"]
    assert set(found["sampled"]) == {"centred", "doubled", "grid", "one", "two"}  # and not the picture


@pytest.mark.slow
def test_a_grid_in_16_bits_samples_where_the_float_model_does_and_one_in_8_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = {
        "image": rng.random((4, 1, 4, SIZE, SIZE), dtype=np.float32),
        "grid": rng.random((4, 1, SIZE, SIZE, 2), dtype=np.float32),
    }
    made = quantize(
        sampler(tmp_path / "m.onnx"),
        samples,
        samples,
        architecture="v73",
        precisions=("w8a8", "w8mixed"),
        scratch=tmp_path / "scratch",
        log=tmp_path / "log",
        limits=Limits(time_s=240.0),
    )
    coarse_db, fine_db = (sqnr_db(made.onnx["y"], made.qdq[name]["y"]) for name in ("w8a8", "w8mixed"))
    assert coarse_db is not None
    assert fine_db is not None
    assert fine_db > coarse_db + 10.0
    zeros = {item.name: item.data_type for item in onnx.load(made.models["w8mixed"]).graph.initializer}
    assert zeros["centred_zero_point"] == TensorProto.UINT16
    assert made.notes == (
        "w8a8: GridSample 'sampled' samples at coordinates of 8 bits; w8mixed gives them 16, and takes longer",
        "w8mixed: the coordinates that GridSample 'sampled' samples at have 16 bits",
    )
