"""What quantization tries beyond plain ranges: planted models that each technique mends, with AIMET itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_compile.arrays import load_arrays
from edge_compile.layer_run import float_to_qdq
from edge_compile.messages import TechniqueRequest, TriedTechnique
from edge_compile.parity import sqnr_db
from edge_compile.quantize import Quantized, quantize
from edge_compile.worker import Limits

pytestmark = pytest.mark.slow
COUNT, CHANNELS = 12, 16


def network(path: Path, spread: float, *, relu6: bool = False, taken: int = 4) -> Path:
    """Write Conv -> ReLU -> Conv whose inner channels lie up to `spread` apart: the second convolution takes that back."""
    rng = np.random.default_rng(0)
    factor = np.geomspace(1, spread, CHANNELS).astype(np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
    first = rng.normal(size=(CHANNELS, taken, 3, 3)).astype(np.float32) / factor
    second = rng.normal(size=(4, CHANNELS, 1, 1)).astype(np.float32) * factor.reshape(1, CHANNELS, 1, 1)
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["c"], name="first", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Clip", ["c", "zero", "six"], ["r"], name="relu6")
        if relu6
        else helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "second"], ["y"], name="second", kernel_shape=[1, 1]),
    ]
    arrays = {"first": first, "second": second} | ({"zero": np.float32(0), "six": np.float32(6)} if relu6 else {})
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, taken, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def silent(rng: np.random.Generator) -> np.ndarray:
    """Give weights of which the largest of each filter belongs to a channel that hardly says anything."""
    weights = rng.normal(size=(8, 32, 1, 1))
    weights[:, 0] = 12.0
    return weights


def leaning(rng: np.random.Generator) -> np.ndarray:
    """Give weights just above the middle between two of their steps of 4 bits, so that the nearest is above for each of them."""
    steps = rng.integers(0, 4, size=(8, 32, 1, 1)) + rng.uniform(0.5, 0.6, size=(8, 32, 1, 1))
    steps[:, 0] = 7.0  # the largest one sets the step, a tenth
    return 0.1 * steps


def pointwise(path: Path, weights_of: Callable[[np.random.Generator], np.ndarray] = silent) -> Path:
    """Write one convolution of 32 channels."""
    weights = weights_of(np.random.default_rng(0)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="pointwise", kernel_shape=[1, 1])],
        "planted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 4, 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def few_causes() -> np.ndarray:
    """Give pictures whose 32 channels have three causes, as pictures do, and a first channel that is nearly silent."""
    rng = np.random.default_rng(1)
    values = np.einsum("nkij,kc->ncij", rng.normal(size=(32, 3, 4, 4)), rng.normal(size=(3, 32)))
    values[:, 0] *= 0.01
    return values[:, np.newaxis].astype(np.float32)


def one_sign() -> np.ndarray:
    """Give pictures whose 32 channels are positive and rise together, as behind a ReLU: the weights' errors add up."""
    rng = np.random.default_rng(1)
    common, own = rng.uniform(0.5, 1.5, size=(32, 1, 1, 4, 4)), rng.uniform(0.0, 0.5, size=(32, 1, 32, 4, 4))
    return (common + own).astype(np.float32)


def made(
    model: Path,
    folder: Path,
    precision: str,
    tolerance_db: float,
    *named: str,
    budget_s: float = 600.0,
    values: np.ndarray | None = None,
    frozen: np.ndarray | None = None,
    adaround_iterations: int = 3000,
    layers_db: float | None = None,
) -> Quantized:
    if values is None:
        values = np.random.default_rng(1).normal(size=(COUNT, 1, 4, 8, 8)).astype(np.float32)
    samples = {"x": values}
    return quantize(
        model,
        samples,
        samples if frozen is None else {"x": frozen},
        architecture="v73",
        precisions=(precision,),
        scratch=folder / "quantize",
        log=folder / "tools.log",
        limits=Limits(time_s=1800.0),
        techniques=TechniqueRequest(
            named=named,
            tolerances_db={precision: tolerance_db},
            samples=8,
            budget_s=budget_s,
            adaround_iterations=adaround_iterations,
        ),
        layers={} if layers_db is None else {precision: layers_db},
    )


def rows(found: Quantized) -> dict[str, TriedTechnique]:
    return {item.techniques: item for item in found.techniques}


