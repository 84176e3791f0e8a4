"""Kubeconfigs: by role, readable by their owner alone, refused in one sentence; against the emulator's own clusters."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from cdk.config import load_environment
from cdk.delivery import emulator
from cdk.delivery.failures import InfrastructureError
from cdk.operating.kubeconfig import (
    Access,
    Endpoint,
    Person,
    access_of,
    document_of,
    find_endpoint,
    write_kubeconfig,
)
from platform_lib.errors import ConfigError
from platform_lib.home import Home, open_home

TODAY = date(2026, 11, 30)
PROD = load_environment("prod", today=TODAY)
DEV = load_environment("dev", today=TODAY)
ENDPOINT = Endpoint("https://api.example", "Y2E=", private=True, already=False)


def test_a_person_comes_in_by_the_role_of_the_environments_file() -> None:
    found = access_of(DEV, Person.ADMIN, role=None, region=None)
    assert found.role_arn == "arn:aws:iam::505050505050:role/platform-admin"
    assert (found.cluster, found.region, found.account) == ("drivetrain-dev-us-east-1", "us-east-1", "505050505050")
    west = access_of(PROD, Person.VIEWER, role="support", region="us-west-2")
    assert west.cluster == "drivetrain-prod-us-west-2"


@pytest.mark.parametrize(
    ("person", "role", "region", "what"),
    [
        (Person.VIEWER, None, None, "several roles are a viewer's"),
        (Person.VIEWER, "platform-admin", None, "'platform-admin' is no role of a viewer"),
        (Person.ADMIN, None, "eu-west-1", "runs no cluster in 'eu-west-1'"),
    ],
)
def test_what_is_not_in_the_file_is_refused(person: Person, role: str | None, region: str | None, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        access_of(PROD, person, role=role, region=region)


def test_it_holds_no_token_and_its_owner_alone_can_read_it(tmp_path: Path) -> None:
    access = access_of(DEV, Person.VIEWER, role=None, region=None)
    path = tmp_path / "kubeconfig"
    path.write_text("old")
    path.chmod(0o644)
    write_kubeconfig(path, document_of(access, ENDPOINT, "dev"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (user,) = yaml.safe_load(path.read_text())["users"]
    assert set(user["user"]) == {"exec"}
    arguments = user["user"]["exec"]["args"]
    assert arguments[-2:] == ["--role-arn", "arn:aws:iam::505050505050:role/ml-engineer"]
    already = document_of(access, Endpoint("https://api", "Y2E=", private=True, already=True), None)
    assert "--role-arn" not in already["users"][0]["user"]["exec"]["args"]


def test_the_kubernetes_client_reads_it_and_asks_the_aws_program_for_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernetes import config

    program = tmp_path / "aws"
    answer = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"%s"}}'
    program.write_text(f"""#!/bin/sh\nprintf '{answer}' "$(echo "$@" | tr ' ' '.')"\n""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, document_of(access_of(DEV, Person.VIEWER, role=None, region=None), ENDPOINT, None))
    client = config.new_client_from_config(str(path))
    assert client.configuration.host == "https://api.example"
    (token,) = client.configuration.api_key.values()
    assert token.startswith("Bearer eks.get-token.--cluster-name.drivetrain-dev-us-east-1.--region.us-east-1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = open_home(tmp_path_factory.mktemp("kube") / "home")
    yield made
    emulator.stop(made)


def kubeconfig(home: Home, *words: str) -> tuple[int, dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "platform_lib.cli",
        "infra",
        "kubeconfig",
        *words,
        "--home",
        str(home.root),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_the_command_finds_the_cluster_or_says_that_there_is_none(home: Home) -> None:
    status, told = kubeconfig(home)
    assert (status, told["error"]["what"]) == (1, "the emulator does not run, so there is no cluster")
    variables = emulator.start(home).environment()
    status, told = kubeconfig(home)
    assert (status, told["error"]["what"]) == (1, "there is no such cluster")
    assert "cluster drivetrain-local-us-east-1, account 555555555555" in told["error"]["where"]

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    url = variables["AWS_ENDPOINT_URL"]
    sts = boto3.client("sts", endpoint_url=url, region_name="us-east-1", **keys)
    given = sts.assume_role(RoleArn="arn:aws:iam::555555555555:role/any", RoleSessionName="tester")["Credentials"]
    eks = boto3.client(
        "eks",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    eks.create_cluster(
        name="drivetrain-local-us-east-1",
        roleArn="arn:aws:iam::555555555555:role/control",
        resourcesVpcConfig={"subnetIds": [], "endpointPublicAccess": False},
    )
    status, told = kubeconfig(home, "--as", "admin")
    assert status == 0
    path = Path(told["kubeconfig"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = yaml.safe_load(path.read_text())
    assert (
        document["clusters"][0]["cluster"]["server"]
        == eks.describe_cluster(name="drivetrain-local-us-east-1")["cluster"]["endpoint"]
    )


def test_an_address_where_nobody_answers_is_one_sentence() -> None:
    access = Access("c", "us-east-1", "555555555555", "arn:aws:iam::555555555555:role/platform-admin")
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t"}
    with pytest.raises(InfrastructureError) as refused:
        find_endpoint(access, nowhere)
    assert "\n" not in refused.value.what
    assert refused.value.remedy


def test_without_credentials_it_says_to_sign_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    access = Access("c", "us-east-1", "555555555555", "arn:aws:iam::555555555555:role/platform-admin")
    with pytest.raises(InfrastructureError, match="there are no AWS credentials"):
        find_endpoint(access, {})
