"""Recipes for two processor cores: a camera planner that trains in about a minute, and its ego-only baseline."""

from __future__ import annotations

from platform_lib.models.augmentation import Augmentation
from platform_lib.models.fitting import FitConfig
from platform_lib.models.interface import IMAGE_WIDTH
from platform_lib.models.planner import PlannerConfig
from platform_lib.scenario.camera import FRONT_CAMERA
from ray_jobs.recipes.config import TrainConfig

_FOCAL_PX = FRONT_CAMERA.focal_px * IMAGE_WIDTH / FRONT_CAMERA.width_px


def planner_tiny() -> TrainConfig:
    """Camera, ego history and route command to three seconds of waypoints."""
    return TrainConfig(
        recipe="planner_tiny",
        planner=PlannerConfig(
            kind="camera",
            channels=(16, 32, 48, 64),
            squeeze=16,
            hidden=160,
            ego_hidden=64,
            dropout=0.1,
        ),
        fit=FitConfig(
            epochs=28,
            batch=16,
            learning_rate=3e-3,
            weight_decay=0.1,
            warmup_share=0.1,
            seed=1,
            threads=2,
            augmentation=Augmentation(brightness=0.3, noise=0.0, mirror=0.5, turn_std_rad=0.04, focal_px=_FOCAL_PX),
        ),
    )


def ego_only_tiny() -> TrainConfig:
    """The same interface and loss without looking at the image: the row that shows what the camera is worth.

    It is trained until it gains nothing more: a baseline that was stopped early would flatter the camera.
    """
    return TrainConfig(
        recipe="ego_only_tiny",
        planner=PlannerConfig(kind="ego_only", channels=(), squeeze=0, hidden=128, ego_hidden=64, dropout=0.1),
        fit=FitConfig(
            epochs=120,
            batch=32,
            learning_rate=2e-3,
            weight_decay=0.02,
            warmup_share=0.1,
            seed=1,
            threads=1,  # a network this small only waits for a second thread
            augmentation=Augmentation(brightness=0.0, noise=0.0, mirror=0.5, turn_std_rad=0.0, focal_px=_FOCAL_PX),
        ),
    )
