"""What clusters made themselves: nobody ends it once the cluster is gone, and networks cannot be deleted around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cdk.delivery.failures import InfrastructureError, explain
from cdk.delivery.planning import Session
from cdk.model import Account

_ALIVE = ["pending", "running", "stopping", "stopped"]
_SHOWN = 5


def require_nothing_left(session: Session) -> None:
    """Refuse to take clusters away while nodes that Karpenter made still run.

    Raises:
        InfrastructureError: Some do, or AWS does not say.
    """
    environment = session.environment
    for region in environment.regions:
        if f"karpenter-{region.name}" not in session.wiring:
            continue
        cluster = region.existing_cluster_name or f"drivetrain-{environment.environment}-{region.name}"
        try:
            found = list(_nodes(_client(session, region.name), cluster))
        except (BotoCoreError, ClientError) as error:
            raise explain(f"Error: {error}", stack=f"karpenter-{region.name}", action="destroy") from error
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise InfrastructureError(
                f"{len(found)} nodes that Karpenter made still run, and would run and cost for ever: "
                f"{', '.join(found[:_SHOWN])}{more}",
                where=f"cluster {cluster}",
                remedy="delete the cluster's node pools (kubectl delete nodepools --all), wait, and destroy again",
            )


def _nodes(client: Any, cluster: str) -> Iterator[str]:
    pages = client.get_paginator("describe_instances").paginate(
        Filters=[
            {"Name": "tag-key", "Values": ["karpenter.sh/nodepool"]},
            {"Name": f"tag:kubernetes.io/cluster/{cluster}", "Values": ["owned"]},
            {"Name": "instance-state-name", "Values": _ALIVE},
        ]
    )
    for page in pages:
        for reservation in page["Reservations"]:
            yield from (item["InstanceId"] for item in reservation["Instances"])


def _client(session: Session, region: str) -> Any:
    environment = session.environment
    place: Mapping[str, Any] = {
        "endpoint_url": session.variables.get("AWS_ENDPOINT_URL"),
        "region_name": region,
        "config": Config(retries={"max_attempts": 3}, connect_timeout=10),
    }
    sts = boto3.client(
        "sts",
        aws_access_key_id=session.variables.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=session.variables.get("AWS_SECRET_ACCESS_KEY"),
        **place,
    )
    role = f"arn:aws:iam::{environment.accounts.of(Account.ML)}:role/{session.role}"
    given = sts.assume_role(RoleArn=role, RoleSessionName="drivetrain")["Credentials"]
    return boto3.client(
        "ec2",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        **place,
    )
