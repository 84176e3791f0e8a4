"""From one environment to Terraform JSON, a folder a stack."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

# jsii starts Node.js on import and prints a banner for releases it no longer follows; nothing here depends on it. The first
# variable lists releases, the other two are switches.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "16,18,20,22,24,26")
os.environ.setdefault("JSII_SILENCE_WARNING_DEPRECATED_NODE_VERSION", "1")
os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")

from cdktn import App

from cdk.emulator import NOT_EMULATED, Document, lacking_addresses, marker, split
from cdk.model import Environment
from cdk.stacks.catalogue import build_stacks
from cdk.wiring import StackWiring, apply_order, write_wiring
from platform_lib.storage import publish_bytes


def synthesise(environment: Environment, out: Path) -> dict[str, StackWiring]:
    """Write `<out>/stacks/<stack>/cdk.tf.json` for every stack, and `wiring.json` last.

    A stack whose content has not changed keeps its file, so that its digest and its time stay. Of an emulated environment,
    what the emulator lacks goes to `<out>/not_emulated/<stack>/cdk.tf.json`, and `<out>/not_emulated.json` says what that is
    and why; see `cdk.emulator`.

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
        applied: dict[str, bytes] = {}
        planned: dict[str, bytes] = {}
        lacking: dict[str, dict[str, str]] = {}
        for name in wiring:
            content = (Path(scratch) / "stacks" / name / "cdk.tf.json").read_bytes()
            if not environment.emulated:
                applied[name] = content
                continue
            whole = json.loads(content)
            kept, left = split(whole)
            applied[name] = _text(kept)
            if left is not None:
                planned[name] = _text(left)
                lacking[name] = lacking_addresses(whole)
    _publish(out / "stacks", applied)
    _publish(out / NOT_EMULATED, planned)
    publish_bytes(out / f"{NOT_EMULATED}.json", marker(lacking))
    write_wiring(out, wiring)
    return wiring


def _text(document: Document) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"


def _publish(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        target = folder / name / "cdk.tf.json"
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            publish_bytes(target, content)
    for path in sorted(folder.glob("*/cdk.tf.json")):
        if path.parent.name not in contents:
            path.unlink()
