"""From what a loader hands out to what a model learns from: one augmented `Batch`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from platform_lib.errors import ConfigError
from platform_lib.models.augmentation import Augmentation, Batch, augmented
from platform_lib.models.interface import COMMANDS
from platform_lib.models.model import Model


def training_batch(
    samples: Mapping[str, Any], model: Model, augmentation: Augmentation, generator: np.random.Generator
) -> Batch:
    """Return N augmented samples as the model takes them.

    Args:
        samples: ``image`` uint8 (N, 3 C, H, W), ``ego_history``, ``command`` (N,), ``future`` (N, 6, 2); ``boxes``,
            ``boxes_known`` and ``tags`` where the model asked for their columns.
        model: Who learns.
        augmentation: How samples are changed.
        generator: Draws the changes, with torch's own.

    Raises:
        ConfigError: The pictures are of another number of cameras than the model's.
    """
    image = samples["image"] if model.looks else samples["image"][:0]
    if model.looks and image.shape[1] != 3 * model.cameras:
        raise ConfigError(
            f"pictures of {image.shape[1] // 3} cameras for a model of {model.cameras}",
            where="recipe",
            remedy="take a recipe whose rig is the dataset's: today's datasets hold the front camera",
        )
    batch = Batch(
        image,
        samples["ego_history"],
        nn.functional.one_hot(samples["command"], len(COMMANDS)).float(),
        samples["future"],
        boxes=samples.get("boxes"),
        boxes_known=samples.get("boxes_known"),
        tags=samples.get("tags"),
    )
    changed = augmented(batch, augmentation, generator)
    # Channels last: convolutions on a CPU are a sixth faster.
    return replace(changed, image=changed.image.contiguous(memory_format=torch.channels_last))
