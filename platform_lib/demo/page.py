"""The demo's page: one HTML file that needs nothing but a browser."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, ValidationError

from platform_lib.demo import charts
from platform_lib.demo.evidence_tables import (
    bytes_text,
    interval_cell,
    ladder_rows,
    planner_label,
    planners_of,
    precision_rows,
    slice_rows,
)
from platform_lib.demo.runner import StageOutcome
from platform_lib.demo.stages import Places, places
from platform_lib.errors import IntegrityError
from platform_lib.evaluation.scenes import Scenes
from platform_lib.evidence import CompileReport, EvaluationReport, GateReport, MetricsRow, read_evidence
from platform_lib.home import Home
from platform_lib.manifest import up_to_date
from platform_lib.storage import sha256_file, walk_files

# Two rows of three.
_SCENES = 6
_CLOSED_LOOP = "closed loop, "
_HEADS = {
    "collision_rate": "collisions",
    "at_fault_rate": "at fault",
    "offroad_rate": "off road",
    "progress_ratio": "progress / expert",
    "max_accel_mps2": "max accel, m/s²",
    "max_jerk_mps3": "max jerk, m/s³",
}
_PATH_STYLE = {"driven": ("#38d070", 4.6), "ego_only": ("#ff9d3c", 3.2), "planned": ("#35a7ff", 2.4)}


@dataclass(frozen=True, slots=True)
class _Evidence:
    evaluation: EvaluationReport
    compressed: EvaluationReport
    compiled: CompileReport
    gates: GateReport


def render_page(home: Home, outcomes: Sequence[StageOutcome]) -> str:
    """Render the page from the evidence files that the stages left.

    Raises:
        PlatformError: An evidence file is missing or not what it should be.
    """
    at = places(home)
    found = _Evidence(
        evaluation=read_evidence(EvaluationReport, at.evaluation),
        compressed=read_evidence(EvaluationReport, at.compressed_evaluation),
        compiled=read_evidence(CompileReport, at.compiled / "report.json"),
        gates=read_evidence(GateReport, at.gates),
    )
    template = resources.files("platform_lib.demo").joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    return environment.from_string(template).render(
        cards=_cards(found, outcomes),
        scenes=_scenes(at.evaluation.parent),
        **_training(at),
        **_metrics(found),
        **_closed_loop(found.evaluation),
        ladder=ladder_rows(found.compiled.parity),
        compile=_compile(found.compiled),
        gates=found.gates.gates,
        gates_caption=_gates_caption(found.gates),
        bundle=None if outcomes[-1].rejected else _bundle(at, outcomes),
        ingest=_lake(home, outcomes),
        stages=[_stage(item) for item in outcomes],
    )


def _cards(found: _Evidence, outcomes: Sequence[StageOutcome]) -> list[dict[str, str]]:
    cards = []
    for planner in ("camera", "ego_only"):
        row = found.evaluation.row(planner, "all")
        if row is not None and "ade_m" in row.metrics:
            cards.append({"value": f"{row.metrics['ade_m'].value:.2f} m", "label": f"ADE, {planner_label(planner)}"})
    chosen = found.compiled.precision(found.compiled.chosen) if found.compiled.chosen else None
    latency = chosen.performance.latency_us if chosen else None
    value = f"{latency.value:.0f} us" if latency else "unknown"
    cards.append({"value": value, "label": f"simulated latency, {found.compiled.chosen or 'none chosen'}"})
    passed = sum(gate.status == "pass" for gate in found.gates.gates)
    cards.append({"value": f"{passed} of {len(found.gates.gates)}", "label": "gates passed"})
    state_of = "verdict of the gates, no bundle" if outcomes[-1].rejected else "state of the bundle"
    cards.append({"value": found.gates.state, "label": state_of})
    cards.append(_time_card(outcomes))
    return cards


def _time_card(outcomes: Sequence[StageOutcome]) -> dict[str, str]:
    """Say how long making everything took; where that is not known of a stage, how long this run took."""
    made = [item.made_in_s for item in outcomes if item.made_in_s is not None]
    if len(made) == len(outcomes):
        return {"value": f"{sum(made):.0f} s", "label": "to make it, all stages"}
    return {"value": f"{sum(item.seconds for item in outcomes):.0f} s", "label": "this run, some stages skipped"}


def _scenes(folder: Path) -> list[dict[str, object]]:
    scenes = []
    for scene in _read_scenes(folder / "scenes.json").scenes[:_SCENES]:
        paths = []
        for name, (colour, width) in _PATH_STYLE.items():
            pixels = scene.paths_px.get(name, ())
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
            end = pixels[-1] if pixels else None
            paths.append({"points": points, "colour": colour, "width": width, "end": end})
        jpeg = base64.b64encode((folder / scene.image).read_bytes()).decode()
        shown = scene.model_dump(include={"title", "caption", "width", "height"})
        scenes.append({**shown, "jpeg": jpeg, "paths": paths})
    return scenes


def _read_scenes(path: Path) -> Scenes:
    try:
        return Scenes.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise IntegrityError(
            f"not valid scenes: {error.error_count()} problems",
            where=path,
            remedy="run `drivetrain evaluate --force` for that run",
        ) from error


def _training(at: Places) -> dict[str, object]:
    curves = {"camera": _curve(at.planner), "ego_only": _curve(at.baseline)}
    camera = curves["camera"]
    first, last = camera[0]["val_ade_m"], camera[-1]["val_ade_m"]
    drawn = (
        charts.curve(curves, value="train_loss", title="training loss", logarithmic=True),
        charts.curve(curves, value="val_ade_m", title="validation ADE, m", logarithmic=False),
    )
    return {
        "training_charts": [Markup(svg) for svg in drawn],  # noqa: S704 - own SVG
        "training_planners": _legend(curves),
        "training_caption": f"{len(camera)} epochs took the camera planner's validation ADE from {first:.2f} to {last:.2f} m.",
    }


def _curve(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines() if line]


def _legend(planners: Iterable[str]) -> list[dict[str, str]]:
    return [
        {
            "label": planner_label(name),
            "short": planner_label(name).removesuffix(" planner").removeprefix("constant "),
            "variable": charts.variable_of(name),
        }
        for name in planners
    ]


def _metrics(found: _Evidence) -> dict[str, object]:
    reports = (found.evaluation, found.compressed)
    drawn = (
        charts.metric_by_slice(reports, metric="ade_m", title="average displacement error over 3 s, m"),
        charts.metric_by_slice(reports, metric="fde_m", title="final displacement error at 3 s, m"),
    )
    return {
        "metric_charts": [Markup(svg) for svg in drawn],  # noqa: S704 - own SVG
        "metric_planners": _legend(planners_of(*reports)),
        "metric_rows": slice_rows(*reports),
        "findings": [item for item in found.evaluation.findings if not item.startswith(_CLOSED_LOOP)],
    }


def _closed_loop(report: EvaluationReport) -> dict[str, object]:
    # The planner slice by slice, the others in one line each.
    rows: list[MetricsRow] = [row for row in report.closed_loop if row.planner == "camera" or row.slice == "all"]
    names = [name for name in _HEADS if any(name in row.metrics for row in rows)]
    table = [
        {
            "planner": planner_label(row.planner),
            "slice": row.slice.replace("_", " "),
            "n": row.n,
            "cells": [interval_cell(row.metrics.get(name)) for name in names],
        }
        for row in rows
    ]
    heads = [_HEADS[name] for name in names]
    told = [item for item in report.findings if item.startswith(_CLOSED_LOOP)]
    return {"closed_metrics": heads, "closed_rows": table, "closed_findings": told}


def _compile(report: CompileReport) -> Mapping[str, object]:
    confirmed = "" if report.id_confirmed else " The SoC id is not confirmed."
    caption = (
        "latency is the vendor's simulation, not a measurement on a device. "
        f"soc_model {report.soc_model}, {report.architecture}; chosen: {report.chosen or 'none'}.{confirmed}"
    )
    return {"target": report.target, "caption": caption, "rows": precision_rows(report)}


def _gates_caption(report: GateReport) -> str:
    counts = Counter(gate.status for gate in report.gates)
    return f"State: {report.state}; {counts['pass']} pass, {counts['fail']} fail, {counts['not_run']} not run."


def _bundle(at: Places, outcomes: Sequence[StageOutcome]) -> Mapping[str, object]:
    files = sorted(walk_files(at.bundle))
    rows = [
        {
            "path": path.relative_to(at.bundle).as_posix(),
            "bytes": bytes_text(path.stat().st_size),
            "sha256": sha256_file(path),
        }
        for path in files
    ]
    size = bytes_text(sum(path.stat().st_size for path in files))
    return {"caption": f"{len(files)} files, {size}, in {at.bundle}", "files": rows, "verify": outcomes[-1].command}


class _Refused(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    path: Path
    reason: str


class _Ingested(BaseModel):
    """What the page tells of `drivetrain ingest --json`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    found: int
    duplicates: int
    ingested: int
    skipped: int
    quarantined: tuple[_Refused, ...]


def _lake(home: Home, outcomes: Sequence[StageOutcome]) -> Mapping[str, object]:
    """Tell what the ingest stage reported; it names what was set aside before as well."""
    stage = next(item for item in outcomes if item.command.startswith("drivetrain ingest "))
    told = _Ingested.model_validate(stage.result)
    before = f", {told.skipped} of them before this run" if told.skipped else ""
    copies = f", {told.duplicates} the same as another" if told.duplicates else ""
    caption = (
        f"{told.found} logs found: {told.ingested + told.skipped} in the lake{before}, "
        f"{len(told.quarantined)} in quarantine{copies}."
    )
    rows = [{"path": _below(item.path, home.root), "reason": item.reason} for item in told.quarantined]
    return {"caption": caption, "quarantined": rows}


def _below(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _stage(outcome: StageOutcome) -> dict[str, object]:
    state = up_to_date(outcome.digest) if outcome.skipped and outcome.digest else ""
    seconds = outcome.seconds if outcome.made_in_s is None else outcome.made_in_s
    return {"title": outcome.title, "seconds": seconds, "command": outcome.command, "state": state}
