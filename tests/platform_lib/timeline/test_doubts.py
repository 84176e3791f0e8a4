"""Clocks that fit and are wrong all the same: steps in mid-drive, impossible drift, a turned sign; and what may look so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from clock_cases import T0, Case, Motion, recordings

from platform_lib.scenario.clocks import Clock
from platform_lib.timeline import ClockEstimate, Series, SharedSignal, alignment, estimate_clock

PLAIN = Clock(0.7, 20.0, 3e-4)


def lively(duration_s: float, seed: int = 0) -> Motion:
    """Speed and yaw rate that change all the time, so that every stretch of the drive carries the clock."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(0.0, duration_s, 0.01)
    knots = np.arange(0.0, duration_s + 6.0, 3.0)
    speed = 14.0 + np.interp(time_s, knots, rng.normal(0.0, 2.5, len(knots)))
    knots = np.arange(0.0, duration_s + 10.0, 5.0)
    return Motion(time_s, speed, np.interp(time_s, knots, rng.normal(0.0, 0.08, len(knots))))


def drive(duration_s: float, clock: Clock = PLAIN, seed: int = 0) -> Case:
    shared = recordings(np.random.default_rng(seed), lively(duration_s, seed), clock, bus_hz=100.0, odom_hz=50.0)
    return Case("lively", clock, shared, duration_s)


def stepped(case: Case, at_s: float, by_s: float) -> tuple[SharedSignal, ...]:
    """The source's recorder is started anew at `at_s`: from then on its stamps differ by `by_s`."""

    def late(series: Series) -> Series:
        after = series.timestamp_ns > T0 + at_s * 1e9
        return Series.of(series.timestamp_ns + np.where(after, round(by_s * 1e9), 0), series.values)

    return tuple(replace(item, source=late(item.source)) for item in case.shared)


def mapped(items: tuple[SharedSignal, ...], change: Callable[[Series], Series]) -> tuple[SharedSignal, ...]:
    return tuple(replace(item, source=change(item.source), reference=change(item.reference)) for item in items)


def worst_s(estimate: ClockEstimate, case: Case) -> float:
    assert estimate.model is not None, estimate.reason
    true_s = np.array([0.1, case.duration_s / 2.0, case.duration_s - 0.1])
    true_ns = T0 + np.rint(true_s * 1e9).astype(np.int64)
    return float(np.abs(estimate.model.reference_from_source_ns(case.source_ns(true_s)) - true_ns).max()) * 1e-9


@pytest.mark.parametrize("at", [0.2, 0.5, 0.85])
@pytest.mark.parametrize("by_s", [0.05, -0.2, 1.0, -4.0])
def test_a_clock_that_steps_in_mid_drive_is_refused(by_s: float, at: float) -> None:
    estimate = estimate_clock(stepped(drive(60.0), 60.0 * at, by_s))
    assert estimate.model is None
    said = ("the clock steps", "the clock drifts", "several offsets fit", "at the edge of the search")
    assert any(item in str(estimate.reason) for item in said)


def test_a_step_that_nobody_looks_for_would_be_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    case = drive(180.0)
    torn = stepped(case, 150.0, -0.05)
    assert "steps" in str(estimate_clock(torn).reason)
    monkeypatch.setattr(alignment, "find_step", lambda *_: None)
    unseen = estimate_clock(torn)
    late_ns = case.source_ns(np.array([170.0])) - 50_000_000
    assert unseen.model is not None, "the planted fault has to pass everything else"
    assert abs(int(unseen.model.reference_from_source_ns(late_ns)[0]) - T0 - 170 * 10**9) > 20_000_000


def test_an_undisturbed_clock_is_kept() -> None:
    for seed in range(6):
        case = drive(40.0, Clock(-1.3, -50.0, 1e-3), seed)
        assert worst_s(estimate_clock(case.shared), case) < 0.005


def test_a_long_stand_is_no_step() -> None:
    """Where nothing varies, chance alone makes some other offset fit better."""
    for seed in range(4):
        motion = lively(120.0, seed)
        still = motion.time_s > 45.0
        motion = Motion(
            motion.time_s, np.where(still, 0.0, motion.speed_mps), np.where(still, 0.0, motion.yaw_rate_rps)
        )
        shared = recordings(np.random.default_rng(seed), motion, PLAIN, bus_hz=50.0, odom_hz=50.0)
        assert "steps" not in str(estimate_clock(shared).reason)


@pytest.mark.parametrize("drift_ppm", [300.0, -500.0, 2000.0])
def test_a_drift_that_no_crystal_has_is_refused(drift_ppm: float) -> None:
    estimate = estimate_clock(drive(180.0, Clock(0.4, drift_ppm, 1e-4)).shared)
    assert estimate.model is None
    assert "drifts by" in str(estimate.reason) or "steps" in str(estimate.reason)


@pytest.mark.parametrize("turned", [("yaw_rate",), ("speed", "yaw_rate")])
def test_a_turned_sign_is_named(turned: tuple[str, ...]) -> None:
    shared = tuple(
        replace(item, source=Series(item.source.timestamp_ns, -item.source.values)) if item.name in turned else item
        for item in drive(60.0).shared
    )
    reason = str(estimate_clock(shared).reason)
    assert "opposite signs" in reason
    assert all(name in reason for name in turned)


def test_a_gap_of_ten_minutes_is_bridged_by_the_clock_and_a_step_in_it_is_seen() -> None:
    case = drive(1000.0)

    def torn(series: Series) -> Series:
        kept = (series.timestamp_ns < T0 + 200 * 10**9) | (series.timestamp_ns > T0 + 800 * 10**9)
        return Series(series.timestamp_ns[kept], series.values[kept])

    assert worst_s(estimate_clock(mapped(case.shared, torn)), case) < 0.005
    for by_s in (0.05, -1.0):
        assert estimate_clock(mapped(stepped(case, 500.0, by_s), torn)).model is None


def test_samples_out_of_order_twice_or_not_a_number_change_nothing() -> None:
    case = drive(60.0)
    rng = np.random.default_rng(1)

    def disturbed(series: Series) -> Series:
        times, values = series.timestamp_ns, series.values
        twice = rng.integers(0, len(times), 50)
        nothing = rng.integers(0, len(times), 50)
        times = np.concatenate([times, times[twice], times[nothing] + 1])
        values = np.concatenate([values, values[twice], np.full(50, np.nan)])
        order = rng.permutation(len(times))
        return Series.of(times[order], values[order])

    plain, other = estimate_clock(case.shared), estimate_clock(mapped(case.shared, disturbed))
    assert plain.model == other.model


@pytest.mark.soak
def test_an_hour_is_aligned() -> None:
    case = drive(3600.0, Clock(-0.7, 40.0, 3e-4))
    assert worst_s(estimate_clock(case.shared), case) < 0.005
    assert "steps" in str(estimate_clock(stepped(case, 3500.0, 0.02)).reason)
