"""Small members of the driving family, and batches for them."""

from __future__ import annotations

import math

import torch

from platform_lib.models.augmentation import Batch
from platform_lib.models.bev import BevConfig
from platform_lib.models.hugging_face import RandomBackbone
from platform_lib.models.model import Normalisation
from platform_lib.models.planner import PlannerConfig
from platform_lib.models.rig import BevGrid, Rig, RigCamera
from platform_lib.models.trajectory_tokens import TrajectoryTokens
from platform_lib.models.vla import VlaConfig

NORMAL = Normalisation((8.0, 0.0, 0.1), (4.0, 0.1, 1.2), tuple((0.3 * k, 0.1 * k) for k in range(1, 7)))
FRONT = RigCamera("front", 150.0, 96.0, 28.0, 1.7, 0.0, 1.45, 0.0, 0.035)
SIDES = tuple(
    RigCamera(name, 150.0, 96.0, 28.0, 1.5, side * 0.5, 1.45, side * math.radians(60), 0.035)
    for name, side in (("left", 1), ("right", -1))
)
GRID = BevGrid((0.0, 40.0), (-12.0, 12.0), (5, 4), (0.0, 1.0))
CAMERA = PlannerConfig("camera", channels=(4, 6, 8, 8), squeeze=4, hidden=16, ego_hidden=8, dropout=0.1)
BEV = BevConfig(
    rig=Rig((FRONT,), 64, 192),
    grid=GRID,
    channels=(4, 8, 12),
    blocks=0,
    width=16,
    heads=2,
    layers=2,
    decoder_layers=1,
    feedforward=24,
    points=1,
    ego_hidden=8,
    hidden=12,
    dropout=0.1,
)
VLA = VlaConfig(
    backbone=RandomBackbone(layers=1, width=16, heads=2, feedforward=24),
    channels=(4, 4, 6, 6, 8),
    trajectory=TrajectoryTokens(bins=32, reach=4.0),
)


def batch(count: int, *, cameras: int = 1, seed: int = 0) -> Batch:
    """Return N samples of noise, with one car 10 m ahead in each at every time."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.zeros(count, 8, 6)
    boxes[:, :, 0] = -1
    boxes[:, :6] = torch.tensor([[step, 12.0, 3.0, 0.1, 4.5, 1.9] for step in range(6)])
    history = torch.randn(count, 10, 3, generator=generator)
    history[:, :, 0] = 8 + history[:, :, 0]
    reach = history[:, -1, :1] * torch.arange(1, 7) * 0.5
    future = torch.stack([reach, torch.zeros_like(reach)], dim=2) + 0.3 * torch.randn(count, 6, 2, generator=generator)
    tags = torch.zeros(count, 8, dtype=torch.uint8)
    tags[:, 1] = tags[:, 4] = 1
    return Batch(
        torch.rand(count, 3 * cameras, 64, 192, generator=generator),
        history,
        torch.eye(3)[torch.arange(count) % 3],
        future,
        boxes=boxes,
        boxes_known=torch.ones(count, dtype=torch.bool),
        tags=tags,
    )
