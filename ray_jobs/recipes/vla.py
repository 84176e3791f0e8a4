"""Recipes of the vision-language-action model: a small one without any file, and one on a pretrained language model."""

from __future__ import annotations

from dataclasses import replace

from platform_lib.models.augmentation import Augmentation
from platform_lib.models.fitting import FitConfig
from platform_lib.models.hugging_face import NamedBackbone, RandomBackbone
from platform_lib.models.trajectory_tokens import TrajectoryTokens
from platform_lib.models.vla import VlaConfig
from ray_jobs.recipes.bev import FRONT_RIG
from ray_jobs.recipes.config import TrainConfig

PRETRAINED = "HuggingFaceTB/SmolLM2-135M"


def vla_tiny() -> TrainConfig:
    """A language model of two layers with random weights: path as tokens, and a sentence about it."""
    model = VlaConfig(
        backbone=RandomBackbone(layers=2, width=64, heads=4, feedforward=128),
        channels=(16, 24, 32, 48, 64),
        trajectory=TrajectoryTokens(bins=128, reach=4.0),
    )
    fit = FitConfig(
        epochs=8,
        batch=16,
        learning_rate=2e-3,
        weight_decay=0.05,
        warmup_share=0.1,
        seed=1,
        threads=1,  # most of its operators are too small to share
        augmentation=Augmentation(
            brightness=0.3, noise=0.0, mirror=0.5, turn_std_rad=0.04, focal_px=FRONT_RIG.cameras[0].focal_px
        ),
    )
    return TrainConfig(recipe="vla_tiny", planner=model, fit=fit)


def vla_base() -> TrainConfig:
    """The same on a pretrained model that has to lie in the local Hugging Face cache; for one accelerator."""
    tiny = vla_tiny()
    model = replace(
        tiny.planner,
        backbone=NamedBackbone(PRETRAINED),
        channels=(32, 64, 128, 256),
        trajectory=TrajectoryTokens(bins=256, reach=4.0),
        answer_words=16,
    )
    fit = replace(tiny.fit, epochs=8, batch=32, learning_rate=2e-4, weight_decay=0.01)
    return replace(tiny, recipe="vla_base", planner=model, fit=fit)
