"""One interface for the family, and for a team's own model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from driving_family import BEV, CAMERA, NORMAL, batch
from torch import Tensor, nn

from platform_lib.errors import ConfigError, ContractError
from platform_lib.models import registry
from platform_lib.models.augmentation import Augmentation, Batch
from platform_lib.models.learning import training_batch
from platform_lib.models.model import Model, Normalisation, Plan
from platform_lib.models.registry import build_model, columns_of, register, restored, saved

NOTHING = Augmentation(brightness=0.0, noise=0.0, mirror=0.0, turn_std_rad=0.0, focal_px=150.0)


@dataclass(frozen=True, slots=True)
class OwnConfig:
    """A team's own: one factor on the last speed."""

    start: float


class OwnNet(nn.Module):
    def __init__(self, config: OwnConfig) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(config.start))

    def forward(self, image: Tensor, ego_history: Tensor, command: Tensor) -> Tensor:
        reach = ego_history[:, -1, :1] * torch.arange(1, 7) * 0.5 * self.factor
        return torch.stack([reach, torch.zeros_like(reach)], dim=2)


class OwnModel(Model):
    looks = False

    def __init__(self, config: OwnConfig, normalisation: Normalisation) -> None:
        self.network = OwnNet(config)

    def forward(self, given: Batch, network: nn.Module | None = None) -> Plan:
        return Plan((network or self.network)(given.image, given.ego_history, given.command))

    def loss(self, plan: Plan, given: Batch) -> Tensor:
        return (plan.waypoints_m - given.future_m).square().mean()

    @property
    def flops_per_sample(self) -> int:
        return 0


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    register("own", OwnConfig, OwnModel)


@pytest.mark.parametrize("config", [CAMERA, replace(CAMERA, kind="ego_only", channels=(), squeeze=0), BEV])
def test_every_model_plans_learns_and_comes_back_from_its_weights(config):
    torch.manual_seed(0)
    model, given = build_model(config, NORMAL), batch(3)
    model.network.train()
    loss = model.loss(model.forward(given), given)
    loss.backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in model.network.parameters())
    again = restored(saved(config, NORMAL, model.network))
    plans = [one.network.eval()(given.image, given.ego_history, given.command) for one in (model, again)]
    assert torch.equal(*plans)
    assert plans[0].shape == (3, 6, 2)


def test_a_wrapped_network_is_called_in_place_of_the_models_own():
    model, given = build_model(CAMERA, NORMAL), batch(2)
    model.network.eval()
    called = []

    class Wrapper(nn.Module):
        def forward(self, *inputs: Tensor) -> Tensor:
            called.append(len(inputs))
            return model.network(*inputs)

    assert torch.equal(model.forward(given, Wrapper()).waypoints_m, model.forward(given).waypoints_m)
    assert called == [3]


def test_a_team_adds_a_model_by_a_class_and_a_line(own):
    model, given = build_model(OwnConfig(0.5), NORMAL), batch(4)
    optimiser = torch.optim.SGD(model.network.parameters(), lr=1e-3)
    for _ in range(50):
        optimiser.zero_grad()
        model.loss(model.forward(given), given).backward()
        optimiser.step()
    assert float(model.network.factor.detach()) == pytest.approx(1.0, abs=0.05)
    assert columns_of(OwnConfig(0.5)) == ()
    assert columns_of(BEV) == ("objects",)
    assert isinstance(restored(saved(OwnConfig(0.5), NORMAL, model.network)), OwnModel)


def test_names_and_configurations_belong_to_one_model(own):
    with pytest.raises(ConfigError, match="registered already"):
        register("own", type(CAMERA), OwnModel)
    with pytest.raises(ConfigError, match="registered already"):
        register("other", OwnConfig, OwnModel)
    with pytest.raises(ConfigError, match="no model is built from a int"):
        build_model(3, NORMAL)


def test_weights_without_a_name_are_the_camera_planners():
    model = build_model(CAMERA, NORMAL)
    old = {name: value for name, value in saved(CAMERA, NORMAL, model.network).items() if name != "model"}
    assert type(restored(old)) is type(model)
    with pytest.raises(ContractError, match="not the weights of a 'planner'"):
        restored({**old, "planner": {**old["planner"], "kind": "sonar"}})
    with pytest.raises(ContractError, match="not registered here"):
        restored({**old, "model": "unheard of"})


def test_a_batch_is_made_of_what_the_model_asked_for():
    given = batch(2)
    samples = {
        "image": (given.image * 255).to(torch.uint8),
        "ego_history": given.ego_history,
        "command": torch.tensor([0, 2]),
        "future": given.future_m,
        "boxes": given.boxes,
        "boxes_known": given.boxes_known,
    }
    made = training_batch(samples, build_model(BEV, NORMAL), NOTHING, np.random.default_rng(0))
    assert made.boxes is not None
    assert made.tags is None
    assert made.command.tolist() == [[1, 0, 0], [0, 0, 1]]
    wide = {**samples, "image": torch.zeros(2, 6, 64, 192, dtype=torch.uint8)}
    with pytest.raises(ConfigError, match="pictures of 2 cameras for a model of 1"):
        training_batch(wide, build_model(BEV, NORMAL), NOTHING, np.random.default_rng(0))
