"""Run the stages one after another, each as its own process, and say what each did."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pydantic import JsonValue

from platform_lib.console import ERR
from platform_lib.demo.stage_process import Begun, StageProcess, command_line, is_rejection
from platform_lib.demo.stages import Stage
from platform_lib.evidence import GateReport
from platform_lib.manifest import read_manifest, up_to_date


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
        return is_rejection(self.result)

    def as_json(self) -> dict[str, JsonValue]:
        """Return the fields as JSON values."""
        return asdict(self)


def run_stage(stage: Stage, *, number: int, total: int, begun: Begun | None = None) -> StageOutcome:
    """Run one stage and return what it did; a gate that rejects is an outcome, not an error.

    Args:
        stage: Which.
        number: Its place in the demo, from 1.
        total: How many stages the demo has.
        begun: The same stage, where it runs already, beside the ones before it.

    Raises:
        StageError: The command did not end with status 0, took over half an hour, or printed no JSON document.
    """
    ERR.print(f"\n[bold cyan]{number:>2}/{total}[/] [bold]{stage.title}[/]", highlight=False)
    ERR.print(f"      [dim]{stage.why}[/]", highlight=False)
    finished = StageProcess(stage).finish() if begun is None else begun.finish()
    result, seconds = finished.result, finished.seconds
    skipped = _was_skipped(result)
    digest = _digest(stage, result)
    verb = f"[yellow]{up_to_date(digest)}[/]" if skipped and digest else "[green]done[/]"
    if is_rejection(result):
        verb = "[bold red]rejected[/]"
    beside = "" if begun is None else ", beside the stages above"
    ERR.print(f"      {verb} in {seconds:.1f} s{beside}  ->  ", end="", highlight=False)
    ERR.print(str(stage.writes), markup=False, highlight=False)
    for reason in _rejections(result):
        ERR.print(f"      {reason}", markup=False, highlight=False)
    return StageOutcome(
        title=stage.title,
        command=command_line(stage),
        seconds=round(seconds, 2),
        made_in_s=None if skipped else round(seconds, 2),
        skipped=skipped,
        digest=digest,
        path=str(stage.writes),
        result=result,
    )


def _rejections(result: dict[str, JsonValue]) -> list[str]:
    """Name the gates that failed, each with its reason."""
    if not is_rejection(result):
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
