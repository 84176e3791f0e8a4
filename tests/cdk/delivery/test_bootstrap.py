"""The bootstrap's state moves into the bucket it made, and whoever comes later finds it there; what destroy looks at first."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from typing import Any

import boto3
import pytest

from cdk.config import load_environment
from cdk.delivery import emulator
from cdk.delivery.bootstrap import BACKEND, is_ready, make_ready
from cdk.delivery.failures import InfrastructureError
from cdk.delivery.layout import Layout
from cdk.delivery.leftovers import require_nothing_left
from cdk.delivery.planning import Session
from cdk.delivery.terraform import find_program
from cdk.wiring import StackWiring
from platform_lib.home import open_home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
KEY = "local/bootstrap.tfstate"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    home = open_home(tmp_path_factory.mktemp("bootstrap") / "home")
    environment = load_environment("local", today=date(2026, 11, 30))
    wiring = {"karpenter-us-east-1": StackWiring(account="555555555555", region="us-east-1", takes=(), gives=())}
    yield Session(environment, Layout(home, "local"), find_program(), emulator.start(home).environment(), wiring)
    emulator.stop(home)


def client(session: Session, service: str, account: str) -> Any:
    url = session.variables["AWS_ENDPOINT_URL"]
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    sts = boto3.client("sts", endpoint_url=url, **keys)
    given = sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/tester", RoleSessionName="tester")["Credentials"]
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )


def test_its_state_moves_into_its_bucket_and_another_machine_finds_it(session: Session) -> None:
    folder = session.layout.work("bootstrap")
    assert not is_ready(folder)
    planned = make_ready(session, apply=False)
    assert planned.create > 5
    assert make_ready(session, apply=True).create == planned.create
    assert is_ready(folder)
    s3 = client(session, "s3", "111111111111")
    bucket = session.environment.state.bucket
    assert b"aws_s3_bucket" in s3.get_object(Bucket=bucket, Key=KEY)["Body"].read()
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1  # the lock is given back

    shutil.rmtree(folder)
    assert not make_ready(session, apply=False).any
    assert (folder / BACKEND).is_file()

    # Without it, another machine would make everything a second time.
    s3.delete_object(Bucket=bucket, Key=KEY)
    shutil.rmtree(folder)
    assert make_ready(session, apply=False).create == planned.create


def test_nodes_that_nobody_would_end_stop_a_destroy(session: Session) -> None:
    require_nothing_left(session)
    ec2 = client(session, "ec2", "555555555555")
    image = ec2.describe_images(MaxResults=5)["Images"][0]["ImageId"]
    tags = {"karpenter.sh/nodepool": "cpu", "kubernetes.io/cluster/drivetrain-local-us-east-1": "owned"}
    made = ec2.run_instances(
        ImageId=image,
        MinCount=2,
        MaxCount=2,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    )["Instances"]
    with pytest.raises(InfrastructureError, match="2 nodes that Karpenter made still run") as refused:
        require_nothing_left(session)
    assert made[0]["InstanceId"] in str(refused.value)
    ec2.terminate_instances(InstanceIds=[item["InstanceId"] for item in made])
    require_nothing_left(session)
