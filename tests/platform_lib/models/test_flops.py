"""The formulas for floating-point operations against what torch counts while it computes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from driving_family import BEV, CAMERA, FRONT, NORMAL, SIDES, VLA, batch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from platform_lib.models.flops import TRAINING, utilisation
from platform_lib.models.registry import build_model
from platform_lib.models.rig import Rig

CONFIGS = {
    "camera": CAMERA,
    "ego_only": replace(CAMERA, kind="ego_only", channels=(), squeeze=0),
    "bev": BEV,
    "bev, three cameras": replace(BEV, rig=Rig((FRONT, *SIDES), 64, 192), blocks=1, points=2, decoder_layers=2),
    "vla": VLA,
}


def counted(run: object) -> int:
    # The mathematical form of attention: torch does not count its fused one on a CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()  # type: ignore[operator]
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", CONFIGS)
def test_the_formula_is_what_torch_counts(name):
    model = build_model(CONFIGS[name], NORMAL)
    given = batch(1, cameras=model.cameras)
    model.network.train(name == "vla")  # whose formula is that of its training pass
    with torch.no_grad():
        assert counted(lambda: model.forward(given)) == model.flops_per_sample


@pytest.mark.parametrize("name", ["camera", "bev", "vla"])
def test_a_training_step_is_three_forward_passes(name):
    model = build_model(CONFIGS[name], NORMAL)
    given = batch(2)
    model.network.train()
    found = counted(lambda: model.loss(model.forward(given), given).backward())
    # The first layer needs no gradient of the pictures: small networks, whose first layer is a large part, do less.
    assert 0.7 < found / (TRAINING * 2 * model.flops_per_sample) <= 1.02


def test_utilisation_is_work_over_what_could_be_done():
    assert utilisation(1_000, 10.0, 100_000.0) == pytest.approx(0.3)
