"""Plans what an emulated environment cannot apply: it is validated and held against the policies as any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cdk.delivery.planning import Session, digest
from cdk.delivery.terraform import INPUTS, Terraform
from cdk.wiring import StandIn
from platform_lib.storage import publish_bytes


def plan_not_emulated(session: Session, stack: str, inputs: Mapping[str, StandIn]) -> dict[str, Any] | None:
    """Return the plan of what the emulator lacks of a stack, in Terraform's JSON; None where it lacks nothing.

    It has no state, so that everything in it is always to be made; and nothing applies it.

    Args:
        session: The environment.
        stack: Its name.
        inputs: Values of the stack's variables.
    """
    source = session.layout.synthesis / "not_emulated" / stack / "cdk.tf.json"
    if not source.is_file():
        return None
    content = source.read_bytes()
    declared = json.loads(content).get("variable", {})
    given = {name: value for name, value in inputs.items() if name in declared}
    key = digest([content.decode(), given, session.program.version])
    folder = session.layout.work(f"{stack}.not-emulated")
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "plan.json"
    try:
        found = json.loads(kept.read_bytes())
        if found["key"] == key:
            return dict(found["terraform"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never planned, or by another release
    publish_bytes(folder / "cdk.tf.json", content)
    publish_bytes(folder / INPUTS, json.dumps(given).encode())
    terraform = Terraform(session.program, folder, session.variables)
    terraform.init()
    terraform.plan(folder / "plan.bin")
    document = terraform.show(folder / "plan.bin")
    publish_bytes(kept, json.dumps({"key": key, "terraform": document}).encode())
    return document
