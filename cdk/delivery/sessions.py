"""Opens an environment for a command: read, synthesised, its emulator started where it has one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cdk.config import ENVIRONMENTS, load_environment
from cdk.delivery import emulator
from cdk.delivery.bootstrap import APPLIED, bootstrap_folder, is_ready
from cdk.delivery.layout import Layout
from cdk.delivery.planning import Session
from cdk.delivery.terraform import find_program
from cdk.model import Environment
from cdk.wiring import needed
from platform_lib.home import Home
from platform_lib.storage import publish_bytes

_LOCK_WAIT_S = 5.0


@contextmanager
def open_session(
    home: Home,
    name: str,
    *,
    folder: Path = ENVIRONMENTS,
    port: int | None = None,
    only: Sequence[str] = (),
    read_only: bool = False,
) -> Iterator[Session]:
    """Open an environment, holding its lock, so that no second command works on it at once.

    Args:
        home: Where plans and approvals lie.
        name: The environment's.
        folder: Where environments' files lie.
        port: Where an emulator is to listen; any free port by default.
        only: These stacks and what they take from; all by default.
        read_only: Assume the role that changes nothing.

    Raises:
        ConfigError: The environment is refused.
        HomeBusyError: Another command is at work on it.
        InfrastructureError: The emulator does not start.
    """
    environment = load_environment(name, today=datetime.now(UTC).date(), folder=folder)
    program = find_program()
    layout = Layout(home, name)
    with home.lock(f"infra-{name}", wait_s=_LOCK_WAIT_S):
        variables: Mapping[str, str] = {}
        if environment.emulated:
            variables = _emulated(home, environment, layout, port)
        from cdk.synthesis import synthesise  # it starts Node.js, which a refusal or a help page need not wait for

        wiring = synthesise(environment, layout.synthesis)
        chosen = needed(wiring, only)
        left_out = {stack: item for stack, item in wiring.items() if stack not in chosen}
        yield Session(environment, layout, program, variables, chosen, read_only, left_out)


def _emulated(home: Home, environment: Environment, layout: Layout, port: int | None) -> Mapping[str, str]:
    """Start the emulator; a fresh one has no state bucket, and what was planned against an older one is void."""
    fresh = emulator.running(home) is None
    server = emulator.start(home, port=port)
    if fresh:
        shutil.rmtree(layout.work("bootstrap"), ignore_errors=True)
        layout.plan.unlink(missing_ok=True)
        layout.approval.unlink(missing_ok=True)
    variables = server.environment()
    if not is_ready(layout.work("bootstrap")):
        terraform = bootstrap_folder(environment, layout, variables, find_program())
        terraform.init()
        terraform.plan(terraform.folder / "plan.bin")
        terraform.apply(terraform.folder / "plan.bin")
        publish_bytes(terraform.folder / APPLIED, b"")
    return variables
