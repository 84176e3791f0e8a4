"""`job.yaml`: a job, its pools with their prices' source and date, and their history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cost.spot.model import EGRESS_USD_PER_GB, Job, Pool, Trace
from cost.spot.traces import Meaning, load_traces
from platform_lib.errors import ConfigError

_REMEDY = "docs/reference/cost-spot.md has the whole form"
_LONGEST_H = 8_784.0
"""A year: the table has a row of rates for each hour, and no history tells of longer."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobSettings(_Settings):
    """The work; see `cost.spot.Job`."""

    work_h: float = Field(gt=0, le=_LONGEST_H)
    deadline_h: float = Field(gt=0, le=_LONGEST_H)
    restart_min: float = Field(13.0, ge=0)
    checkpoint_gb: float = Field(0.0, ge=0)
    checkpoint_write_s: float = Field(60.0, gt=0)
    gang: int = Field(1, ge=1)


class PriceSettings(_Settings):
    """One price; one that is not known is null, never 0, and its pool is named and left out."""

    usd_per_hour: float | None = Field(None, gt=0, allow_inf_nan=False)
    source: str = Field(min_length=1)
    date: date


class PoolSettings(_Settings):
    """One zone's pool and where its history lies, beside the job's file; ``node_pool`` is the environment's name for it."""

    name: str
    instance_type: str
    spot: PriceSettings
    on_demand: PriceSettings
    node_pool: str | None = None
    history: Path | None = None
    one_means: Meaning | None = None
    region: str = ""
    egress_usd_per_gb: float = Field(EGRESS_USD_PER_GB, ge=0)


class JobFile(_Settings):
    """The whole file."""

    job: JobSettings
    pools: tuple[PoolSettings, ...] = Field(min_length=1)
    tick_s: float = Field(195.0, gt=0)
    environment: str | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({pool.name for pool in self.pools}) != len(self.pools):
            raise ValueError("two pools of one name")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a job's file asks for.

    Attributes:
        file: As written.
        job: The work.
        priced: The pools whose both prices are known, in the file's order.
        history: Of those priced pools that have one, in the same order; None where none has.
    """

    file: JobFile
    job: Job
    priced: tuple[PoolSettings, ...]
    history: Trace | None

    @property
    def without_history(self) -> tuple[str, ...]:
        """Priced pools of whose past nothing is known."""
        return tuple(pool.name for pool in self.priced if pool.history is None)


def read_job(path: Path) -> Asked:
    """Read a job's file and the histories it names.

    Raises:
        ConfigError: The file is not as it should be, or no pool has both prices.
    """
    try:
        file = JobFile.model_validate(yaml.safe_load(path.read_bytes()))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read as YAML: {error}", where=path, remedy=_REMEDY) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=path, remedy=_REMEDY) from error
    settings = file.job
    job = Job(settings.work_h, settings.deadline_h, settings.restart_min, settings.checkpoint_gb, settings.gang)
    priced = tuple(
        pool for pool in file.pools if pool.spot.usd_per_hour is not None and pool.on_demand.usd_per_hour is not None
    )
    if not priced:
        raise ConfigError(
            "no pool has both prices, so nothing can be compared",
            where=path,
            remedy="give `usd_per_hour` with its source and date: `drivetrain cost prices show TYPE` knows some",
        )
    return Asked(file, job, priced, _history(path.parent, file, priced))


def pools_of(priced: tuple[PoolSettings, ...]) -> tuple[Pool, ...]:
    """Return the pools of the settings."""
    return tuple(
        Pool(each.name, each.spot.usd_per_hour or 0.0, each.on_demand.usd_per_hour or 0.0, each.region,
             each.egress_usd_per_gb)
        for each in priced
    )  # fmt: skip


def _history(folder: Path, file: JobFile, priced: tuple[PoolSettings, ...]) -> Trace | None:
    known = tuple(pool for pool in priced if pool.history is not None)
    if not known:
        return None
    meanings = {pool.one_means for pool in known}
    if len(meanings) > 1:
        raise ConfigError(
            "histories that say differently what 1 means",
            where="pools.one_means",
            remedy="bring the files to one convention, and give each pool the same `one_means`, or none",
        )
    trace = load_traces(
        {pool.name: folder / pool.history for pool in known if pool.history is not None},
        spot_usd_per_hour=0.0,
        on_demand_usd_per_hour=0.0,
        tick_s=file.tick_s,
        one_means=meanings.pop(),
    )
    return Trace(pools_of(known), trace.available, trace.tick_s, trace.start_utc_s)
