"""Changes of a training sample that change its label in the way geometry says, so that few drives teach more."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

# Command 1 is a change to the left, 2 to the right: a mirror exchanges them.
_MIRRORED_COMMANDS = [0, 2, 1]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much each change may do.

    Attributes:
        brightness: Largest relative change of the whole image.
        noise: Standard deviation of pixel noise, in 0..1.
        mirror: Share of samples that are mirrored: image, sideways path, yaw rate and lane-change command together.
            A mirrored frame is one from a country that drives on the left; what it teaches about distances, braking
            and bends holds in both.
        turn_std_rad: Standard deviation of a rotation of the car on the spot. The image is turned about the camera,
            exactly for a pinhole up to a small vertical stretch at its edges, and the path is turned with it: the
            label leads back to the line that was driven.
        focal_px: Focal length of the planner's image, for that rotation.
        mirrored_cameras: Of several cameras: whose picture each shows in the mirror (the left one's shows the right one's).
    """

    brightness: float
    noise: float
    mirror: float
    turn_std_rad: float
    focal_px: float
    mirrored_cameras: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Batch:
    """N samples as tensors.

    Attributes:
        image: (N, 3 C, H, W) of C cameras, uint8 or floats in 0..1; no rows where the planner does not look.
        ego_history: (N, 10, 3).
        command: (N, 3), one-hot.
        future_m: (N, 6, 2).
        boxes: (N, M, 6) other agents at the future times: step 0 ... 5 (-1: no box), x_m, y_m, yaw_rad, length_m,
            width_m; None where the model does not ask.
        boxes_known: (N,) whether somebody recorded other agents: no boxes and not knowing are two things.
        tags: (N, T) 0 or 1, which of `platform_lib.models.tags.TAGS` hold; None where the model does not ask.
    """

    image: Tensor
    ego_history: Tensor
    command: Tensor
    future_m: Tensor
    boxes: Tensor | None = None
    boxes_known: Tensor | None = None
    tags: Tensor | None = None


def augmented(batch: Batch, amount: Augmentation, generator: np.random.Generator) -> Batch:
    """Return a changed copy, its image as floats in 0..1; the same generator and torch seed give the same one."""
    size = len(batch.command)
    mirrored = torch.from_numpy(generator.random(size) < amount.mirror)
    turns = torch.from_numpy((amount.turn_std_rad * generator.standard_normal(size)).astype(np.float32))
    gains = torch.from_numpy(generator.uniform(1 - amount.brightness, 1 + amount.brightness, size).astype(np.float32))
    history, command, future = _mirrored(batch, mirrored)
    future = _turned(future, turns)
    changed = replace(
        batch,
        ego_history=history,
        command=command,
        future_m=future,
        boxes=None if batch.boxes is None else _moved_boxes(batch.boxes, mirrored, turns),
    )
    if not len(batch.image):
        return changed
    # Pixels are moved once, as bytes where they are bytes: four times less memory than as floats.
    columns = _columns(batch.image.shape[3], mirrored, turns, amount.focal_px)
    moved = batch.image.gather(3, columns[:, None, None, :].expand(-1, *batch.image.shape[1:3], -1))
    if len(amount.mirrored_cameras) > 1:
        moved = _exchanged(moved, mirrored, amount.mirrored_cameras)
    image = moved.float().div_(255.0) if moved.dtype == torch.uint8 else moved
    image = image.mul_(gains[:, None, None, None])
    if amount.noise:
        image.add_(torch.randn_like(image), alpha=amount.noise)
    return replace(changed, image=image.clamp_(0.0, 1.0))


def _mirrored(batch: Batch, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return history, command and future with left and right exchanged in the chosen samples."""
    history, command, future = batch.ego_history.clone(), batch.command.clone(), batch.future_m.clone()
    history[chosen, :, 1] *= -1
    future[chosen, :, 1] *= -1
    command[chosen] = command[chosen][:, _MIRRORED_COMMANDS]
    return history, command, future


def _turned(future: Tensor, turn_rad: Tensor) -> Tensor:
    """Return the path (N, 6, 2) as it is seen from a car that was turned to the left by `turn_rad` (N,)."""
    cosine, sine = torch.cos(turn_rad)[:, None], torch.sin(turn_rad)[:, None]
    x, y = future[:, :, 0], future[:, :, 1]
    return torch.stack([cosine * x + sine * y, cosine * y - sine * x], dim=2)


def _moved_boxes(boxes: Tensor, mirrored: Tensor, turn_rad: Tensor) -> Tensor:
    """Return other agents (N, M, 6) as the mirror and the turned car have them."""
    moved = boxes.clone()
    moved[mirrored, :, 2:4] *= -1
    moved[:, :, 1:3] = _turned(moved[:, :, 1:3], turn_rad)
    moved[:, :, 3] -= turn_rad[:, None]
    return moved


def _exchanged(image: Tensor, mirrored: Tensor, order: tuple[int, ...]) -> Tensor:
    """Return pictures (N, 3 C, H, W) with the cameras of the mirrored samples exchanged."""
    cameras = image.reshape(len(image), len(order), 3, *image.shape[2:])
    return torch.where(mirrored[:, None, None, None, None], cameras[:, list(order)], cameras).flatten(1, 2)


def _columns(width: int, mirrored: Tensor, turn_rad: Tensor, focal_px: float) -> Tensor:
    """Return from which column of the recorded image each column comes (N, W): what a car turned left sees moves right."""
    centre = (width - 1) / 2
    bearing = torch.atan((torch.arange(width) - centre) / focal_px)[None] - turn_rad[:, None]
    source = (torch.tan(bearing) * focal_px + centre).round().long().clamp_(0, width - 1)
    return torch.where(mirrored[:, None], width - 1 - source, source)
