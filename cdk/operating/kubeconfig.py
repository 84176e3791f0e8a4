"""A kubeconfig for a person: who they are is asked of AWS each time, no token lies in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cdk.delivery.failures import InfrastructureError, explain
from cdk.model import Environment, Region
from platform_lib.errors import ConfigError
from platform_lib.storage import publish_file


class Person(StrEnum):
    """What somebody may do in a cluster; the environment's file says which roles that are."""

    ADMIN = "admin"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Access:
    """Who comes into which cluster.

    Attributes:
        cluster: The cluster's name.
        region: Its region.
        account: Its account.
        role_arn: The role that enters.
    """

    cluster: str
    region: str
    account: str
    role_arn: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a cluster answers.

    Attributes:
        url: Its API server.
        certificate: Its certificate authority, base64.
        private: Whether it answers from inside the network alone.
        already: Whether the caller has the role already, and need not take it.
    """

    url: str
    certificate: str
    private: bool
    already: bool


def access_of(environment: Environment, person: Person, *, role: str | None, region: str | None) -> Access:
    """Return who comes into which cluster.

    Args:
        environment: Whose cluster.
        person: What they may do there.
        role: The role's name, where several may do that.
        region: The cluster's region; the main one by default.

    Raises:
        ConfigError: The environment has no such region or role, or several and none is named.
    """
    where = f"environment {environment.environment}"
    place = _region_of(environment, region, where)
    kubernetes = environment.kubernetes
    arns = kubernetes.admin_role_arns if person is Person.ADMIN else kubernetes.viewer_role_arns
    key = f"kubernetes.{person.value}_role_arns"
    if not arns:
        raise ConfigError(f"names no role for a {person.value}", where=where, remedy=f"add one to {key}, and apply")
    names = {arn.rpartition("/")[2]: arn for arn in arns}
    if role is not None and role not in names:
        raise ConfigError(
            f"'{role}' is no role of a {person.value}", where=where, remedy=f"take one of {', '.join(names)}"
        )
    if role is None and len(names) > 1:
        raise ConfigError(
            f"several roles are a {person.value}'s", where=where, remedy=f"name yours: --role {' or '.join(names)}"
        )
    cluster = place.existing_cluster_name or f"drivetrain-{environment.environment}-{place.name}"
    return Access(
        cluster=cluster,
        region=place.name,
        account=environment.accounts.ml,
        role_arn=names[role] if role is not None else next(iter(names.values())),
    )


def _region_of(environment: Environment, region: str | None, where: str) -> Region:
    for item in environment.regions:
        if region in {None, item.name}:
            return item
    raise ConfigError(
        f"runs no cluster in '{region}'",
        where=where,
        remedy=f"take one of {', '.join(item.name for item in environment.regions)}",
    )


def find_endpoint(access: Access, variables: Mapping[str, str]) -> Endpoint:
    """Ask AWS where the cluster answers.

    Args:
        access: Who asks for which.
        variables: Where an emulator is, and its credentials; empty for AWS.

    Raises:
        InfrastructureError: There is no such cluster, it is not ready, or the caller may not ask.
    """
    where = f"cluster {access.cluster}, account {access.account}, {access.region}"
    try:
        already, keys = _role_keys(access, variables)
        client = boto3.Session().client("eks", region_name=access.region, **_settings(variables), **keys)
        found = client.describe_cluster(name=access.cluster)["cluster"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise InfrastructureError(
                "there is no such cluster",
                where=where,
                remedy="apply the environment first, or check --env and --region",
            ) from error
        raise _refusal(error, access, where) from error
    except BotoCoreError as error:
        raise _refusal(error, access, where) from error
    if found["status"] not in {"ACTIVE", "UPDATING"}:
        raise InfrastructureError(f"it is {found['status']}", where=where, remedy="wait until it is active")
    return Endpoint(
        url=found["endpoint"],
        certificate=found["certificateAuthority"]["data"],
        private=not found.get("resourcesVpcConfig", {}).get("endpointPublicAccess", False),
        already=already,
    )


def _role_keys(access: Access, variables: Mapping[str, str]) -> tuple[bool, dict[str, str]]:
    own = {
        "aws_access_key_id": variables.get("AWS_ACCESS_KEY_ID"),
        "aws_secret_access_key": variables.get("AWS_SECRET_ACCESS_KEY"),
    }
    own = {name: value for name, value in own.items() if value}
    sts = boto3.Session().client("sts", region_name=access.region, **_settings(variables), **own)
    name = access.role_arn.rpartition("/")[2]
    caller = sts.get_caller_identity()
    if caller["Account"] == access.account and f":assumed-role/{name}/" in caller["Arn"]:
        return True, {key: value for key, value in own.items() if value}
    given = sts.assume_role(RoleArn=access.role_arn, RoleSessionName="drivetrain-kubeconfig")["Credentials"]
    return False, {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


def _settings(variables: Mapping[str, str]) -> dict[str, Any]:
    return {
        "endpoint_url": variables.get("AWS_ENDPOINT_URL"),
        "config": Config(retries={"max_attempts": 2}, connect_timeout=5, read_timeout=20),
    }


def _refusal(error: Exception, access: Access, where: str) -> InfrastructureError:
    text = str(error)
    if "Unable to locate credentials" in text:
        text = "No valid credential sources"
    found = explain(f"Error: {text}", stack=access.cluster, action="kubeconfig")
    if "AssumeRole" in text and "xpired" not in text:
        return InfrastructureError(
            f"you may not take the role {access.role_arn}",
            where=where,
            remedy="sign in as somebody its trust names, or ask who owns the role",
        )
    return InfrastructureError(found.what, where=where, remedy=found.remedy)


def document_of(access: Access, endpoint: Endpoint, profile: str | None) -> dict[str, Any]:
    """Return the kubeconfig.

    Args:
        access: Who comes into which cluster.
        endpoint: Where it answers.
        profile: The AWS profile by which its owner signs in; None leaves that to the shell.
    """
    arguments = ["eks", "get-token", "--cluster-name", access.cluster, "--region", access.region, "--output", "json"]
    if not endpoint.already:
        arguments += ["--role-arn", access.role_arn]
    name = f"{access.cluster}-{access.role_arn.rpartition('/')[2]}"
    program: dict[str, Any] = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": arguments,
        "env": None if profile is None else [{"name": "AWS_PROFILE", "value": profile}],
        "installHint": "install the AWS command line, version 2",
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": False,
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [
            {
                "name": access.cluster,
                "cluster": {"server": endpoint.url, "certificate-authority-data": endpoint.certificate},
            }
        ],
        "users": [{"name": name, "user": {"exec": program}}],
        "contexts": [{"name": name, "context": {"cluster": access.cluster, "user": name}}],
        "current-context": name,
    }


def write_kubeconfig(path: Path, document: Mapping[str, Any]) -> None:
    """Publish a kubeconfig that its owner alone can read."""
    with publish_file(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.chmod(0o600)
        temporary.write_text(yaml.safe_dump(dict(document), sort_keys=False))
