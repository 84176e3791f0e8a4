"""What a job, its pools and their history are, and what a policy is shown (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from platform_lib.errors import ConfigError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating[Any]]
Price = float | Floats

HOUR_S = 3600.0
EGRESS_USD_PER_GB = 0.02
"""Between two regions of AWS. Source: https://aws.amazon.com/ec2/pricing/on-demand/ (data transfer), 2026-11-20."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work that must be done by a deadline and may be interrupted.

    Attributes:
        work_h: Hours of running that it needs, without restarts.
        deadline_h: Hours until it has to be finished.
        restart_min: Minutes that every launch pays for and does no work in.
        checkpoint_gb: What moves when it goes on in another region.
        gang: Instances that run together; availability is that of all of them at once.
    """

    work_h: float = 48.0
    deadline_h: float = 52.0
    restart_min: float = 13.0
    checkpoint_gb: float = 0.0
    gang: int = 1

    def __post_init__(self) -> None:
        numbers = (self.work_h, self.deadline_h, self.restart_min, self.checkpoint_gb)
        if not all(math.isfinite(number) and number >= 0 for number in numbers) or not self.work_h or self.gang < 1:
            raise ConfigError(
                "hours, minutes and gigabytes are finite and not negative, work and gang more than 0", where=repr(self)
            )

    @property
    def feasible(self) -> bool:
        """Whether on-demand alone, started at once, meets the deadline."""
        return self.work_h + self.restart_min / 60 <= self.deadline_h + 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Where instances of one type can be had: one zone.

    Attributes:
        name: The zone, perhaps with more behind a colon: ``us-east-1a``, ``us-east-1a:p3.2xlarge``.
        spot_usd_per_hour: Of one instance; an array has one price a tick of the trace.
        on_demand_usd_per_hour: The same, on demand.
        region: Checkpoints move free of charge within it. By default the zone without its letter.
        egress_usd_per_gb: For what leaves the region.
    """

    name: str
    spot_usd_per_hour: Price
    on_demand_usd_per_hour: Price
    region: str = ""
    egress_usd_per_gb: float = EGRESS_USD_PER_GB

    def __post_init__(self) -> None:
        for price in (self.spot_usd_per_hour, self.on_demand_usd_per_hour):
            values = np.asarray(price, dtype=np.float64)
            if values.ndim > 1 or not values.size or not np.isfinite(values).all() or (values < 0).any():
                raise ConfigError("a price is finite and not negative, one number or one a tick", where=self.name)
        if not self.region:
            zone = self.name.partition(":")[0]
            object.__setattr__(self, "region", zone[:-1] if zone[-1:].isalpha() and zone[-2:-1].isdigit() else zone)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What could be had, tick by tick.

    Attributes:
        pools: The pools, in the order of the columns.
        available: (ticks, pools), true where spot can be had for the whole tick.
        tick_s: Seconds a tick.
        start_utc_s: When tick 0 began, seconds since 1970; None where it is not known.
    """

    pools: tuple[Pool, ...]
    available: Bools
    tick_s: float = 195.0
    start_utc_s: float | None = None

    def __post_init__(self) -> None:
        found = np.asarray(self.available)
        if found.dtype != np.bool_:
            raise ConfigError(
                f"availability is of type bool, not {found.dtype}: true = spot can be had",
                where="Trace.available",
                remedy="read files by `cost.spot.load_traces`, which knows what 1 means in each",
            )
        if found.ndim != 2 or found.shape[1] != len(self.pools) or not self.pools or not self.tick_s > 0:
            raise ConfigError(
                f"availability is (ticks, {len(self.pools)} pools), not {found.shape}", where="Trace.available"
            )
        if len({pool.name for pool in self.pools}) != len(self.pools):
            raise ConfigError("two pools of one name", where="Trace.pools")
        object.__setattr__(self, "available", found)

    @property
    def ticks(self) -> int:
        """How many ticks it has."""
        return int(self.available.shape[0])

    def window(self, start: int, stop: int) -> Trace:
        """Return ticks [start, stop) with their prices."""

        def cut(price: Price) -> Price:
            return price[start:stop] if isinstance(price, np.ndarray) and price.ndim else price

        pools = tuple(
            Pool(
                pool.name,
                cut(pool.spot_usd_per_hour),
                cut(pool.on_demand_usd_per_hour),
                pool.region,
                pool.egress_usd_per_gb,
            )
            for pool in self.pools
        )
        begin = None if self.start_utc_s is None else self.start_utc_s + start * self.tick_s
        return Trace(pools, self.available[start:stop], self.tick_s, begin)

    def prices(self, kind: Literal["spot", "on_demand"], ticks: int) -> Floats:
        """Return (ticks, pools) prices; past its end an array keeps its last price."""
        found = np.empty((ticks, len(self.pools)))
        for at, pool in enumerate(self.pools):
            price = np.asarray(pool.spot_usd_per_hour if kind == "spot" else pool.on_demand_usd_per_hour, np.float64)
            found[:, at] = price if price.ndim == 0 else price[np.minimum(np.arange(ticks), len(price) - 1)]
        return found


@dataclass(frozen=True, slots=True)
class Action:
    """Where to be during the coming tick."""

    kind: Literal["idle", "spot", "on_demand"]
    pool: int = -1


IDLE = Action("idle")


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """All that a policy sees when it decides about a tick: what has happened so far, and this tick's pools.

    Attributes:
        tick: The tick that is decided about, from 0.
        tick_s: Seconds a tick.
        pools: The pools, without prices to come.
        available: (tick + 1, pools), its last row now. What is behind it in memory is no future.
        age_ticks: How long each pool has been as it is, this tick included, as far as this run has seen.
        spot_usd_per_hour: Now, a pool.
        on_demand_usd_per_hour: Now, a pool.
        place: Where the job is; idle after an interruption.
        restart_left_ticks: What remains of the launch of ``place``.
        home: The region that has the checkpoint; "" before the first launch.
        work_ticks: The whole job.
        deadline_ticks: From tick 0.
        work_left_ticks: What is still to be done.
        restart_ticks: What a launch takes.
    """

    tick: int
    tick_s: float
    pools: tuple[str, ...]
    available: Bools
    age_ticks: npt.NDArray[np.int64]
    spot_usd_per_hour: Floats
    on_demand_usd_per_hour: Floats
    place: Action
    restart_left_ticks: float
    home: str
    work_ticks: float
    deadline_ticks: float
    work_left_ticks: float
    restart_ticks: float

    @property
    def time_left_ticks(self) -> float:
        """Until the deadline."""
        return self.deadline_ticks - self.tick

    @property
    def slack_ticks(self) -> float:
        """What may still be lost before only a launch of on-demand, now, meets the deadline."""
        return self.time_left_ticks - self.work_left_ticks - self.restart_ticks


class Policy(Protocol):
    """Decides, tick by tick, from what has happened so far."""

    def decide(self, view: View) -> Action:
        """Return where to be during the coming tick."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run cost.

    Attributes:
        cost_usd: Of all instances of the gang and of moved checkpoints.
        finished: Whether the work was done by the deadline.
        finish_h: When; infinite where it was not.
        preemptions: How often spot went away under the job.
        hours_spot: Paid, of one instance.
        hours_on_demand: Paid, of one instance.
        moved_usd: What of the cost is for checkpoints that left a region.
        places: The pool of each tick, -1 idle, on-demand behind the spot pools.
    """

    cost_usd: float
    finished: bool
    finish_h: float
    preemptions: int
    hours_spot: float
    hours_on_demand: float
    moved_usd: float = 0.0
    places: npt.NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16), repr=False, compare=False)

    def __float__(self) -> float:
        return self.cost_usd
