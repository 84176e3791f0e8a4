"""The grid transformer in training: the driven path, and where the others were at the same times."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from platform_lib.models.augmentation import Batch
from platform_lib.models.bev import EGO_TOKENS, BevConfig, BevNet
from platform_lib.models.flops import attention_flops, convolution_flops, linear_flops
from platform_lib.models.interface import COMMANDS, EGO_CHANNELS, EGO_STEPS, PLAN_STEPS
from platform_lib.models.losses import occupancy_loss, path_loss
from platform_lib.models.model import Model, Normalisation, Plan
from platform_lib.models.rig import BevGrid

OCCUPANCY_WEIGHT = 0.1
RARE = 5.0
"""How much more a taken cell counts than a free one."""


class BevModel(Model):
    """Behaviour cloning on a bird's-eye grid, with occupancy as a second task where other agents were recorded."""

    columns = ("objects",)

    def __init__(self, config: BevConfig, normalisation: Normalisation) -> None:
        self._config = config
        self.network = BevNet(config, normalisation)
        self.cameras = len(config.rig)
        self._scale = torch.as_tensor(normalisation.residual_std_m, dtype=torch.float32)
        self._centres = torch.as_tensor(config.grid.centres_m(), dtype=torch.float32)

    def forward(self, batch: Batch, network: nn.Module | None = None) -> Plan:
        """Plan; occupancy comes with it while training."""
        found = (self.network if network is None else network)(batch.image, batch.ego_history, batch.command)
        return Plan(found) if isinstance(found, Tensor) else Plan(found[0], occupancy=found[1])

    def loss(self, plan: Plan, batch: Batch) -> Tensor:
        """Return the path's loss, with that of occupancy where both plan and samples have it."""
        device = plan.waypoints_m.device
        loss = path_loss(plan.waypoints_m, batch.future_m, self._scale.to(device))
        if plan.occupancy is None or batch.boxes is None or batch.boxes_known is None:
            return loss
        taken = occupied(batch.boxes, self._config.grid, self._centres.to(device))
        return loss + OCCUPANCY_WEIGHT * occupancy_loss(plan.occupancy, taken, batch.boxes_known, rare=RARE)

    @property
    def flops_per_sample(self) -> int:
        """Floating-point operations of one plan."""
        config = self._config
        rows, columns = config.feature_size
        pixels, cells, width = rows * columns * len(config.rig), len(config.grid), config.width
        tokens = cells + EGO_TOKENS
        feedforward = [width, config.feedforward, width]
        layer = (
            convolution_flops(config.channels[-1], 2 * width, 1, pixels)
            + 2 * linear_flops([width, width], cells)
            + 4 * linear_flops([width, width], tokens)
            + attention_flops(tokens, tokens, width)
            + linear_flops(feedforward, tokens)
        )
        decoder = (
            2 * linear_flops([width, width], PLAN_STEPS)
            + 2 * linear_flops([width, width], tokens)
            + attention_flops(PLAN_STEPS, tokens, width)
            + linear_flops(feedforward, PLAN_STEPS)
        )
        heads = (
            linear_flops([EGO_CHANNELS, width], EGO_STEPS)
            + linear_flops([len(COMMANDS), width])
            + linear_flops([EGO_STEPS * EGO_CHANNELS + len(COMMANDS), config.ego_hidden])
            + linear_flops([config.ego_hidden, config.hidden, config.hidden, PLAN_STEPS * 2])
            + linear_flops([config.ego_hidden, width])
            + linear_flops([width, 2], PLAN_STEPS)
        )
        return _backbone_flops(config) + config.layers * layer + config.decoder_layers * decoder + heads


def _backbone_flops(config: BevConfig) -> int:
    rows, columns, wide_in, total = config.rig.height_px, config.rig.width_px, 3, 0
    for number, wide_out in enumerate(config.channels):
        rows, columns = -(-rows // 2), -(-columns // 2)
        pixels = rows * columns * len(config.rig)
        total += convolution_flops(wide_in, wide_out, 5 if number == 0 else 3, pixels)
        total += 2 * config.blocks * convolution_flops(wide_out, wide_out, 3, pixels)
        wide_in = wide_out
    return total


def occupied(boxes: Tensor, grid: BevGrid, centres_m: Tensor) -> Tensor:
    """Return which cells are taken at which of the six future times.

    Args:
        boxes: (N, M, 6); see `Batch`.
        grid: The cells.
        centres_m: (Q, 2) their middles.

    Returns:
        (N, 6, X, Y), 0 or 1. A cell is taken where its middle lies in a box that was widened by half a cell's shorter
        side: a pedestrian between two middles takes a cell too.
    """
    margin_m = min(grid.cell_m) / 2
    offset = centres_m[None, None] - boxes[:, :, None, 1:3]  # (N, M, Q, 2)
    cosine, sine = torch.cos(boxes[:, :, 3, None]), torch.sin(boxes[:, :, 3, None])
    along = (cosine * offset[..., 0] + sine * offset[..., 1]).abs()
    across = (cosine * offset[..., 1] - sine * offset[..., 0]).abs()
    inside = (along <= boxes[:, :, 4, None] / 2 + margin_m) & (across <= boxes[:, :, 5, None] / 2 + margin_m)
    steps = torch.arange(PLAN_STEPS, device=boxes.device)
    at = (boxes[:, :, 0, None] == steps)[..., None] & inside[:, :, None]  # (N, M, 6, Q)
    return at.any(dim=1).reshape(len(boxes), PLAN_STEPS, *grid.cells).to(torch.float32)
