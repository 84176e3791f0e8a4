"""How often to write a checkpoint on spot, and how much of the paid time is then useful work (pure).

Three numbers decide: what writing costs (the job stands still), what a restart costs, and how long spot lasts. Spot's
lives have a heavy tail, so the useful fraction is computed over the lives that were seen, not from their mean alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from platform_lib.errors import ConfigError

Rule = Literal["young-daly", "saxena"]


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval between checkpoints and what it buys.

    Attributes:
        interval_s: Seconds of work between two checkpoints.
        useful_fraction: Of the paid spot time, what ended up as work that was kept; None without lives to count on.
        rule: Where the interval comes from.
    """

    interval_s: float
    useful_fraction: float | None
    rule: str


def young_daly_s(write_s: float, mean_life_s: float) -> float:
    """Return sqrt(2 C M), the interval that is best for exponential lives much longer than a write.

    Source: Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974; Daly, FGCS 22, 2006.
    """
    _positive(write_s=write_s, mean_life_s=mean_life_s)
    return math.sqrt(2 * write_s * mean_life_s)


def saxena_s(write_s: float, mean_life_s: float, restart_s: float) -> float:
    """Return Ts + sqrt(2 (Tf + Tr) Ts + Ts^2): Ts writing, Tf the mean life, Tr restarting.

    Source: Saxena et al., arXiv 2410.18124, as of 2026-11-20.
    """
    _positive(write_s=write_s, mean_life_s=mean_life_s)
    if restart_s < 0:
        raise ConfigError("a restart takes no negative time", where=f"restart_s={restart_s}")
    return write_s + math.sqrt(2 * (mean_life_s + restart_s) * write_s + write_s**2)


def useful_fraction(interval_s: float, write_s: float, restart_s: float, lives_s: Sequence[float]) -> float:
    """Return the kept share of the time of these lives: each restarts, then works and writes in turn until it ends.

    Work since the last complete write is lost.
    """
    _positive(interval_s=interval_s, write_s=write_s)
    if not lives_s or min(lives_s) <= 0:
        raise ConfigError("lives of spot are needed, each longer than nothing", where=f"{len(lives_s)} lives")
    kept = sum(max(0, math.floor((life - restart_s) / (interval_s + write_s) + 1e-9)) * interval_s for life in lives_s)
    return kept / sum(lives_s)


def best_interval(write_s: float, restart_s: float, lives_s: Sequence[float], rule: Rule = "saxena") -> Interval:
    """Return the interval of a rule for a pool's lives, and the share that it keeps."""
    if not lives_s:
        raise ConfigError("no life of spot was seen, so no interval follows from it", where="lives_s")
    mean = sum(lives_s) / len(lives_s)
    found = young_daly_s(write_s, mean) if rule == "young-daly" else saxena_s(write_s, mean, restart_s)
    return Interval(found, useful_fraction(found, write_s, restart_s, lives_s), rule)


def _positive(**seconds: float) -> None:
    for name, value in seconds.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError("seconds are finite and more than 0", where=f"{name}={value}")
