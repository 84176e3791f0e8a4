"""Sides that burn CPU for as long as they are told: what the judgement is tested with."""

from __future__ import annotations

import time

from tests.bench.side import Digests, Parts, Side, Task

INFLATE_S = 0.06


class _Planted:
    """Burns CPU for as long as it is told; says it read what it is told."""

    def __init__(self, cpu_s: float, value: str) -> None:
        self._cpu_s = cpu_s
        self._value = value

    def run(self) -> Parts:
        until = time.process_time() + self._cpu_s
        while time.process_time() < until:
            pass
        return {"read": 0.0, "inflate": self._cpu_s, "crc": 0.0, "copy": 0.0}

    def check(self) -> Digests:
        return {"column": self._value}


def honest(task: Task) -> Side:
    """Does the work in twice the floor's time."""
    return _Planted(2 * INFLATE_S, "right")


def slow(task: Task) -> Side:
    """Takes four times as long."""
    return _Planted(8 * INFLATE_S, "right")


def impossible(task: Task) -> Side:
    """Is done before the bytes can be inflated."""
    return _Planted(INFLATE_S / 6, "right")


def mistaken(task: Task) -> Side:
    """Gives another value."""
    return _Planted(2 * INFLATE_S, "wrong")


def floor(task: Task) -> Side:
    """Is the floor."""
    return _Planted(INFLATE_S, "")
