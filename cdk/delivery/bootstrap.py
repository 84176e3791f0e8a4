"""Applies `terraform/bootstrap`: the bucket and key of state, and who may deploy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from cdk.delivery.layout import Layout
from cdk.delivery.plan_file import Changes, count_changes
from cdk.delivery.planning import Session
from cdk.delivery.terraform import Program, Terraform
from cdk.model import Account, Environment
from platform_lib.errors import ConfigError
from platform_lib.storage import publish_bytes

_SOURCE = Path(__file__).resolve().parents[2] / "terraform" / "bootstrap"


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
    """Plan the bootstrap of an environment, and apply it if asked; return what it changes."""
    terraform = bootstrap_folder(session.environment, session.layout, session.variables, session.program)
    terraform.init()
    plan = terraform.folder / "plan.bin"
    terraform.plan(plan)
    changes = count_changes(terraform.show(plan))
    if apply:
        terraform.apply(plan)
    return changes


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
        # An emulator lets anybody assume any role; at first there is none in a real account.
        "bootstrap_role_arn": f"arn:aws:iam::{accounts.management}:role/{environment.deploy_role}"
        if environment.emulated
        else "",
    }
