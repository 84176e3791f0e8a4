"""Frames with random traffic: what scorers are compared and timed on."""

from __future__ import annotations

import numpy as np

from platform_lib.evaluation.frames import STEPS, TIMES_S, Agents, Frames
from platform_lib.evaluation.geometry import Boxes


def traffic_frames(count: int, seed: int, *, agents: int = 8) -> tuple[np.ndarray, Frames]:
    """Return plans and frames: bending paths at 2 to 16 m/s among vehicles and pedestrians that come and go."""
    random = np.random.default_rng(seed)
    speed, bend = random.uniform(2.0, 16.0, count), random.normal(0.0, 0.5, count)
    driven = np.stack([speed[:, None] * TIMES_S, bend[:, None] * TIMES_S**2], axis=2)
    plan = driven + np.cumsum(random.normal(0.0, 0.3, driven.shape), axis=1)
    found = tuple(_traffic(random, random.integers(0, agents + 1)) for _ in range(count))
    drives = tuple(f"d{k // 25}" for k in range(count))
    return plan, Frames(drives, (frozenset(),) * count, driven, found)


def _traffic(random: np.random.Generator, count: int) -> Agents:
    steps, kinds, rows = [], [], []
    for _ in range(count):
        kind = str(random.choice(["vehicle", "pedestrian", "traffic_light_red"]))
        size = (0.6, 0.6) if kind == "pedestrian" else (4.5, 1.9)
        at, yaw = random.uniform((-10.0, -8.0), (45.0, 8.0)), random.uniform(-np.pi, np.pi)
        speed = random.uniform(0.0, 2.0 if kind == "pedestrian" else 15.0)
        for step in range(random.integers(0, 3), random.integers(3, STEPS + 1)):
            x, y = at + speed * TIMES_S[step] * np.array([np.cos(yaw), np.sin(yaw)])
            steps.append(step)
            kinds.append(kind)
            rows.append((x, y, yaw, *size))
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return Agents(np.array(steps, dtype=np.int64), tuple(kinds), Boxes(*table.T))
