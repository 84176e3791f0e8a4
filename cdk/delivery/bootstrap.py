"""Applies `terraform/bootstrap`: the bucket and key of state, and who may deploy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cdk.delivery.failures import InfrastructureError, explain
from cdk.delivery.layout import Layout
from cdk.delivery.plan_file import Changes, count_changes
from cdk.delivery.planning import Session
from cdk.delivery.terraform import Program, Terraform
from cdk.model import Account, Environment
from platform_lib.errors import ConfigError
from platform_lib.storage import publish_bytes

_SOURCE = Path(__file__).resolve().parents[2] / "terraform" / "bootstrap"
# Written once the state lies in the bucket; it overrules nothing while it is not there.
BACKEND = "backend.tf.json"
# Written once an apply came to its end: a killed one leaves a state of half of it.
APPLIED = "applied"


def bootstrap_folder(
    environment: Environment, layout: Layout, variables: Mapping[str, str], program: Program
) -> Terraform:
    """Return Terraform in a folder that holds the bootstrap of this environment, with its variables.

    Raises:
        ConfigError: This installation has no `terraform/` folder.
    """
    if not _SOURCE.is_dir():
        raise ConfigError("is not there", where=_SOURCE, remedy="run this from a checkout of the repository")
    folder = layout.work("bootstrap")
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(_SOURCE.glob("*.tf")):
        shutil.copyfile(path, folder / path.name)
    publish_bytes(folder / "terraform.tfvars.json", json.dumps(_variables(environment), indent=2).encode())
    return Terraform(program, folder, variables)


def make_ready(session: Session, *, apply: bool) -> Changes:
    """Plan the bootstrap of an environment, and apply it if asked; return what it changes.

    Its state begins on disk, because there is no bucket yet, and moves into the bucket once that is there. Whoever comes
    later, on another machine, finds it there.

    Raises:
        InfrastructureError: Terraform fails, or the state is not in the bucket afterwards.
    """
    terraform = bootstrap_folder(session.environment, session.layout, session.variables, session.program)
    backend = terraform.folder / BACKEND
    if _in_bucket(session):
        publish_bytes(backend, json.dumps(_backend(session.environment), indent=2).encode())
    terraform.init()
    plan = terraform.folder / "plan.bin"
    terraform.plan(plan)
    changes = count_changes(terraform.show(plan))
    if apply:
        terraform.apply(plan)
        if not backend.is_file():
            _move(session, terraform)
    return changes


def is_ready(folder: Path) -> bool:
    """Say whether the bootstrap was applied from a folder, to its end."""
    return (folder / BACKEND).is_file() or (folder / APPLIED).is_file()


def _move(session: Session, terraform: Terraform) -> None:
    """Move the state from disk into the bucket; killed in between, the next bootstrap begins with whichever is whole."""
    backend = terraform.folder / BACKEND
    publish_bytes(backend, json.dumps(_backend(session.environment), indent=2).encode())
    try:
        terraform.move_state()
    except InfrastructureError:
        backend.unlink()
        raise
    if not _in_bucket(session):
        backend.unlink()
        raise InfrastructureError(
            "the bootstrap's state was not moved into its bucket",
            where=session.environment.state.bucket,
            remedy=f"keep {terraform.folder / 'terraform.tfstate'}, and run the bootstrap again",
        )


def _backend(environment: Environment) -> dict[str, object]:
    state = environment.state
    settings: dict[str, object] = {
        "bucket": state.bucket,
        "key": f"{environment.environment}/bootstrap.tfstate",
        "region": state.region,
        "encrypt": True,
        "kms_key_id": state.kms_alias,
        "use_lockfile": True,
    }
    role = _bootstrap_role(environment)
    if role:
        settings |= {"assume_role": {"role_arn": role}, "use_path_style": True, "skip_s3_checksum": True}
        settings |= {"skip_credentials_validation": True, "skip_metadata_api_check": True}
    return {"terraform": {"backend": {"s3": settings}}}


def _in_bucket(session: Session) -> bool:
    """Whether the bucket holds the bootstrap's state; without a bucket, or without a way to it, it does not."""
    environment = session.environment
    given = {
        "endpoint_url": session.variables.get("AWS_ENDPOINT_URL"),
        "region_name": environment.state.region,
        "aws_access_key_id": session.variables.get("AWS_ACCESS_KEY_ID"),
        "aws_secret_access_key": session.variables.get("AWS_SECRET_ACCESS_KEY"),
    }
    role = _bootstrap_role(environment)
    try:
        if role:
            keys = boto3.client("sts", **given).assume_role(RoleArn=role, RoleSessionName="drivetrain")["Credentials"]
            given |= {
                "aws_access_key_id": keys["AccessKeyId"],
                "aws_secret_access_key": keys["SecretAccessKey"],
                "aws_session_token": keys["SessionToken"],
            }
        client = boto3.client("s3", **given)
        client.head_object(Bucket=environment.state.bucket, Key=f"{environment.environment}/bootstrap.tfstate")
    except ClientError as error:
        # 403 too: S3 says so of an object that is not there to whoever may not list the bucket. Then Terraform itself says
        # what the caller may not.
        if error.response["Error"]["Code"] in {"404", "NoSuchBucket", "NoSuchKey", "403", "AccessDenied"}:
            return False
        raise explain(f"Error: {error}", stack="bootstrap", action="state") from error
    except BotoCoreError as error:
        raise explain(f"Error: {error}", stack="bootstrap", action="state") from error
    return True


def _bootstrap_role(environment: Environment) -> str:
    """Return the role to assume in the management account: at first there is none in a real one."""
    if not environment.emulated:  # an emulator lets anybody assume any role
        return ""
    return f"arn:aws:iam::{environment.accounts.management}:role/{environment.deploy_role}"


def _variables(environment: Environment) -> dict[str, object]:
    accounts = environment.accounts
    return {
        "environment": environment.environment,
        "management_account_id": accounts.management,
        "account_ids": sorted({accounts.of(item) for item in Account}),
        "shared_account_id": accounts.shared,
        "edge_account_id": accounts.edge,
        "ci_repository": environment.ci_repository or "",
        "state_bucket": environment.state.bucket,
        "state_region": environment.state.region,
        "state_kms_alias": environment.state.kms_alias,
        "deploy_role": environment.deploy_role,
        "owner": environment.tags.owner,
        "cost_center": environment.tags.cost_center,
        "emulated": environment.emulated,
        "bootstrap_role_arn": _bootstrap_role(environment),
    }
