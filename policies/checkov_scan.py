"""Runs checkov, from the environment that `make tools` makes, over plans; what was scanned before is not scanned again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platform_lib.errors import PlatformError
from platform_lib.storage import publish_bytes
from policies.high_severity import HIGH_SEVERITY
from policies.verdict import Scan

TOOLS = Path(__file__).resolve().parents[1] / ".venv-tools"
_TIME_LIMIT_S = 600.0


class ScanError(PlatformError):
    """checkov did not judge what it was given."""

    usual_remedy = "make its environment anew: rm -r .venv-tools && make tools"


@dataclass(frozen=True, slots=True)
class Checkov:
    """An installed checkov.

    Attributes:
        program: The executable.
        version: Of the package.
    """

    program: Path
    version: str


def find_checkov(tools: Path = TOOLS) -> Checkov | None:
    """Return the checkov of `make tools`; None where there is none."""
    program = tools / "bin" / "checkov"
    found = sorted(tools.glob("lib/python*/site-packages/checkov-*.dist-info"))
    if not program.is_file() or not found:
        return None
    return Checkov(program, found[-1].name.removeprefix("checkov-").removesuffix(".dist-info"))


def scan_plans(
    plans: Mapping[str, Mapping[str, Any]],
    folder: Path,
    checkov: Checkov | None,
    *,
    checks: Sequence[str] = tuple(HIGH_SEVERITY),
) -> Scan:
    """Return what checkov's own checks find in plans, from the last scan where a plan is as it was.

    Args:
        plans: Terraform's JSON by stack.
        folder: Where results are kept.
        checkov: Which; None says that nothing is looked at.
        checks: Its checks' ids.

    Raises:
        ScanError: It did not scan them all.
    """
    if checkov is None:
        return Scan(None)
    folder.mkdir(parents=True, exist_ok=True)
    keys = {stack: _key(document, checkov, checks) for stack, document in plans.items()}
    known = {
        stack: found for stack in plans if (found := _kept(folder / f"{stack}.found.json", keys[stack])) is not None
    }
    fresh = [stack for stack in plans if stack not in known]
    if fresh:
        for stack, found in _scan({stack: plans[stack] for stack in fresh}, folder, checkov, checks).items():
            kept = {"key": keys[stack], "failed": found}
            publish_bytes(folder / f"{stack}.found.json", json.dumps(kept).encode())
            known[stack] = found
    failed = [(check, stack, address) for stack in plans for check, address in known[stack]]
    return Scan(checkov.version, tuple(failed))


def run_checkov(
    checkov: Checkov, folder: Path, files: Sequence[str], *, checks: Sequence[str] = (), rules: Path | None = None
) -> list[dict[str, Any]]:
    """Run checkov on plan files of a folder; return its reports.

    Args:
        checkov: Which.
        folder: Where the files lie.
        files: Their names.
        checks: Ids of the checks to ask; all by default.
        rules: A folder of further checks.

    Raises:
        ScanError: It ended with an error, could not read a plan, or looked at no resource.
    """
    command = [str(checkov.program), "--framework", "terraform_plan", "--skip-download", "--compact", "-o", "json"]
    command += ["--check", ",".join(checks)] if checks else []
    command += ["--external-checks-dir", str(rules)] if rules is not None else []
    for name in files:
        command += ["-f", name]
    try:
        done = subprocess.run(  # noqa: S603 - the program of our own tools, no shell
            command,
            cwd=folder,
            env={
                **{
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith(("BC_", "CKV_", "CHECKOV_", "PYTHON"))
                }
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIME_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ScanError(f"checkov did not run: {error}", where=checkov.program) from error
    if done.returncode not in (0, 1):
        raise ScanError(f"checkov failed: {_last_line(done.stderr)}", where=checkov.program)
    try:
        document = json.loads(done.stdout)
    except ValueError as error:
        raise ScanError(f"checkov wrote no JSON: {_last_line(done.stderr)}", where=checkov.program) from error
    reports: list[dict[str, Any]] = document if isinstance(document, list) else [document]
    return reports


def _scan(
    plans: Mapping[str, Mapping[str, Any]], folder: Path, checkov: Checkov, checks: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    place = folder / "plans"
    place.mkdir(exist_ok=True)
    found: dict[str, list[tuple[str, str]]] = {stack: [] for stack in plans}
    try:
        for stack, document in plans.items():
            publish_bytes(place / f"{stack}.json", json.dumps(document).encode())
        reports = run_checkov(checkov, place, [f"{stack}.json" for stack in plans], checks=checks)
        scanned = sum(item.get("summary", {}).get("resource_count", item.get("resource_count", 0)) for item in reports)
        broken = sum(item.get("summary", {}).get("parsing_errors", 0) for item in reports)
        expected = any(_stays(document) for document in plans.values())
        if broken or (expected and not scanned):
            raise ScanError(
                f"checkov could not read {broken} of {len(plans)} plans and saw {scanned} resources", where=place
            )
        for report in reports:
            for item in report.get("results", {}).get("failed_checks", ()):
                stack = Path(item["file_path"]).stem
                found[stack].append((item["check_id"], item.get("resource_address") or item["resource"]))
    finally:
        for path in place.glob("*.json"):
            path.unlink()
    return {stack: sorted(set(items)) for stack, items in found.items()}


def _stays(document: Mapping[str, Any]) -> bool:
    return bool(document.get("planned_values", {}).get("root_module", {}).get("resources"))


def _key(document: Mapping[str, Any], checkov: Checkov, checks: Sequence[str]) -> str:
    """Return the digest of what decides a scan's outcome; when the plan was made does not."""
    parts = {name: document.get(name) for name in ("planned_values", "resource_changes", "configuration")}
    text = json.dumps([parts, checkov.version, sorted(checks)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _kept(path: Path, key: str) -> list[tuple[str, str]] | None:
    try:
        document = json.loads(path.read_bytes())
        if document["key"] != key:
            return None
        return [(check, address) for check, address in document["failed"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
