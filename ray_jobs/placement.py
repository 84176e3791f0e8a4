"""Where in a cluster of different nodes a task runs: on those that announce that they can do it."""

from __future__ import annotations

import ray

from platform_lib.abilities import ABILITIES, SHARE, Ability, offer
from platform_lib.errors import MissingPartError


def resources_for(ability: Ability) -> dict[str, float]:
    """Return what a task asks of Ray, besides CPUs, to land on a node that can do its work.

    A Ray whose nodes announce no ability at all, as the local one, runs everything everywhere.

    Raises:
        MissingPartError: Nodes announce what they can do, and none can do this: Ray would wait for such a node for ever.
    """
    announced = ray.cluster_resources()
    there = [name for name in ABILITIES if name in announced or offer(name) in announced]
    if not there:
        return {}
    if ability in there:
        return {ability: SHARE}
    raise MissingPartError(
        f"no node of this cluster announces '{ability}'; its nodes announce {', '.join(there)}",
        where="Ray's cluster",
        remedy="run the command outside the cluster, or start a node that can: "
        f"ray start --address HEAD --resources='{{\"{ability}\": 1}}'",
    )
