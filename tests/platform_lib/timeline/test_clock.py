"""The mapping between two clocks, and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.timeline import ClockModel

T0 = 1_780_000_000_000_000_000


def test_offset_and_drift_are_added() -> None:
    clock = ClockModel(T0, 0.25, 40e-6, 0.001, 1e-6)
    there = clock.reference_from_source_ns(np.array([T0, T0 + 10 * 10**9]))
    assert there.dtype == np.int64
    assert (there - T0).tolist() == [250_000_000, 10_250_400_000]
    assert clock.drift_ppm == pytest.approx(40.0)


@given(
    offset_s=st.floats(-2.0, 2.0),
    drift_ppm=st.floats(-500.0, 500.0),
    since_s=st.lists(st.floats(-3600.0, 3600.0), min_size=1, max_size=20),
)
def test_the_inverse_returns_to_the_nanosecond(offset_s: float, drift_ppm: float, since_s: list[float]) -> None:
    clock = ClockModel(T0, offset_s, drift_ppm * 1e-6, 0.001, 1e-6)
    source = T0 + np.array([round(item * 1e9) for item in since_s], dtype=np.int64)
    back = clock.source_from_reference_ns(clock.reference_from_source_ns(source))
    assert np.abs(back - source).max() <= 1


def test_uncertainty_grows_away_from_the_pivot() -> None:
    clock = ClockModel(T0, 0.0, 0.0, 0.003, 10e-6)
    sigma = clock.sigma_s(np.array([T0, T0 + 300 * 10**9]))
    np.testing.assert_allclose(sigma, [0.003, np.hypot(0.003, 0.003)])
