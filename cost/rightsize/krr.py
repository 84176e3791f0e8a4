"""KRR's simple strategy, written anew from its documented behaviour, to be compared with. Pure.

Source: robusta-dev/krr, robusta_krr/strategies/simple.py and its documented defaults (history 336 h, CPU percentile 95, memory
buffer 15 %, 100 points, least 10 m and 100 MiB); read 2026-11-30.
"""

from __future__ import annotations

import math

import numpy as np

from cost.rightsize.model import MIB, Sizes, Usage

CPU_PERCENTILE = 95.0
MEMORY_BUFFER = 0.15
POINTS_REQUIRED = 100
HISTORY_S = 336 * 3600.0
OOM_BUFFER = 0.25
"""oom_memory_buffer_percentage, used where use_oomkill_data is set; it is not by default."""
LEAST_CPU_CORES, LEAST_MEMORY_BYTES = 0.010, 100 * MIB


def recommend(usage: Usage, *, oom_limit_bytes: float = 0.0) -> Sizes:
    """Return CPU (the 95th percentile; no limit) and memory (the highest and 15 %; request and limit).

    Args:
        usage: The history; its last 14 days count.
        oom_limit_bytes: The limit at an OOM kill, where those are to count.
    """
    last = round(HISTORY_S / usage.step_s)
    cpu = usage.cpu_cores[-last:]
    memory = usage.memory_bytes[-last:]
    cpu, memory = cpu[np.isfinite(cpu)], memory[np.isfinite(memory)]
    cores = bytes_ = None
    if len(cpu) >= POINTS_REQUIRED:
        cores = max(_up(float(np.percentile(cpu.astype(np.float64), CPU_PERCENTILE)), 0.001), LEAST_CPU_CORES)
    if len(memory) >= POINTS_REQUIRED:
        peak = max(float(memory.max()) * (1 + MEMORY_BUFFER), oom_limit_bytes * (1 + OOM_BUFFER))
        bytes_ = max(_up(peak, MIB), LEAST_MEMORY_BYTES)
    return Sizes(cores, bytes_)


def _up(value: float, unit: float) -> float:
    return math.ceil(round(value / unit, 9)) * unit
