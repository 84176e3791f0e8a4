"""What commands and programs make objects from: an environment, the tag of images, what Terraform gave."""

from __future__ import annotations

import json
from datetime import date
from importlib import metadata
from pathlib import Path

from cdk.cluster.catalogue import objects_of
from cdk.cluster.coherence import incoherences
from cdk.cluster.kinds.base import Manifest
from cdk.cluster.place import Outputs, Place, region_named
from cdk.cluster.ray import job_form
from cdk.cluster.spot_order import SpotOrder, read_spot_order
from cdk.config import ENVIRONMENTS, load_environment
from platform_lib.errors import ConfigError

_DATABASE_ENDPOINT = "database_endpoint"
_DATABASE_SECRET = "database_secret_arn"  # noqa: S105 - an output's name


def default_image_tag() -> str:
    """Return the tag of this release's images."""
    return f"v{metadata.version('drivetrain')}"


def read_outputs(path: Path) -> Outputs:
    """Read what Terraform gave: `terraform output -json` of the stack `metadata`.

    Raises:
        ConfigError: No such file, no JSON, or an output is missing.
    """
    again = "write it with `terraform output -json` in the stack `metadata`"
    try:
        found = json.loads(path.read_bytes())
        values = {name: found[name]["value"] for name in (_DATABASE_ENDPOINT, _DATABASE_SECRET)}
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=path, remedy=again) from error
    except KeyError as error:
        raise ConfigError(f"has no output {error}", where=path, remedy=again) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"is no output of Terraform: {error}", where=path, remedy=again) from error
    # Host and port, of which the port is PostgreSQL's.
    return Outputs(str(values[_DATABASE_ENDPOINT]).partition(":")[0], str(values[_DATABASE_SECRET]))


def read_places(
    name: str,
    *,
    today: date,
    region: str | None = None,
    image_tag: str | None = None,
    outputs: Path | None = None,
    folder: Path = ENVIRONMENTS,
) -> list[Place]:
    """Read the clusters of an environment: one, or one for each region.

    Raises:
        ConfigError: The environment, the region or the outputs are refused.
    """
    environment = load_environment(name, today=today, folder=folder)
    regions = environment.regions if region is None else (region_named(environment, region),)
    given = Outputs() if outputs is None else read_outputs(outputs)
    return [Place(environment, item, image_tag or default_image_tag(), given) for item in regions]


def coherent_objects(place: Place, order: Path | None = None) -> tuple[Manifest, ...]:
    """Return a cluster's objects, held against each other and against the pools.

    Args:
        place: The cluster.
        order: What `drivetrain cost spot` wrote; the environment's order by default.

    Raises:
        ConfigError: The environment or the order cannot be, or objects do not fit together.
    """
    environment = place.environment
    known = SpotOrder() if order is None else read_spot_order(order, environment.environment, environment.pools)
    objects = objects_of(place, known)
    found = incoherences([*objects, *(job_form(place, item) for item in place.work_pools)], place.pools)
    if found:
        raise ConfigError(
            "objects do not fit together:\n" + "\n".join(f"  {item}" for item in found),
            where=f"cluster {place.name}",
            remedy="mend cdk/cluster, or the pools of the environment",
        )
    return objects
