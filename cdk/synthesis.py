"""From one environment to Terraform JSON, a folder a stack."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

# jsii starts Node.js on import and prints a banner for releases it no longer follows; nothing here depends on it.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "1")
os.environ.setdefault("JSII_SILENCE_WARNING_DEPRECATED_NODE_VERSION", "1")
os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")

from cdktn import App

from cdk.model import Environment
from cdk.stacks.catalogue import build_stacks
from cdk.wiring import StackWiring, apply_order, write_wiring
from platform_lib.storage import publish_bytes


def synthesise(environment: Environment, out: Path) -> dict[str, StackWiring]:
    """Write `<out>/stacks/<stack>/cdk.tf.json` for every stack, and `wiring.json` last.

    A stack whose content has not changed keeps its file, so that its digest and its time stay.

    Args:
        environment: What to build.
        out: An own folder; stacks that are no more are removed from it.

    Returns:
        What each stack takes and gives.
    """
    with TemporaryDirectory(prefix="drivetrain-synth-") as scratch:
        app = App(outdir=scratch, skip_validation=True, stack_traces=False)
        stacks = build_stacks(app, environment)
        app.synth()
        wiring = {stack.stack_name: stack.wiring() for stack in stacks}
        apply_order(wiring)
        for name in wiring:
            content = (Path(scratch) / "stacks" / name / "cdk.tf.json").read_bytes()
            target = out / "stacks" / name / "cdk.tf.json"
            if not target.is_file() or target.read_bytes() != content:
                target.parent.mkdir(parents=True, exist_ok=True)
                publish_bytes(target, content)
    for path in (out / "stacks").iterdir():
        if path.name not in wiring:
            (path / "cdk.tf.json").unlink(missing_ok=True)
    write_wiring(out, wiring)
    return wiring
