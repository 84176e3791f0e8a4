"""Whether AWS has a pool's instance types in the pool's zones: asked at plan time, not found out in the middle of an apply.

Source: EC2, DescribeInstanceTypeOfferings. Which types a zone has differs by zone and by account, whose letters for zones are
its own: no list of them is right for long.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from cdktn import Postcondition, TerraformResourceLifecycle
from cdktn_provider_aws.data_aws_ec2_instance_type_offerings import (
    DataAwsEc2InstanceTypeOfferings,
    DataAwsEc2InstanceTypeOfferingsFilter,
)

from cdk.model import Pool
from cdk.stacks.base import PlatformStack


def require_offered(stack: PlatformStack, pool: Pool, zones: Sequence[str]) -> None:
    """Let the plan fail where a zone that the pool names has none of its types, or a type is in none of the region's zones.

    Args:
        stack: The stack of the pool's account and region.
        pool: The pool.
        zones: The zones of its region.
    """
    named = pool.zones or tuple(zones)
    name = f"offers-{pool.name}"
    # Nodes of a pool that names its zones must be possible in each of them; else every type somewhere.
    wanted, found = (named, "locations") if pool.zones else (pool.instance_types, "instance_types")
    missing = f"setsubtract({json.dumps(sorted(wanted))}, self.{found})"
    said = (
        f'have none of {", ".join(pool.instance_types)}: ${{join(", ", {missing})}}'
        if pool.zones
        else f'have no ${{join(", ", {missing})}}: {", ".join(named)}'
    )
    DataAwsEc2InstanceTypeOfferings(
        stack,
        name,
        location_type="availability-zone",
        filter=[
            DataAwsEc2InstanceTypeOfferingsFilter(name="instance-type", values=sorted(pool.instance_types)),
            DataAwsEc2InstanceTypeOfferingsFilter(name="location", values=sorted(named)),
        ],
        lifecycle=TerraformResourceLifecycle(
            postcondition=[
                Postcondition(
                    condition=f"${{length({missing}) == 0}}",
                    error_message=f"Not offered: zones of pool {pool.name} {said}.",
                )
            ]
        ),
    )