def test_equalization_mends_channels_a_thousand_apart_and_is_tried_by_itself(tmp_path: Path) -> None:
    found = made(network(tmp_path / "m.onnx", 1000.0), tmp_path, "w8a8", 30.0, layers_db=20.0)
    tried = rows(found)
    assert set(tried) == {"plain", "cle"}  # nothing dearer was needed
    assert not tried["plain"].enough
    assert tried["plain"].sqnr_db < 20.0
    assert tried["cle"].taken
    assert tried["cle"].sqnr_db > tried["plain"].sqnr_db + 10.0
    assert tried["cle"].said == "1 pairs of convolutions equalized"
    # What was exported is what was measured.
    assert sqnr_db(found.onnx["y"], found.qdq["w8a8"]["y"]) > 30.0
    # Layer by layer it is held against the float model as it was equalized, channel by channel of another size.
    (report,) = found.layers
    assert [row.layer for row in report.rows] == ["Relu 'relu'", "Conv 'second'"]
    assert report.first_break is None, report
    assert not any("calibrated range" in note for note in found.notes)
    # Planted: against the model as it was brought, its inner layer seems broken, and its output is not.
    brought, qdq = onnx.load(tmp_path / "m.onnx"), onnx.load(found.models["w8a8"])
    frozen = load_arrays(found.frozen)
    wrong = float_to_qdq(brought, qdq, "w8a8", frozen, samples=2, threshold_db=20.0)
    assert wrong.first_break is not None
    assert wrong.first_break.layer == "Relu 'relu'"
    assert not wrong.broken(wrong.rows[-1])


def gain_db(found: dict[str, TriedTechnique], name: str) -> float:
    assert found[name].said == f"{name} of 1 weights"
    assert found[name].taken
    return found[name].sqnr_db - found["plain"].sqnr_db


def test_a_weight_that_says_little_does_not_stretch_the_scale(tmp_path: Path) -> None:
    found = rows(made(pointwise(tmp_path / "m.onnx"), tmp_path, "w4a16", 90.0, "seqmse", values=few_causes()))
    assert gain_db(found, "seqmse") > 3.0


@pytest.mark.soak
def test_roundings_that_would_add_up_are_taught_not_to(tmp_path: Path) -> None:
    model = pointwise(tmp_path / "m.onnx", leaning)
    found = rows(made(model, tmp_path, "w4a16", 90.0, "adaround", values=one_sign(), adaround_iterations=500))
    assert found["plain"].sqnr_db < 20.0
    assert gain_db(found, "adaround") > 10.0, found


def test_everything_is_tried_where_nothing_is_enough_and_the_closest_taken(tmp_path: Path) -> None:
    """But for AdaRound, which would take longer than what is left: it says so."""
    found = rows(made(network(tmp_path / "m.onnx", 1.0), tmp_path, "w8a8", 90.0, budget_s=40.0))
    assert set(found) == {"plain", "cle", "seqmse", "cle+seqmse", "adaround"}
    said = found["adaround"].said
    assert said == "left out: the budget ended" or said.startswith("left out: it would take about 6")
    ran = {name: row.sqnr_db for name, row in found.items() if row.sqnr_db is not None}
    assert [name for name, row in found.items() if row.taken] == [max(ran, key=ran.get)]


def test_nothing_is_tried_where_plain_is_enough_and_no_more_than_the_budget_allows(tmp_path: Path) -> None:
    model = network(tmp_path / "m.onnx", 1.0)
    (tmp_path / "a").mkdir()
    values = np.random.default_rng(1).normal(size=(COUNT, 1, 4, 8, 8)).astype(np.float32)
    found = made(model, tmp_path / "a", "w8a16", 10.0, values=values, frozen=3 * values, layers_db=10.0)
    assert set(rows(found)) == {"plain"}
    (said,) = [note for note in found.notes if "calibrated range" in note]  # planted: three times what was calibrated
    assert said.startswith("inside, ")
    (tmp_path / "b").mkdir()
    found = rows(made(model, tmp_path / "b", "w8a8", 90.0, budget_s=0.0))
    assert {name: row.said for name, row in found.items() if name != "plain"} == dict.fromkeys(
        ("cle", "seqmse", "cle+seqmse", "adaround"), "left out: the budget ended"
    )
    assert found["plain"].taken


def test_equalization_does_not_turn_a_relu6_into_another_function(tmp_path: Path) -> None:
    """Planted: AIMET's own `equalize_model` makes a ReLU of it, and the model answers otherwise."""
    found = made(network(tmp_path / "m.onnx", 1.0, relu6=True), tmp_path, "w8a16", 20.0, "cle")
    row = rows(found)["cle"]
    assert not row.taken
    assert row.said == "left out: no two neighbouring convolutions to equalize"
    assert sqnr_db(found.onnx["y"], load_arrays(tmp_path / "quantize" / "w8a16.simulation.npz")["y"]) > 20.0
