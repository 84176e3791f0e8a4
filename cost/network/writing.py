"""Writes a finding's files: patches, scripts that apply them, proposals, the whole document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from cost.network.patches import Patch
from cost.report.proposals import ProposalFile
from platform_lib.storage import publish_bytes, publish_folder


def write_files(out: Path, patches: tuple[Patch, ...], proposals: ProposalFile, document: dict[str, Any]) -> None:
    """Write all of it below a folder: `patches/`, `services.sh`, `workloads.sh`, `proposals.json`, `network.json`."""
    out.mkdir(parents=True, exist_ok=True)
    with publish_folder(out / "patches") as unfinished:  # as a whole: no patch of an earlier run stays behind
        for item in patches:
            text = f"# {item.why}\n{yaml.safe_dump(item.body, sort_keys=False)}"
            (unfinished / item.file_name).write_text(text, encoding="utf-8")
    for name, kinds in (("services.sh", True), ("workloads.sh", False)):
        chosen = [item for item in patches if (item.kind == "Service") is kinds]
        lines = ["#!/bin/sh", "set -eu", 'cd "$(dirname "$0")"', *(_line(item) for item in chosen)]
        publish_bytes(out / name, ("\n".join(lines) + "\n").encode())
    publish_bytes(out / "proposals.json", (proposals.model_dump_json(indent=1) + "\n").encode())
    publish_bytes(out / "network.json", (json.dumps(document, indent=1, default=str) + "\n").encode())


def _line(item: Patch) -> str:
    if item.command is None:
        return f"# by hand: {item.kind} {item.namespace}/{item.name}: {item.why}; patches/{item.file_name}"
    return item.command.format(file=f"patches/{item.file_name}")
