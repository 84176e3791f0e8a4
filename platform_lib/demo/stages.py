"""The stages of the demo, in order, as the very commands a person would type. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from platform_lib.home import Home
from platform_lib.manifest import manifest_path_of

NAME = "demo"
TARGET = "sa8255p"
# Many drives thinned to 2.5 Hz teach more than few at full rate: neighbouring frames are nearly the same.
EVERY = "4"
# w8a8 moves a 60 m path in steps of a quarter of a metre, w8a16 is slower than float on this chip; both are compiled and
# shown beside the one that ships.
PRECISIONS = ("w8a16", "w8a8", "w8mixed")
SHIPPED = "w8mixed"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        title: What it does, for people.
        argv: The command's arguments after ``drivetrain``.
        writes: The artefact it leaves.
        why: One line that says why the step exists.
        manifest: The artefact's manifest; None for the lake, which has a version instead, and for a verdict.
        after: The artefact after whose making it may run beside the stages before it, since it needs nothing of theirs;
            None for in its turn.
    """

    title: str
    argv: tuple[str, ...]
    writes: Path
    why: str
    manifest: Path | None = None
    after: Path | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """Where the demo's artefacts lie in a home."""

    drives: Path
    dataset: Path
    planner: Path
    baseline: Path
    evaluation: Path
    compiled: Path
    compressed_evaluation: Path
    gates: Path
    bundle: Path
    report: Path


def places(home: Home) -> Places:
    """Say where everything goes."""
    reports = home.reports / NAME
    return Places(
        drives=home.drives / NAME,
        dataset=home.datasets / NAME,
        planner=home.runs / f"{NAME}-planner",
        baseline=home.runs / f"{NAME}-ego-only",
        evaluation=home.runs / f"{NAME}-planner" / "evaluation" / "evaluation.json",
        compiled=home.compiled / f"{NAME}-{TARGET}",
        compressed_evaluation=reports / "compressed" / "evaluation.json",
        gates=reports / "gates.json",
        bundle=home.bundles / f"{NAME}-{TARGET}",
        report=reports / "index.html",
    )


def demo_stages(home: Home, *, drives: int, seed: int, logs: tuple[Path, ...]) -> tuple[Stage, ...]:
    """List the stages from raw logs to a verified bundle.

    Args:
        home: The home everything is written to.
        drives: How many synthetic drives to simulate.
        seed: Seed of the fleet, the split and the training.
        logs: Further folders of real drive logs, ingested beside the synthetic ones.
    """
    at = places(home)
    return (
        *_data_stages(home, at, drives=drives, seed=seed, logs=logs),
        *_model_stages(home, at),
        *_edge_stages(home, at),
    )


def chain_after(stages: Sequence[Stage], made: Path, begun: Collection[Path] = ()) -> list[Stage]:
    """Return the stages that may begin once an artefact is made, and then those that each of them lets begin.

    Args:
        stages: Those whose turn has not come.
        made: The artefact.
        begun: What stages write that have begun already.
    """
    chain: list[Stage] = []
    for stage in stages:
        if stage.after == (chain[-1].writes if chain else made) and stage.writes not in begun:
            chain.append(stage)
    return chain


def _data_stages(home: Home, at: Places, *, drives: int, seed: int, logs: tuple[Path, ...]) -> tuple[Stage, ...]:
    root = str(home.root)
    return (
        Stage(
            title="Drive: synthetic logs as a car would write them",
            argv=("simulate", "--out", str(at.drives), "--drives", str(drives), "--seed", str(seed), "--broken"),
            writes=at.drives,
            why="MDF4 and MCAP with clock offsets, drift, jitter and dropouts; some logs are broken on purpose",
            manifest=manifest_path_of(at.drives),
        ),
        Stage(
            title="Ingest: every log once, broken ones quarantined",
            argv=("ingest", str(at.drives), *map(str, logs), "--dbc", str(at.drives / "vehicle.dbc"), "--home", root),
            writes=home.lake,
            why="Iceberg signals and Lance samples, made visible by one PostgreSQL row a file",
        ),
        Stage(
            title="Dataset: one timeline, split by drive",
            argv=("dataset", NAME, "--seed", str(seed), "--every", EVERY, "--home", root),
            writes=at.dataset,
            why="recorder clocks aligned; camera joined with ego history and driven future; no drive in two splits",
            manifest=at.dataset / "manifest.json",
        ),
    )


