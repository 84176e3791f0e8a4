"""Usage that is known: laws of CPU and memory, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal import lfilter

from cost.rightsize.model import MIB, ContainerKey, Usage

LAWS = ("diurnal", "bursty", "growing", "heavy-tail", "batch", "idle")
START_UTC_S = 1_790_035_200.0  # a Monday


def law_usage(law: str, number: int, *, weeks: float, step_s: float = 900.0, seed: int = 1) -> Usage:
    """Return one container's usage by a law, of a size of its own."""
    random = np.random.default_rng([seed, LAWS.index(law), number])
    steps = round(weeks * 7 * 86400 / step_s)
    time_s = np.arange(steps) * step_s
    cores, memory = float(np.exp(random.normal(-0.5, 1.0))), float(np.exp(random.normal(6.0, 1.0))) * MIB
    shape_cpu, shape_memory = _shape(law, time_s, step_s, random)
    key = ContainerKey("laws", f"Deployment/{law}-{number}", "main")
    return Usage(
        key,
        START_UTC_S,
        step_s,
        (cores * shape_cpu).astype(np.float32),
        (memory * shape_memory).astype(np.float32),
    )


def law_fleet(
    each: int, *, weeks: float, laws: Sequence[str] = LAWS, step_s: float = 900.0, seed: int = 1
) -> list[Usage]:
    """Return so many containers of each law."""
    return [law_usage(law, number, weeks=weeks, step_s=step_s, seed=seed) for law in laws for number in range(each)]


def _smooth(random: np.random.Generator, steps: int, step_s: float, hours: float, size: float) -> np.ndarray:
    """Return noise that remembers some hours."""
    keep = float(np.exp(-step_s / 3600 / hours))
    noise = random.normal(0, size * np.sqrt(1 - keep**2), steps)
    noise[0] = random.normal(0, size)
    return np.asarray(lfilter([1.0], [1.0, -keep], noise))


def _shape(law: str, time_s: np.ndarray, step_s: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    steps, day, week = len(time_s), time_s / 86400, time_s / 604800
    noise = np.exp(_smooth(random, steps, step_s, 3.0, 0.08))
    daily = 0.6 + 0.4 * np.sin(2 * np.pi * (day + random.uniform()))
    weekend = np.where(day % 7 >= 5, random.uniform(0.3, 0.8), 1.0)
    if law == "diurnal":
        return daily * weekend * noise, (0.7 + 0.3 * daily * weekend) * noise
    if law == "bursty":
        bursts = np.where(random.uniform(size=steps) < 0.015, 1 + random.exponential(2.0, steps), 0.0)
        return 0.2 * noise + bursts, 0.5 * noise + 0.2 * bursts
    if law == "growing":
        growth = np.exp(random.uniform(0.03, 0.12) * week)
        return daily * growth * noise, (0.6 + 0.2 * daily) * growth * noise
    if law == "heavy-tail":
        # Student's t with 4 degrees in logarithms would have no mean; a Pareto tail of index 3.5 has a variance.
        tail = random.pareto(3.5, steps)
        return 0.3 * noise + 0.15 * tail, 0.5 * noise + 0.05 * tail
    if law == "batch":
        start = random.uniform(0, 1)
        running = ((day + start) % 1.0) < random.uniform(0.05, 0.2)
        size = np.repeat(np.exp(random.normal(0, 0.25, int(day[-1]) + 3)), round(86400 / step_s))[:steps]
        return np.where(running, size * noise, 0.002), np.where(running, size * noise, 0.05)
    return 0.01 * noise, 0.2 + 0.002 * noise
