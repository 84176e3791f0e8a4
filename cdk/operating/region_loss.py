"""What is left of an environment when a whole region is gone, from its own file. Pure; on paper, never exercised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from cdk.cluster.shapes import largest_shape
from cdk.model import Environment, Region
from platform_lib.errors import ConfigError

# What S3 promises with replication time control, which `cdk.blocks.replication` asks for.
_REPLICATION_MIN = 15


class Fate(StrEnum):
    """What becomes of a part."""

    KEPT = "kept"
    BACK = "back after a restore"
    MADE_ANEW = "made anew"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the environment.

    Attributes:
        name: Which.
        fate: What becomes of it.
        lost_min: Minutes of work lost at most; None where that is not known, or nothing is left to count.
        back_min: Minutes until it is back at most, as promised; 0: at once; None: nothing promises that.
        how: By what.
    """

    name: str
    fate: Fate
    lost_min: int | None
    back_min: int | None
    how: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one region's pools can grow to.

    Attributes:
        region: Which.
        nodes: Nodes at most.
        accelerators: GPUs and cards at most.
        gone: Whether it is the lost one.
    """

    region: str
    nodes: int
    accelerators: int
    gone: bool


@dataclass(frozen=True, slots=True)
class Loss:
    """A lost region.

    Attributes:
        region: Which.
        parts: What becomes of each part.
        capacity: What pools there are, by region.
    """

    region: str
    parts: tuple[Part, ...]
    capacity: tuple[Capacity, ...]

    @property
    def unprotected(self) -> tuple[str, ...]:
        """Parts that are gone for good."""
        return tuple(item.name for item in self.parts if item.fate is Fate.LOST)


def lose(environment: Environment, region: str) -> Loss:
    """Return what is left without a region.

    Raises:
        ConfigError: The environment has nothing in that region.
    """
    known = {item.name for item in environment.regions} | {environment.state.region, environment.data.replica_region}
    if region not in known:
        raise ConfigError(
            f"has nothing in '{region}'",
            where=f"environment {environment.environment}",
            remedy=f"take one of {', '.join(sorted(known))}",
        )
    parts = (*_data(environment, region), *_database(environment, region), *_around(environment, region))
    return Loss(region, parts, tuple(_capacity(environment, item, region) for item in environment.regions))


def _data(environment: Environment, region: str) -> Iterator[Part]:
    here = environment.main_region.name
    for data, bucket in environment.data.buckets.items():
        name = f"bucket {data.value}"
        if here != region:
            yield Part(name, Fate.KEPT, 0, 0, f"it lies in {here}")
        elif bucket.replicate and environment.data.replica_region != region:
            how = f"its copy in {environment.data.replica_region}, behind by {_REPLICATION_MIN} minutes at most"
            yield Part(name, Fate.KEPT, _REPLICATION_MIN, 0, how)
        else:
            yield Part(name, Fate.LOST, None, None, "no copy elsewhere (replicate: false)")


def _database(environment: Environment, region: str) -> Iterator[Part]:
    here, database = environment.main_region.name, environment.database
    if here != region:
        yield Part("metadata database", Fate.KEPT, 0, 0, f"it runs in {here}")
        return
    if database.backup_region == region:
        yield Part("metadata database", Fate.LOST, None, None, "its backups lie in the same region")
        return
    tier = environment.backups[database.backup_tier]
    yield Part(
        "metadata database",
        Fate.BACK,
        tier.rpo_hours * 60,
        tier.rto_hours * 60,
        f"its automated backups in {database.backup_region}; promised by tier '{database.backup_tier}', not measured",
    )


def _around(environment: Environment, region: str) -> Iterator[Part]:
    others = [item.name for item in environment.regions if item.name != region]
    clusters = [item.name for item in environment.regions if item.name == region]
    if clusters:
        how = f"jobs are submitted again in {', '.join(others)}" if others else "no cluster runs elsewhere"
        yield Part(f"cluster {region}", Fate.MADE_ANEW, None, None, f"made from code; meanwhile {how}")
        if others:
            how = f"copied to {', '.join(others)} after each push; how far behind, nothing promises"
            yield Part("images", Fate.KEPT, None, 0, how)
        else:
            yield Part("images", Fate.MADE_ANEW, None, None, "built and signed anew from code")
    if environment.main_region.name == region:
        how = "verifying needs the public half alone; a new key signs, and vehicles have to be told it"
        yield Part("key that signs releases", Fate.LOST, None, None, how)
    if environment.state.region == region:
        how = "no copy elsewhere: what still runs has to be imported, stack by stack"
        yield Part("terraform's state", Fate.LOST, None, None, how)
    else:
        yield Part("terraform's state", Fate.KEPT, 0, 0, f"it lies in {environment.state.region}")


def _capacity(environment: Environment, region: Region, lost: str) -> Capacity:
    pools = [item for item in environment.pools if environment.region_of(item) is region]
    return Capacity(
        region=region.name,
        nodes=sum(item.maximum for item in pools),
        accelerators=sum(item.maximum * largest_shape(item).accelerators for item in pools),
        gone=region.name == lost,
    )
