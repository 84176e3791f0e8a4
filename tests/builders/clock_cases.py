"""Drives recorded by two clocks whose truth is known: hard speed profiles and the simulator's own motion, no pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from platform_lib.scenario.clocks import Clock, keep_mask
from platform_lib.scenario.fleet import demo_fleet
from platform_lib.scenario.world import SUBSTEPS, World
from platform_lib.timeline import Series, SharedSignal

T0 = 1_780_000_000_000_000_000
PROFILES = ("simulator", "city", "motorway", "one_stop", "creeping", "bend")
"""Motions that carry the clock: the simulator's expert, stop and go, long and gentle, one braking, crawling, one bend."""
SILENT = ("constant", "standing", "ramp", "swinging", "noise")
"""Motions that do not: nothing varies, or it repeats, or only noise does."""


@dataclass(frozen=True)
class Motion:
    """Speed and yaw rate at ``time_s``, every millisecond or every hundredth of a second."""

    time_s: np.ndarray
    speed_mps: np.ndarray
    yaw_rate_rps: np.ndarray


@dataclass(frozen=True)
class Case:
    """Two recordings of one motion, and the source recorder's clock."""

    profile: str
    clock: Clock
    shared: tuple[SharedSignal, ...]
    duration_s: float

    def source_ns(self, true_s: np.ndarray) -> np.ndarray:
        """What the source clock shows at true times."""
        return self.clock.exact_ns(T0 + np.rint(np.asarray(true_s) * 1e9).astype(np.int64), T0)


def motion(profile: str, rng: np.random.Generator) -> Motion:
    """Draw a motion of that profile."""
    if profile == "simulator":
        return _simulated(rng)
    long = profile in ("motorway", "city")
    time_s = np.arange(0.0, rng.uniform(60.0, 180.0) if long else rng.uniform(20.0, 40.0), 0.001)
    speed, yaw_rate = np.full_like(time_s, rng.uniform(8.0, 20.0)), np.zeros_like(time_s)
    if profile == "city":
        speed = np.clip(10.0 + _integrated(rng, time_s, 1.3, 3.0), 0.0, None)  # stands still at times
        yaw_rate = _lumps(rng, time_s, 0.15, every_s=25.0)
    elif profile == "motorway":
        speed = 30.0 + _integrated(rng, time_s, 0.25, 6.0)
        yaw_rate = _lumps(rng, time_s, 0.01, every_s=40.0)
    elif profile == "one_stop":
        speed = speed * (
            1.0 - 1.0 / (1.0 + np.exp(-(time_s - time_s[-1] * rng.uniform(0.3, 0.7)) / rng.uniform(0.5, 1.5)))
        )
    elif profile == "creeping":
        speed = np.clip(0.7 + 0.9 * _lumps(rng, time_s, 1.0, every_s=4.0), 0.0, None)
    elif profile == "bend":
        yaw_rate = _lumps(rng, time_s, 0.12, every_s=12.0)
    elif profile == "standing":
        speed = np.zeros_like(time_s)
    elif profile == "ramp":
        speed = 5.0 + rng.uniform(0.2, 0.5) * time_s
    elif profile == "swinging":
        speed = speed + 2.0 * np.sin(2.0 * np.pi * time_s / rng.uniform(0.8, 1.8))
    return Motion(time_s, speed, yaw_rate)


def case(profile: str, seed: int) -> Case:
    """Draw a case: offset within 2 s, drift within 50 ppm, jitter up to 1 ms, samples lost alone and in bursts."""
    rng = np.random.default_rng([seed, sum(map(ord, profile))])
    seen = motion(profile, rng)
    clock = Clock(rng.uniform(-2.0, 2.0), rng.uniform(-50.0, 50.0), float(10.0 ** rng.uniform(-4.3, -3.0)))
    quiet = profile in ("constant", "standing")
    bus_hz, odom_hz = float(rng.choice([100.0, 50.0, 25.0])), float(rng.choice([50.0, 30.0]))
    speed_noise, odom_noise = (0.0, 0.0) if quiet else (0.012, float(rng.choice([0.0, 0.01, 0.03])))
    shared = recordings(rng, seen, clock, bus_hz=bus_hz, odom_hz=odom_hz, noise=speed_noise, odom_noise=odom_noise)
    return Case(profile, clock, shared, float(seen.time_s[-1]))


