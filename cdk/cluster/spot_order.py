"""Which pools are tried first: the order that `drivetrain cost spot` finds, or the environment's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from cdk.model import Pool, Strict
from platform_lib.errors import ConfigError

# Karpenter takes weights from 1 to 100 and tries the greatest first.
_GREATEST = 100


class PoolWeight(Strict):
    """A pool's place.

    Attributes:
        name: The pool's.
        weight: 1 to 100; the greatest is tried first.
    """

    name: str
    weight: Annotated[int, Field(ge=1, le=_GREATEST)]


class SpotOrderFile(Strict):
    """What `drivetrain cost spot` writes.

    Attributes:
        environment: Whose pools.
        pools: Their places; a pool that is not named keeps the environment's order, after all that are.
    """

    environment: str
    pools: tuple[PoolWeight, ...]


@dataclass(frozen=True, slots=True)
class SpotOrder:
    """Pools by weight.

    Attributes:
        weights: By pool.
    """

    weights: dict[str, int] = field(default_factory=dict)

    def sorted(self, pools: Sequence[Pool]) -> list[Pool]:
        """Return pools, the first to be tried first; without a file in the environment's order."""
        return sorted(pools, key=lambda item: -self.weights.get(item.name, 0))

    def weight(self, pool: Pool, pools: Sequence[Pool]) -> int:
        """Return a pool's weight, 1 to 100, among others: the first of the order has the greatest."""
        if pool.name in self.weights:
            return self.weights[pool.name]
        least = min((self.weights[item.name] for item in pools if item.name in self.weights), default=_GREATEST + 1)
        after = [item.name for item in pools if item.name not in self.weights].index(pool.name)
        return max(1, least - 1 - after)


def read_spot_order(path: Path, environment: str, pools: Sequence[Pool]) -> SpotOrder:
    """Read the order that `drivetrain cost spot` wrote.

    Raises:
        ConfigError: No such file, it is none, it is another environment's, or it names a pool that this one lacks.
    """
    try:
        found = SpotOrderFile.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}",
            where=path,
            remedy="run `drivetrain cost spot`, or leave --spot-order out",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise ConfigError(f"'{at}': {first['msg']}", where=path, remedy="run `drivetrain cost spot` again") from error
    except ValueError as error:
        raise ConfigError(f"is no JSON: {error}", where=path, remedy="run `drivetrain cost spot` again") from error
    if found.environment != environment:
        raise ConfigError(
            f"is the order of environment '{found.environment}'", where=path, remedy=f"make one for '{environment}'"
        )
    known = {item.name for item in pools}
    for item in found.pools:
        if item.name not in known:
            raise ConfigError(
                f"names pool '{item.name}', which environment '{environment}' has not",
                where=path,
                remedy="give the environment's own names as `node_pool` in the job's file, and run `drivetrain cost spot` again",
            )
    return SpotOrder({item.name: item.weight for item in found.pools})
