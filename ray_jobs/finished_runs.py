"""The finished runs of a home, as their manifests say, and which of them is an evaluation's ego-only baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from platform_lib.errors import IntegrityError
from platform_lib.home import Home
from platform_lib.manifest import Manifest, read_manifest

EGO_ONLY = "ego_only"


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """One planner whose training is finished.

    Attributes:
        kind: Of planner: ``camera``, ``ego_only`` or a model's own.
        dataset: Name of what it was trained on.
    """

    name: str
    kind: str
    dataset: str
    manifest: Manifest


def finished_runs(home: Home) -> Iterator[FinishedRun]:
    """Yield every run whose training is finished; others are not, and their checkpoints no model yet."""
    for path in sorted(home.runs.glob("*/manifest.json")):
        try:
            manifest = read_manifest(path)
        except (IntegrityError, FileNotFoundError):
            continue
        planner, data = manifest.config.get("planner"), manifest.inputs.get("dataset")
        # What has no graph is no planner: a team's own model of something else.
        drives = manifest.kind == "run" and "model.onnx" in manifest.outputs
        if drives and isinstance(planner, dict) and data is not None:
            yield FinishedRun(path.parent.name, str(planner.get("kind")), Path(data.uri).name, manifest)


def newest_ego_only(home: Home, dataset: str) -> str | None:
    """Return the newest ego-only run of a dataset; None where none is finished."""
    blind = [run for run in finished_runs(home) if run.kind == EGO_ONLY and run.dataset == dataset]
    return max(blind, key=lambda run: run.manifest.created_utc).name if blind else None
