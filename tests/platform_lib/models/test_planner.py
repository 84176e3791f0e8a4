"""The networks and their ONNX export."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch

from platform_lib.errors import ContractError, MissingPartError
from platform_lib.models.interface import PLAN_TIMES_S, ConstantVelocity, PlannerInput, network_inputs
from platform_lib.models.onnx_export import OPSET, export_onnx
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.models.planner import Normalisation, PlannerConfig, PlannerNet, TorchPlanner

NORMAL = Normalisation((8.0, 0.0, 0.1), (4.0, 0.1, 1.2), ((1.0, 0.5),) * 6)
CAMERA = PlannerConfig("camera", channels=(8, 12, 16, 16), squeeze=8, hidden=32, ego_hidden=16, dropout=0.1)
EGO = dataclasses.replace(CAMERA, kind="ego_only", channels=(), squeeze=0)
# What the Hexagon tensor processor was seen to run in integers; anything else needs a trial first.
HTP_OPERATORS = {"Conv", "Relu", "Gemm", "Concat", "Flatten", "Reshape", "Sub", "Mul", "Add", "Slice", "Constant"}


def network(config: PlannerConfig, seed: int = 0) -> PlannerNet:
    torch.manual_seed(seed)
    net = PlannerNet(config, NORMAL)
    for module in net.modules():  # as after training: batch statistics that are not the identity
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    return net.eval()


def inputs(count: int, seed: int = 1) -> PlannerInput:
    generator = np.random.default_rng(seed)
    return PlannerInput(
        generator.integers(0, 256, (count, 3, 64, 192), dtype=np.uint8),
        generator.normal([8, 0, 0], [3, 0.1, 1], (count, 10, 3)).astype(np.float32),
        generator.integers(0, 3, count),
    )


@pytest.mark.parametrize("config", [CAMERA, EGO], ids=["camera", "ego_only"])
def test_onnx_equals_torch_and_has_the_interface(tmp_path, config):
    net = network(config)
    export_onnx(net, tmp_path / "model.onnx")
    given = inputs(5)
    difference = OnnxPlanner("o", tmp_path / "model.onnx").plan(given) - TorchPlanner("t", net).plan(given)
    assert np.abs(difference).max() < 1e-4
    model = onnx.load(str(tmp_path / "model.onnx"))
    assert model.opset_import[0].version == OPSET
    assert [item.name for item in model.graph.input] == ["image", "ego_history", "command"]
    assert {node.op_type for node in model.graph.node} <= HTP_OPERATORS


def test_the_export_repeats_byte_for_byte_and_follows_the_weights(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        export_onnx(network(CAMERA, seed), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_only_the_camera_planner_looks():
    given, other = inputs(3), inputs(3, seed=9)
    swapped = PlannerInput(other.image, given.ego_history, given.command)
    blind, sighted = (TorchPlanner("p", network(config)) for config in (EGO, CAMERA))
    assert np.array_equal(blind.plan(given), blind.plan(swapped))
    assert not np.allclose(sighted.plan(given), sighted.plan(swapped))


def test_an_untrained_head_is_the_constant_velocity_path():
    net = network(CAMERA)
    for head in (net.head, net.vision):
        torch.nn.init.zeros_(head[-1].weight)
        torch.nn.init.zeros_(head[-1].bias)
    given = inputs(4)
    expected = ConstantVelocity().plan(given)
    assert np.allclose(TorchPlanner("p", net).plan(given), expected, atol=1e-5)
    assert np.allclose(expected[:, :, 0], given.ego_history[:, -1, :1] * PLAN_TIMES_S)


def test_batches_do_not_change_plans():
    given, net = inputs(7), network(CAMERA)
    assert np.allclose(
        TorchPlanner("p", net, batch=2).plan(given), TorchPlanner("p", net, batch=7).plan(given), atol=1e-5
    )
    assert TorchPlanner("p", net).plan(inputs(0)).shape == (0, 6, 2)


def test_network_inputs_are_in_the_graphs_units():
    arrays = network_inputs(inputs(3))
    assert float(arrays["image"].max()) <= 1.0
    assert arrays["command"].sum(axis=1).tolist() == [1.0] * 3


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.zeros((2, 64, 192, 3), np.uint8)},
        {"image": np.zeros((2, 3, 64, 192), np.float32)},
        {"ego_history": np.zeros((2, 3, 10), np.float32)},
        {"command": np.array([0, 3])},
        {"command": np.array([0, 1, 2])},
    ],
)
def test_inputs_of_another_shape_or_meaning_are_refused(change):
    given = inputs(2)
    fields = {name: getattr(given, name) for name in ("image", "ego_history", "command")}
    with pytest.raises(ContractError):
        PlannerInput(**{**fields, **change})


def test_a_graph_of_another_interface_is_refused(tmp_path):
    export_onnx(network(CAMERA), tmp_path / "model.onnx")
    model = onnx.load(str(tmp_path / "model.onnx"))
    model.graph.output[0].name = "waypoints"
    model.graph.node[-1].output[0] = "waypoints"
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ContractError, match="not a planner"):
        OnnxPlanner("o", tmp_path / "other.onnx")


def test_no_graph_and_no_model_are_told_apart(tmp_path):
    with pytest.raises(MissingPartError, match="no such ONNX"):
        OnnxPlanner("o", tmp_path / "absent.onnx")
    (tmp_path / "noise.onnx").write_bytes(b"not a model")
    with pytest.raises(ContractError, match="cannot load"):
        OnnxPlanner("o", tmp_path / "noise.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ContractError):
        OnnxPlanner("o", tmp_path / "empty.onnx")