def recordings(
    rng: np.random.Generator,
    seen: Motion,
    clock: Clock,
    *,
    bus_hz: float,
    odom_hz: float,
    noise: float = 0.012,
    odom_noise: float = 0.01,
) -> tuple[SharedSignal, ...]:
    """Record one motion twice: on a bus that keeps `clock`, and by an odometry whose clock is right; noise in m/s."""
    exact = Clock(0.0, 0.0, 1e-5)
    return (
        SharedSignal(
            "speed",
            _recorded(rng, seen.time_s, seen.speed_mps, bus_hz, clock, noise, resolution=0.01 / 3.6),
            _recorded(rng, seen.time_s, seen.speed_mps, odom_hz, exact, odom_noise),
        ),
        SharedSignal(
            "yaw_rate",
            _recorded(rng, seen.time_s, seen.yaw_rate_rps, bus_hz, clock, noise / 8.0, resolution=2e-4),
            _recorded(rng, seen.time_s, seen.yaw_rate_rps, odom_hz, exact, odom_noise / 8.0),
        ),
    )


def _simulated(rng: np.random.Generator) -> Motion:
    spec = demo_fleet(15, seed=int(rng.integers(1 << 30)))[int(rng.integers(15))]
    world = World(spec)
    states = [world.ego]
    while not world.done:
        states += world.step(world.expert_control())
    time_s = np.arange(len(states)) / (SUBSTEPS * 10.0)
    return Motion(time_s, np.array([s.v_mps for s in states]), np.array([s.yaw_rate_rps for s in states]))


def _integrated(rng: np.random.Generator, time_s: np.ndarray, accel_mps2: float, every_s: float) -> np.ndarray:
    """A speed whose acceleration is drawn anew every few seconds and pulled back so that the speed stays near 0."""
    knots = np.arange(0.0, time_s[-1] + 2.0 * every_s, every_s)
    speed, level = np.zeros(len(knots)), 0.0
    for index, push in enumerate(rng.normal(0.0, accel_mps2, len(knots))):
        level += every_s * (push - 0.05 * level)
        speed[index] = level
    return np.interp(time_s, knots, speed)


def _lumps(rng: np.random.Generator, time_s: np.ndarray, height: float, every_s: float) -> np.ndarray:
    total = np.zeros_like(time_s)
    for middle_s in np.arange(rng.uniform(3.0, every_s / 2.0 + 3.0), time_s[-1], every_s):
        shape = np.exp(-0.5 * ((time_s - middle_s) / rng.uniform(0.6, 1.6)) ** 2)
        total += height * rng.uniform(0.5, 1.0) * rng.choice((-1.0, 1.0)) * shape
    return total


def _recorded(
    rng: np.random.Generator,
    time_s: np.ndarray,
    values: np.ndarray,
    rate_hz: float,
    clock: Clock,
    noise: float,
    resolution: float = 0.0,
) -> Series:
    at_s = np.arange(time_s[0] + rng.uniform(0.0, 1.0 / rate_hz), time_s[-1], 1.0 / rate_hz)
    at_s = at_s[keep_mask(len(at_s), rng, single=0.01, burst=round(rate_hz * rng.uniform(0.05, 0.6)))]
    seen = np.interp(at_s, time_s, values) + rng.normal(0.0, 1.0, len(at_s)) * noise
    if resolution:
        seen = np.rint(seen / resolution) * resolution
    return Series(clock.stamp_ns(T0 + np.rint(at_s * 1e9).astype(np.int64), T0, rng), seen)
