"""What sampling does to an alignment: nothing to a smooth motion, much to one that steps in time with the samples."""

from __future__ import annotations

import numpy as np
import pytest

from platform_lib.timeline import AlignmentOptions, Series
from platform_lib.timeline.sampling import sampling_shift_s

T0 = 1_780_000_000_000_000_000
RULES = AlignmentOptions().grid_rules


def sampled(values: np.ndarray, rate_hz: float, first_s: float = 0.0) -> Series:
    at_s = np.arange(first_s, 19.9, 1.0 / rate_hz)
    seen = np.interp(at_s, np.arange(len(values)) * 0.001, values)
    return Series(T0 + np.rint(at_s * 1e9).astype(np.int64), seen)


def held(rng: np.random.Generator) -> np.ndarray:
    """A value that is set anew every tenth of a second and held."""
    return np.repeat(rng.normal(0.0, 1.0, 200), 100)


def test_a_smooth_motion_loses_nothing() -> None:
    time_s = np.arange(0.0, 20.0, 0.001)
    smooth = 10.0 + 2.0 * np.sin(time_s) + np.sin(2.3 * time_s)
    assert sampling_shift_s(sampled(smooth, 100.0), sampled(smooth, 50.0, 0.003), RULES) < 2e-4


@pytest.mark.parametrize(("coarse_hz", "least_s", "most_s"), [(50.0, 0.003, 0.012), (10.0, 0.015, 0.05)])
def test_steps_in_time_with_the_samples_are_uncertain_by_a_share_of_the_interval(
    coarse_hz: float, least_s: float, most_s: float
) -> None:
    steps = held(np.random.default_rng(1))
    assert least_s < sampling_shift_s(sampled(steps, 100.0, 0.003), sampled(steps, coarse_hz), RULES) < most_s


def test_it_does_not_matter_which_is_the_finer() -> None:
    steps = held(np.random.default_rng(2))
    fine, coarse = sampled(steps, 100.0, 0.003), sampled(steps, 50.0)
    assert sampling_shift_s(fine, coarse, RULES) == sampling_shift_s(coarse, fine, RULES)


def test_too_few_samples_say_nothing() -> None:
    few = sampled(np.zeros(20_000), 0.5)
    assert sampling_shift_s(few, few, RULES) == 0.0
