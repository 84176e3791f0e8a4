"""The demo's page: one HTML file that needs nothing but a browser."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.demo import charts
from platform_lib.demo.evidence_tables import (
    bytes_text,
    interval_text,
    ladder_rows,
    planner_label,
    planners_of,
    precision_rows,
    slice_rows,
)
from platform_lib.demo.runner import StageOutcome
from platform_lib.demo.stages import Places, places
from platform_lib.evidence import CompileReport, EvaluationReport, GateReport, MetricsRow, read_evidence
from platform_lib.home import Home
from platform_lib.storage import sha256_file, walk_files

# Two rows of three.
_SCENES = 6
_PATH_STYLE = {"driven": ("#38d070", 3.4), "ego_only": ("#ff9d3c", 2.2), "planned": ("#35a7ff", 3.0)}


class Scene(BaseModel):
    """One picture of `scenes.json`: a recorded frame and paths in its pixels."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    title: str
    caption: str
    image: str
    width: int
    height: int
    paths_px: dict[str, list[tuple[float, float]]]


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
        bundle=_bundle(at, outcomes),
        ingest=_lake(home),
        stages=outcomes,
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
    cards.append({"value": found.gates.state, "label": "state of the bundle"})
    cards.append({"value": f"{sum(item.seconds for item in outcomes):.0f} s", "label": "all stages, this run"})
    return cards


def _scenes(folder: Path) -> list[dict[str, object]]:
    scenes = []
    for item in json.loads((folder / "scenes.json").read_bytes())["scenes"][:_SCENES]:
        scene = Scene.model_validate(item)
        paths = []
        for name, (colour, width) in _PATH_STYLE.items():
            pixels = scene.paths_px.get(name, [])
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
            paths.append({"points": points, "colour": colour, "width": width, "dots": pixels[1:]})
        jpeg = base64.b64encode((folder / scene.image).read_bytes()).decode()
        scenes.append({**scene.model_dump(exclude={"paths_px"}), "jpeg": jpeg, "paths": paths})
    return scenes


def _training(at: Places) -> dict[str, object]:
    curves = {"camera": _curve(at.planner), "ego_only": _curve(at.baseline)}
    camera = curves["camera"]
    caption = f"{len(camera)} epochs; validation ADE {camera[0]['val_ade_m']:.2f} m at first, {camera[-1]['val_ade_m']:.2f} m at last."
    return {"training_svg": Markup(charts.training_curve(curves)), "training_caption": caption}  # noqa: S704 - own SVG


def _curve(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines() if line]


def _metrics(found: _Evidence) -> dict[str, object]:
    def chart(metric: str, title: str) -> Markup:
        svg = charts.metric_by_slice(found.evaluation, metric=metric, title=title, compressed=found.compressed)
        return Markup(svg)  # noqa: S704 - own SVG

    return {
        "ade_svg": chart("ade_m", "average displacement error over 3 s, m"),
        "fde_svg": chart("fde_m", "final displacement error at 3 s, m"),
        "metric_planners": [planner_label(name) for name in planners_of(found.evaluation, found.compressed)],
        "metric_rows": slice_rows(found.evaluation, found.compressed),
    }


def _closed_loop(report: EvaluationReport) -> dict[str, object]:
    # The planner slice by slice, the others in one line each.
    rows: list[MetricsRow] = [row for row in report.closed_loop if row.planner == "camera" or row.slice == "all"]
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    table = [
        {
            "planner": planner_label(row.planner),
            "slice": row.slice.replace("_", " "),
            "n": row.n,
            "cells": [interval_text(row.metrics.get(name)) for name in names],
        }
        for row in rows
    ]
    heads = [name.replace("_", " ") for name in names]
    return {"closed_metrics": heads, "closed_rows": table, "findings": report.findings}


def _compile(report: CompileReport) -> Mapping[str, object]:
    confirmed = "" if report.id_confirmed else " The SoC id is not confirmed."
    caption = (
        f"soc_model {report.soc_model}, {report.architecture}; chosen: {report.chosen or 'none'}. Latency is the vendor's "
        f"simulation, not measured on a device.{confirmed}"
    )
    return {"target": report.target, "caption": caption, "rows": precision_rows(report)}


def _gates_caption(report: GateReport) -> str:
    if not report.blocking:
        return f"State: {report.state}."
    return f"State: {report.state}. What keeps it from approval: {', '.join(report.blocking)}."


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


def _lake(home: Home) -> Mapping[str, object]:
    """Say what the catalogue holds now: a stage that was skipped found it there, and its report would not name it."""
    with embedded_postgres(home) as uri, Catalog(uri) as catalog:
        committed, refused = catalog.committed(), catalog.quarantined()
    rows = [{"path": ", ".join(item.paths), "reason": item.refusal.reason} for item in refused]
    return {"caption": f"{len(committed)} files in the lake, {len(refused)} in quarantine.", "quarantined": rows}
