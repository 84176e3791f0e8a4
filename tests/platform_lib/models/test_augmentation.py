"""Augmentation keeps label and image true to each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from platform_lib.models.augmentation import Augmentation, Batch, augmented
from platform_lib.scenario.camera import FRONT_CAMERA

NOTHING = Augmentation(brightness=0.0, noise=0.0, mirror=0.0, turn_std_rad=0.0, focal_px=150.0)


def batch(count: int = 4) -> Batch:
    torch.manual_seed(0)
    return Batch(
        torch.rand(count, 3, 64, 192),
        torch.randn(count, 10, 3),
        torch.eye(3)[torch.arange(count) % 3],
        torch.randn(count, 6, 2) * 10,
    )


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_no_amount_changes_nothing():
    given, found = batch(), augmented(batch(), NOTHING, rng())
    for name in ("image", "ego_history", "command", "future_m"):
        assert torch.allclose(getattr(given, name), getattr(found, name), atol=1e-6)


def test_a_mirror_exchanges_left_and_right_everywhere_and_twice_is_nothing():
    given = batch()
    mirror = replace(NOTHING, mirror=1.0)
    once = augmented(given, mirror, rng())
    assert torch.equal(once.image, given.image.flip(3))
    assert torch.equal(once.future_m[:, :, 1], -given.future_m[:, :, 1])
    assert torch.equal(once.ego_history[:, :, 1], -given.ego_history[:, :, 1])
    assert torch.equal(once.ego_history[:, :, [0, 2]], given.ego_history[:, :, [0, 2]])
    assert once.command.argmax(1).tolist() == [0, 2, 1, 0]
    twice = augmented(once, mirror, rng())
    assert torch.equal(twice.image, given.image)
    assert torch.allclose(twice.future_m, given.future_m)


@pytest.mark.parametrize("focal_px", [150.0, pytest.param(-150.0, id="planted: turned the wrong way")])
def test_a_turned_car_sees_the_driven_path_where_its_label_says(focal_px):
    """A bright dot on the ground at the path's point stays on the projection of the turned path's point."""
    scale = 192 / FRONT_CAMERA.width_px
    point = np.array([12.0, 1.5])
    column, row = (FRONT_CAMERA.project_from_ego(np.array([[*point, 0.0]]))[0][0] * scale).astype(int)
    image = torch.zeros(1, 3, 64, 192)
    image[0, :, :, column - 1 : column + 2] = 1.0
    future = torch.from_numpy(np.tile(point, (1, 6, 1))).float()
    given = Batch(image, torch.zeros(1, 10, 3), torch.eye(3)[:1], future)
    found = augmented(given, replace(NOTHING, turn_std_rad=0.15, focal_px=focal_px), rng())
    moved = found.future_m[0, 0].numpy()
    assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(point), abs=1e-4)
    expected = FRONT_CAMERA.project_from_ego(np.array([[*moved, 0.0]]))[0][0][0] * scale
    seen = float(found.image[0, 0, row].nonzero().float().mean())
    assert abs(expected - column) > 5.0
    if focal_px > 0:
        # The camera sits 1.7 m ahead of the axle the car turns about: a few pixels at this distance.
        assert abs(seen - expected) < 6.0
    else:
        assert abs(seen - expected) > 6.0


def test_the_same_seeds_give_the_same_batch_and_other_ones_another():
    amount = Augmentation(brightness=0.3, noise=0.05, mirror=0.5, turn_std_rad=0.05, focal_px=150.0)

    def draw(seed: int) -> Batch:
        given = batch()
        torch.manual_seed(seed)
        return augmented(given, amount, np.random.default_rng(seed))

    assert torch.equal(draw(1).image, draw(1).image)
    assert torch.equal(draw(1).future_m, draw(1).future_m)
    assert not torch.equal(draw(1).image, draw(2).image)
    assert 0.0 <= float(draw(1).image.min()) <= float(draw(1).image.max()) <= 1.0
