"""Which drives a demonstration fleet records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from platform_lib.errors import ConfigError
from platform_lib.scenario.model import EVENTS, WEATHERS, DriveSpec

MAX_DRIVES = 100_000
_VEHICLES = 4
_FIRST_DAY = datetime(2026, 6, 1, tzinfo=UTC)


def demo_fleet(drives: int, seed: int, *, duration_s: float = 20.0) -> tuple[DriveSpec, ...]:
    """Return `drives` specs in which weather and event are balanced: every run of 15 holds each pair once.

    A longer fleet of the same seed begins with the shorter one.

    Raises:
        ConfigError: `drives` is not in 1..100000, `seed` is negative, or `duration_s` is not in 1..60.
    """
    if not 1 <= drives <= MAX_DRIVES:
        raise ConfigError(f"{drives} drives cannot be simulated", where="--drives", remedy=f"take 1 to {MAX_DRIVES}")
    if seed < 0:
        raise ConfigError(f"seed {seed} is negative", where="--seed", remedy="take 0 or more")
    return tuple(_drive(number, seed, duration_s) for number in range(drives))


def _drive(number: int, seed: int, duration_s: float) -> DriveSpec:
    # 3 and 5 share no divisor, so the pair of remainders runs through all 15 combinations.
    weather, event = WEATHERS[number % len(WEATHERS)], EVENTS[number % len(EVENTS)]
    hour = 21 if weather == "night" else 8 + 2 * (number % 5)
    start = _FIRST_DAY + timedelta(days=number // 5, hours=hour, minutes=7 * (number % 5))
    return DriveSpec(
        seed=int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1)),
        vehicle=f"dt-{1 + number % _VEHICLES:03d}",
        # The seed is part of the name: two fleets in one lake are different drives.
        session=f"{start:%Y-%m-%dT%H-%M-%SZ}-s{seed}-{number:04d}",
        start_ns=int(start.timestamp()) * 1_000_000_000,
        duration_s=duration_s,
        weather=weather,
        event=event,
    )
