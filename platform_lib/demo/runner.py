"""Run the stages one after another, each as its own process, and say what each did."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from pydantic import JsonValue

from platform_lib.console import ERR
from platform_lib.demo.stages import Stage
from platform_lib.errors import PlatformError
from platform_lib.evidence import GateReport
from platform_lib.manifest import read_manifest, up_to_date
from platform_lib.processes import PARENT_VARIABLE

# A stage that takes this long on the demo's small data hangs; the whole demo is meant to take six minutes.
STAGE_LIMIT_S = 1800.0


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """What one stage did.

    Attributes:
        title: The stage.
        command: The command line a person would type for it.
        seconds: Wall time.
        made_in_s: Wall time of the run that made the artefact; None where it was skipped and that time is not known.
        skipped: An artefact of the same inputs, configuration and code was there.
        digest: Of its inputs, configuration and code, by which it is skipped; the lake's version; None for a verdict.
        path: What it wrote.
        result: The command's own JSON document.
    """

    title: str
    command: str
    seconds: float
    made_in_s: float | None
    skipped: bool
    digest: str | None
    path: str
    result: dict[str, JsonValue]

    @property
    def rejected(self) -> bool:
        """Whether this is the gate's verdict that keeps a model from a bundle."""
        return _is_rejection(self.result)

    def as_json(self) -> dict[str, JsonValue]:
        """Return the fields as JSON values."""
        return asdict(self)


class StageError(PlatformError):
    """A stage refused or crashed; the stages before it are kept and will be skipped next time."""


def run_stage(stage: Stage, *, number: int, total: int) -> StageOutcome:
    """Run one stage and return what it did; a gate that rejects is an outcome, not an error.

    Raises:
        StageError: The command did not end with status 0, took over half an hour, or printed no JSON document.
    """
    command = shlex.join(("drivetrain", *stage.argv))
    ERR.print(f"\n[bold cyan]{number:>2}/{total}[/] [bold]{stage.title}[/]", highlight=False)
    ERR.print(f"      [dim]{stage.why}[/]", highlight=False)
    started = time.monotonic()
    result = _run(stage, command)
    seconds = time.monotonic() - started
    skipped = _was_skipped(result)
    digest = _digest(stage, result)
    verb = f"[yellow]{up_to_date(digest)}[/]" if skipped and digest else "[green]done[/]"
    if _is_rejection(result):
        verb = "[bold red]rejected[/]"
    ERR.print(f"      {verb} in {seconds:.1f} s  ->  ", end="", highlight=False)
    ERR.print(str(stage.writes), markup=False, highlight=False)
    for reason in _rejections(result):
        ERR.print(f"      {reason}", markup=False, highlight=False)
    return StageOutcome(
        title=stage.title,
        command=command,
        seconds=round(seconds, 2),
        made_in_s=None if skipped else round(seconds, 2),
        skipped=skipped,
        digest=digest,
        path=str(stage.writes),
        result=result,
    )


def _run(stage: Stage, command: str) -> dict[str, JsonValue]:
    process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
        [sys.executable, "-m", "platform_lib.cli", *stage.argv, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
    )
    try:
        output, _ = process.communicate(timeout=STAGE_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise StageError(f"no end after {STAGE_LIMIT_S:.0f} s", where=command, remedy="run it alone with -v") from error
    finally:
        if process.poll() is None:
            process.terminate()
            _wait_or_kill(process)
    try:
        result = json.loads(output)
    except ValueError:
        result = None
    if process.returncode != 0 and not _is_rejection(result):
        raise _refused(result, command, process.returncode)
    if not isinstance(result, dict):
        raise StageError("printed no JSON document", where=command, remedy="run it alone to see what it prints")
    return result


def _is_rejection(result: object) -> bool:
    return isinstance(result, dict) and result.get("state") == "rejected"


def _rejections(result: dict[str, JsonValue]) -> list[str]:
    """Name the gates that failed, each with its reason."""
    if not _is_rejection(result):
        return []
    report = GateReport.model_validate({name: value for name, value in result.items() if name != "skipped"})
    return [f"{gate.gate}: {gate.reason}" for gate in report.gates if gate.status == "fail"]


def _was_skipped(result: dict[str, JsonValue]) -> bool:
    """Say whether a command found its work done; `ingest` counts the files it skipped instead."""
    skipped = result.get("skipped", False)
    return skipped if isinstance(skipped, bool) else bool(skipped) and not result.get("ingested")


def _digest(stage: Stage, result: dict[str, JsonValue]) -> str | None:
    if stage.manifest is not None:
        try:
            return read_manifest(stage.manifest).step_sha256
        except FileNotFoundError:
            return None
    lake = result.get("lake")
    return str(lake["sha256"]) if isinstance(lake, dict) else None


def _wait_or_kill(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _refused(result: object, command: str, status: int) -> StageError:
    said = result.get("error") if isinstance(result, dict) else None
    if isinstance(said, dict):
        where = f"{command}\n          {said.get('where')}" if said.get("where") else command
        return StageError(str(said.get("what")), where=where, remedy=said.get("remedy"))
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return StageError(
        f"the stage {how}", where=command, remedy="run that command alone with -v, then run the demo again"
    )