def _model_stages(home: Home, at: Places) -> tuple[Stage, ...]:
    root = str(home.root)
    return (
        Stage(
            title="Train: camera planner",
            argv=("train", "planner_tiny", "--dataset", NAME, "--run", at.planner.name, "--home", root),
            writes=at.planner,
            why="camera, ego history and route command to three seconds of waypoints, on Ray Train",
            manifest=at.planner / "manifest.json",
        ),
        Stage(
            title="Train: ego-only baseline",
            argv=("train", "ego_only_tiny", "--dataset", NAME, "--run", at.baseline.name, "--home", root),
            writes=at.baseline,
            why="the row that shows whether the camera matters",
            manifest=at.baseline / "manifest.json",
        ),
        Stage(
            title="Evaluate: by slice, open and closed loop",
            argv=(
                *("evaluate", "--run", at.planner.name, "--baseline", at.baseline.name),
                *("--dataset", NAME, "--home", root),
            ),
            writes=at.evaluation,
            why="confidence intervals over drives, beside constant velocity and ego-only",
            manifest=at.evaluation.parent / "manifest.json",
        ),
    )


def _edge_stages(home: Home, at: Places) -> tuple[Stage, ...]:
    root, run = str(home.root), at.planner
    return (
        Stage(
            title=f"Compile: quantize and build for {TARGET}",
            argv=(
                *("compile", str(run / "model.onnx"), "--target", TARGET, "--out", str(at.compiled)),
                *("--calibration", str(run / "calibration.npz"), "--frozen", str(run / "frozen.npz")),
                *(word for precision in PRECISIONS for word in ("--precision", precision)),
                *("--choose", SHIPPED),
            ),
            writes=at.compiled,
            why="AIMET, then a QNN context binary, compared rung by rung on the same frozen frames",
            manifest=at.compiled / "manifest.json",
            after=run,
        ),
        Stage(
            title="Evaluate: the compressed planner, by the same scorer",
            argv=(
                *("evaluate", "--compiled", str(at.compiled), "--baseline", at.baseline.name),
                *("--dataset", NAME, "--out", str(at.compressed_evaluation.parent), "--home", root),
            ),
            writes=at.compressed_evaluation,
            why="what quantization costs on each slice",
            manifest=at.compressed_evaluation.parent / "manifest.json",
        ),
        Stage(
            title="Gate: evidence against written thresholds",
            argv=(
                *("gate", "--evaluation", str(at.evaluation), "--compressed-evaluation", str(at.compressed_evaluation)),
                *("--compile", str(at.compiled), "--dataset", str(at.dataset), "--out", str(at.gates)),
            ),
            writes=at.gates,
            why="pass, fail or not run: only pass passes",
            manifest=manifest_path_of(at.gates),
        ),
        Stage(
            title="Bundle: artefacts, evidence, bill of materials, signature",
            argv=(
                *("bundle", "--run", str(run), "--dataset", str(at.dataset), "--compile", str(at.compiled)),
                *("--evaluation", str(at.evaluation), "--compressed-evaluation", str(at.compressed_evaluation)),
                *("--gates", str(at.gates), "--out", str(at.bundle), "--home", root),
            ),
            writes=at.bundle,
            why="signed with a local key; signed is not approved",
            manifest=manifest_path_of(at.bundle),
        ),
        Stage(
            title="Verify: every byte, offline",
            argv=("verify", str(at.bundle), "--home", root),
            writes=at.bundle,
            why="what the integrator runs with only the bundle and the public key",
        ),
    )
