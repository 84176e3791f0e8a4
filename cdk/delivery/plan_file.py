"""`plan.json`: what every stack would change, the one file that policy, danger, cost and approval read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from cdk.model import StandIn, Strict
from platform_lib.errors import ConfigError
from platform_lib.storage import publish_bytes


class StackPlan(Strict):
    """What one stack would change.

    Attributes:
        account: Its account's id.
        region: Its region.
        depends_on: The stacks it takes values from.
        provisional: Whether stand-ins were used for values of stacks that are not applied yet.
        key: Digest of what decided the plan: Terraform JSON, inputs, state, program.
        inputs: What it was planned with, by variable.
        changes: How many resources are made, changed, replaced, deleted.
        terraform: Terraform's own JSON of the plan.
        not_emulated: The same of what an emulator lacks of the stack: judged, and never applied.
    """

    account: str
    region: str
    depends_on: tuple[str, ...]
    provisional: bool
    key: str
    inputs: dict[str, StandIn]
    changes: Changes
    terraform: dict[str, Any]
    not_emulated: dict[str, Any] | None = None


class Changes(Strict):
    """Resources by what happens to them."""

    create: int = 0
    update: int = 0
    replace: int = 0
    delete: int = 0

    @property
    def any(self) -> bool:
        """Whether anything changes."""
        return bool(self.create or self.update or self.replace or self.delete)


class Plan(Strict):
    """Every stack's plan.

    Attributes:
        format: Of this file.
        environment: The environment's name.
        environment_sha256: Digest of its resolved content.
        code_sha256: Digest of the code that synthesised it.
        program: `terraform 1.11.4`.
        destroy: Whether this plan takes its stacks away.
        left_out: The environment's stacks that this plan is not about; empty for a plan of everything.
        stacks: By name.
    """

    format: Literal["drivetrain-plan/1"] = "drivetrain-plan/1"
    environment: str
    environment_sha256: str
    code_sha256: str
    program: str
    destroy: bool = False
    left_out: tuple[str, ...] = ()
    stacks: dict[str, StackPlan]

    @property
    def sha256(self) -> str:
        """Digest of all that this plan says, but for the moment it was made: policy and cost read more of it than changes."""
        document = self.model_dump(mode="json")
        for stack in document["stacks"].values():
            for part in ("terraform", "not_emulated"):
                (stack[part] or {}).pop("timestamp", None)
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def count_changes(terraform: dict[str, Any]) -> Changes:
    """Count what a plan in Terraform's JSON changes."""
    counts = {"create": 0, "update": 0, "replace": 0, "delete": 0}
    for change in terraform.get("resource_changes", ()):
        actions = change["change"]["actions"]
        if "create" in actions and "delete" in actions:
            counts["replace"] += 1
        elif actions[0] in counts:
            counts[actions[0]] += 1
    return Changes(**counts)


def write_plan(path: Path, plan: Plan) -> None:
    """Publish a plan."""
    publish_bytes(path, plan.model_dump_json().encode())


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: There is none, or it is none of this release's.
    """
    try:
        plan = Plan.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError("there is no plan", where=path, remedy="make one: make plan") from error
    except (OSError, ValidationError) as error:
        raise ConfigError("is no plan of this release", where=path, remedy="plan again: make plan") from error
    for name, stack in plan.stacks.items():
        if not all(_says_what_changes(part) for part in (stack.terraform, stack.not_emulated) if part is not None):
            raise ConfigError(
                f"what it says of stack '{name}' is no plan of Terraform's", where=path, remedy="plan again: make plan"
            )
    return plan


def _says_what_changes(terraform: dict[str, Any]) -> bool:
    """Whether a document has what everything that reads a plan takes for granted."""
    changes = terraform.get("resource_changes", [] if "planned_values" in terraform else None)
    try:
        return isinstance(changes, list) and all(
            isinstance(item["address"], str)
            and isinstance(item["type"], str)
            and isinstance(item["change"]["actions"], list)
            and item["change"]["actions"]
            for item in changes
        )
    except (KeyError, TypeError):
        return False


StackPlan.model_rebuild()
