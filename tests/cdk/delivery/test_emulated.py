"""Real Terraform against the emulator: planned on a fresh account, applied, changed outside, killed, destroyed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from cdk.delivery import emulator
from cdk.delivery.failures import InfrastructureError
from platform_lib.home import Home, open_home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ONLY = ["--only", "network-data-us-east-1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = open_home(tmp_path_factory.mktemp("infra") / "home")
    yield made
    emulator.stop(made)


def infra(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "platform_lib.cli", "infra", *words, "--home", str(home.root), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answer(done: subprocess.CompletedProcess[str], *, status: int = 0) -> dict[str, Any]:
    assert done.returncode == status, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def client(home: Home, service: str, account: str) -> Any:
    server = emulator.running(home)
    assert server is not None
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    sts = boto3.client("sts", endpoint_url=server.url, **keys)
    given = sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/tester", RoleSessionName="tester")["Credentials"]
    return boto3.client(
        service,
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )


def locks(home: Home) -> list[str]:
    s3 = client(home, "s3", "111111111111")
    found = s3.list_objects_v2(Bucket="drivetrain-local-state").get("Contents", [])
    return [item["Key"] for item in found if item["Key"].endswith(".tflock")]


def test_the_whole_way(home: Home) -> None:
    looked_at = answer(infra(home, "plan", "--read-only", *ONLY))
    fresh = looked_at["stacks"]
    assert looked_at["partial"].startswith("partial: 2 of ")
    assert looked_at["partial"].endswith('STACK="network-data-us-east-1"')
    # What was looked at in part is not applied as a whole.
    refused = answer(infra(home, "apply"), status=1)["error"]
    assert "the plan is of 2 of" in refused["what"]
    assert set(fresh) == {"network-core-us-east-1", "network-data-us-east-1"}
    assert fresh["network-data-us-east-1"]["provisional"]  # it takes the bucket that is not there yet
    assert all(item["create"] > 5 for item in fresh.values())

    # Killed in the middle of an apply, the same command finishes, and no lock is left.
    command = [sys.executable, "-m", "platform_lib.cli", "infra", "apply", *ONLY, "--home", str(home.root)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    journal = home.root / "infra" / "local" / "journal.jsonl"
    deadline_s = time.monotonic() + 240
    while not journal.is_file() and time.monotonic() < deadline_s:
        time.sleep(0.2)
    time.sleep(6.0)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    applied = answer(infra(home, "apply", *ONLY))["stacks"]
    assert set(applied) == set(fresh)
    assert locks(home) == []

    second = answer(infra(home, "plan", *ONLY))["stacks"]
    assert [item[word] for item in second.values() for word in ("create", "update", "replace", "delete")] == [0] * 8
    assert answer(infra(home, "drift", "--read-only", *ONLY))["drifted"] == []

    ec2 = client(home, "ec2", "444444444444")
    (vpc,) = [item for item in ec2.describe_vpcs()["Vpcs"] if item["CidrBlock"] == "10.17.0.0/20"]
    ec2.create_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "Name", "Value": "by hand"}])
    (drifted,) = answer(infra(home, "drift", *ONLY), status=3)["drifted"]
    assert drifted["address"] == "aws_vpc.vpc"
    assert drifted["attributes"]["tags"]["is"]["Name"] == "by hand"

    # Somebody else's lock is named, and nothing is done; a dead one's of this machine is taken away.
    key = "local/network-core-us-east-1.tfstate.tflock"
    lock = {"ID": "0c5f7a1e-1111-2222-3333-444455556666", "Who": "ci@elsewhere", "Created": "2026-11-30T02:03:04.5Z"}
    s3 = client(home, "s3", "111111111111")
    s3.put_object(Bucket="drivetrain-local-state", Key=key, Body=json.dumps(lock).encode())
    refused = answer(infra(home, "apply", *ONLY), status=1)["error"]
    assert refused["what"] == "its state is locked by ci@elsewhere since 2026-11-30 02:03:04 UTC"
    assert "infra unlock --stack network-core-us-east-1" in refused["remedy"]
    lock["Who"] = f"root@{socket.gethostname()}"
    s3.put_object(Bucket="drivetrain-local-state", Key=key, Body=json.dumps(lock).encode())
    answer(infra(home, "apply", *ONLY))
    assert locks(home) == []

    gone = answer(infra(home, "destroy", *ONLY))["stacks"]
    assert list(gone) == ["network-data-us-east-1", "network-core-us-east-1"]
    assert [item["CidrBlock"] for item in ec2.describe_vpcs()["Vpcs"] if item["CidrBlock"] == "10.17.0.0/20"] == []


def test_a_taken_port_is_said(home: Home, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InfrastructureError, match=f"port {port} is taken"):
            emulator.start(open_home(tmp_path / "other"), port=port)


def test_an_emulator_that_was_killed_is_started_anew(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    first = emulator.start(home)
    try:
        assert emulator.start(home) == first
        os.kill(first.pid, signal.SIGKILL)
        while emulator.running(home) is not None:
            time.sleep(0.05)
        second = emulator.start(home)
        assert second.pid != first.pid
        assert emulator.running(home) == second
    finally:
        emulator.stop(home)
    assert emulator.running(home) is None
