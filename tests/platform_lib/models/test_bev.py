"""The grid transformer: it looks where geometry says, learns, exports, and counts its own work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from driving_family import BEV, FRONT, GRID, NORMAL, SIDES, batch
from torch import Tensor

from platform_lib.errors import ConfigError
from platform_lib.models.augmentation import Augmentation, augmented
from platform_lib.models.bev import BevConfig, BevNet, ImageAttention
from platform_lib.models.bev_model import BevModel, occupied
from platform_lib.models.onnx_export import export_onnx
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.models.rig import Rig

THREE = replace(BEV, rig=Rig((FRONT, *SIDES), 64, 192), points=2, blocks=1)
# What the Hexagon tensor processor's compiler takes (static shapes); Erf, deformable convolutions and 6-D transposes it refuses.
HTP_OPERATORS = {
    *("Conv", "Relu", "Gemm", "MatMul", "LayerNormalization", "Softmax", "GridSample", "ReduceSum"),
    *("Add", "Sub", "Mul", "Concat", "Reshape", "Flatten", "Transpose", "Slice", "Unsqueeze", "Constant", "Identity"),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model(config: BevConfig, seed: int = 0) -> BevModel:
    torch.manual_seed(seed)
    return BevModel(config, NORMAL)


def attention_on(config: BevConfig) -> ImageAttention:
    """Return an attention that hands on the first channel of what it finds, unmixed."""
    made = ImageAttention(config)
    with torch.no_grad():
        for layer in (made.found, made.out, made.query):
            layer.weight.zero_()
            layer.bias.zero_()
        made.found.weight[config.width :, 0] = 1.0
        made.out.weight[0, 0] = 1.0
        made.offsets.zero_()
    return made


@pytest.mark.parametrize("camera", [0, 1, 2])
def test_a_cell_finds_what_its_place_on_the_ground_looks_like(camera):
    config = replace(THREE, points=1)
    rows, columns = config.feature_size
    attention = attention_on(config)
    places, seen = attention.places[camera], attention.unseen[:, 0].reshape(len(GRID), 3, 2)[:, camera]
    # Of one cell that only this camera sees, its point on the ground lights up in the camera's features.
    alone = attention.unseen[:, 0].reshape(len(GRID), 3, 2)
    others = [other for other in range(3) if other != camera]
    chosen = int(torch.nonzero((seen[:, 0] == 0) & (alone[:, others] < 0).all(dim=(1, 2)))[0])
    features = torch.zeros(3, config.channels[-1], rows, columns)
    x, y = places[chosen, 0].tolist()
    column, row = int((x + 1) / 2 * columns), int((y + 1) / 2 * rows)
    features[camera, 0, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 1.0
    found = attention(torch.zeros(1, len(GRID), config.width), features)[0, :, 0]
    assert found[chosen] > 0.45  # of its two heights one or both
    features = features.roll(1, dims=0)
    assert attention(torch.zeros(1, len(GRID), config.width), features)[0, chosen, 0] == 0


def test_a_cell_that_no_camera_sees_finds_nothing():
    config = replace(BEV, grid=replace(GRID, x_m=(-40.0, 0.0)))
    found = attention_on(config)(torch.randn(1, len(GRID), BEV.width), torch.rand(1, 12, 8, 24))
    assert float(found.detach().abs().max()) == 0.0


@pytest.mark.parametrize("config", [BEV, THREE], ids=["one camera", "three"])
def test_it_exports_static_within_what_the_target_takes_and_repeats_torch(tmp_path, config):
    made = model(config)
    net, given = made.network.eval(), batch(1, cameras=made.cameras)
    export_onnx(net, tmp_path / "m.onnx", cameras=made.cameras)
    graph = onnx.load(str(tmp_path / "m.onnx")).graph
    assert {node.op_type for node in graph.node} <= HTP_OPERATORS
    session = ort.InferenceSession(str(tmp_path / "m.onnx"))
    feed = {"image": given.image, "ego_history": given.ego_history, "command": given.command}
    found = session.run(None, {name: value.numpy() for name, value in feed.items()})[0]
    with torch.inference_mode():
        assert np.abs(found - net(*feed.values()).numpy()).max() < 1e-4
    if made.cameras == 1:
        OnnxPlanner("bev", tmp_path / "m.onnx")  # the planners' own interface


@pytest.mark.parametrize("config", [BEV, THREE], ids=["one camera", "three"])
def test_samples_of_a_batch_do_not_see_each_other(config):
    made = model(config)
    given = batch(3, cameras=made.cameras)
    with torch.inference_mode():
        net = made.network.eval()
        whole = net(given.image, given.ego_history, given.command)
        for row in range(3):
            alone = net(given.image[row : row + 1], given.ego_history[row : row + 1], given.command[row : row + 1])
            assert torch.allclose(whole[row], alone[0], atol=1e-5)


def test_it_learns_path_and_occupancy():
    made, given = model(BEV), batch(8)
    optimiser = torch.optim.AdamW(made.network.parameters(), lr=3e-3)
    losses = []
    made.network.train()
    for _ in range(40):
        plan = made.forward(given)
        loss = made.loss(plan, given)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.65 * losses[0]
    taken = occupied(given.boxes, GRID, made._centres) > 0
    logits = made.forward(given).occupancy
    assert logits[taken].mean() > logits[~taken].mean() + 1


def test_without_recorded_agents_occupancy_teaches_nothing():
    made, given = model(BEV), batch(4)
    plan = made.forward(given)
    nobody = replace(given, boxes_known=torch.zeros(4, dtype=torch.bool))
    assert torch.equal(made.loss(plan, nobody), made.loss(replace(plan, occupancy=None), given))
    assert made.loss(plan, given) > made.loss(plan, nobody)


def occupied_cells(boxes: Tensor) -> set[tuple[int, int, int]]:
    centres = torch.as_tensor(GRID.centres_m(), dtype=torch.float32)
    return {tuple(place[1:].tolist()) for place in torch.nonzero(occupied(boxes[None], GRID, centres))}


def test_boxes_take_the_cells_they_lie_in_at_their_own_time():
    # Cells are 8 m by 6 m, their middles at 4, 12 ... and -9, -3, 3, 9.
    assert occupied_cells(torch.tensor([[2.0, 12.0, 3.0, 0.0, 4.5, 1.9]])) == {(2, 1, 2)}
    assert occupied_cells(torch.tensor([[5.0, 12.0, 0.0, 0.0, 0.5, 0.5]])) == {(5, 1, 1), (5, 1, 2)}
    across = torch.tensor([[0.0, 12.0, 0.0, np.pi / 2, 12.0, 1.0]], dtype=torch.float32)
    assert occupied_cells(across) == {(0, 1, column) for column in range(4)}
    assert occupied_cells(torch.tensor([[-1.0, 12.0, 3.0, 0.0, 4.5, 1.9]])) == set()


def test_a_mirror_moves_boxes_and_exchanges_cameras():
    given = batch(4, cameras=3)
    rig = THREE.rig
    assert rig.mirrored() == (0, 2, 1)
    always = Augmentation(0.0, 0.0, 1.0, 0.0, 150.0, mirrored_cameras=rig.mirrored())
    once = augmented(given, always, np.random.default_rng(0))
    assert torch.allclose(once.boxes[:, :6, 2], -given.boxes[:, :6, 2])
    assert torch.allclose(once.image[:, 3:6], given.image[:, 6:9].flip(3))
    twice = augmented(once, always, np.random.default_rng(0))
    assert torch.allclose(twice.image, given.image)
    assert torch.allclose(twice.boxes, given.boxes)


def test_a_turned_car_has_its_boxes_where_its_path_is():
    turning = Augmentation(0.0, 0.0, 0.0, 0.3, 150.0)
    given = batch(4)
    given = replace(given, future_m=given.boxes[:, :6, 1:3].clone())
    found = augmented(given, turning, np.random.default_rng(0))
    assert torch.allclose(found.future_m, found.boxes[:, :6, 1:3], atol=1e-5)
    assert not torch.allclose(found.boxes[:, :6, 1:3], given.boxes[:, :6, 1:3], atol=0.1)


def test_a_network_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="width 16 in 3 heads"):
        replace(BEV, heads=3)


def test_training_gives_occupancy_and_driving_the_plan_alone():
    net, given = BevNet(BEV, NORMAL), batch(2)
    assert net.eval()(given.image, given.ego_history, given.command).shape == (2, 6, 2)
    assert net.look(given.image, given.ego_history, given.command)[1].shape == (2, 6, 5, 4)
