"""Evaluation: planners scored by slice, open loop on the test split and closed loop in the simulator, on Ray.

A planner is always its ONNX graph, run by ONNX Runtime: float and quantized graphs go through one and the same door.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import ray
from pydantic import JsonValue

from platform_lib.abilities import EVALUATES
from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.code_digest import code_sha256
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.errors import ConfigError, ContractError, IntegrityError, MissingPartError
from platform_lib.evaluation import closed_loop, findings, open_loop
from platform_lib.evaluation.bootstrap import RESAMPLES
from platform_lib.evaluation.geometry import Doubles
from platform_lib.evaluation.non_inferiority import ALPHA, closed_differences, compared, open_differences
from platform_lib.evaluation.self_test import Verdict, run_self_test
from platform_lib.evaluation.swept import sweeps_of
from platform_lib.evidence import ChampionReport, EvaluationReport, MetricsRow, read_evidence, write_evidence
from platform_lib.home import Home
from platform_lib.manifest import Input, Manifest, Step, changed_outputs, input_of, read_manifest
from platform_lib.models.interface import ConstantVelocity, Float, PlannerInput
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.scenario.model import DriveSpec
from platform_lib.storage import publish_folder
from ray_jobs.driving import Driven, drive_worlds, failures_of, gather, replays_of, write_failures
from ray_jobs.episodes import EXPERT, worlds
from ray_jobs.evaluation_history import note
from ray_jobs.finished_runs import EGO_ONLY, newest_ego_only
from ray_jobs.named import dataset_input, valid_name
from ray_jobs.pictures import write_scenes
from ray_jobs.placement import resources_for
from ray_jobs.samples import LoadedSplit, load_split
from ray_jobs.session import local_ray

CAMERA, CHAMPION = "camera", "champion"
BOOTSTRAP_SEED = 20_261_120
SPLIT: Literal["test"] = "test"
SCORER_MODULES = (
    "platform_lib.evaluation.open_loop",
    "platform_lib.evaluation.closed_loop",
    "platform_lib.evaluation.epdms",
    "platform_lib.evaluation.findings",
    "platform_lib.evaluation.non_inferiority",
    "platform_lib.evaluation.self_test",
)
_MODULES = ("ray_jobs.evaluate",)
EVIDENCE = "evaluation.json"
_NO_EGO_ONLY = "open_loop ego_only"


@dataclass(frozen=True, slots=True)
class EvaluationOutcome:
    """What an evaluation left behind."""

    folder: Path
    manifest: Manifest
    report: EvaluationReport
    skipped: bool


def evaluate_run(
    home: Home,
    *,
    run: str,
    baseline: str,
    dataset: str,
    champion: str | None = None,
    closed: bool = True,
    force: bool = False,
) -> EvaluationOutcome:
    """Score a camera run against an ego-only run and constant velocity.

    With a `champion`, another run, it is also asked whether the run is not worse than that one on every safety slice: on the
    same frames, in the same worlds. Writes ``RUN/evaluation/``; on another dataset than the run was trained on, ``RUN/evaluation-DATASET/``, so that the
    evidence which a gate was shown stays.

    Raises:
        MissingPartError: A run or the dataset does not exist.
        IntegrityError: A run's or the dataset's files differ from their manifest.
        ContractError: The scorer fails its self-test, or a planner gives a plan that is not finite.
    """
    chosen = {CAMERA: run, EGO_ONLY: baseline, **({} if champion is None else {CHAMPION: champion})}
    runs = {name: _whole_run(home, named) for name, named in chosen.items()}
    graphs = {name: home.runs / named / "model.onnx" for name, named in chosen.items()}
    source = home.datasets / valid_name(dataset, what="--dataset")
    folder = home.runs / run / evidence_name(runs[CAMERA], dataset, dataset_input(source))
    specs = worlds() if closed else ()
    step = Step(
        "evaluation",
        inputs={
            "dataset": dataset_input(source),
            **{
                name: Input(sha256=found.outputs["model.onnx"].sha256, uri=str(graphs[name]))
                for name, found in runs.items()
            },
        },
        config=scoring_config(specs, weights=runs[CAMERA].outputs["weights.pt"].sha256),
        modules=_MODULES,
    )
    with home.lock(f"run-{run}"), home.lock(f"dataset-{dataset}", shared=True):
        done = None if force else step.done(folder / "manifest.json")
        if done is not None:
            return _known(folder, done)
        verdict = believed_scorer()
        split = scored_split(source)
        with local_ray(home):
            report, driven = _score_run(graphs, split, specs, step, verdict)
            failed = failures_of(driven, CAMERA)
            replays = replays_of(failed)
        planners = {"planned": OnnxPlanner(CAMERA, graphs[CAMERA]), EGO_ONLY: OnnxPlanner(EGO_ONLY, graphs[EGO_ONLY])}
        with publish_folder(folder) as temporary:
            failures, files = write_failures(failed, replays, temporary)
            report = report.model_copy(update={"failures": failures})
            write_evidence(temporary / EVIDENCE, report)
            outputs = {EVIDENCE: temporary / EVIDENCE, **files, **write_scenes(temporary, source, split, planners)}
            manifest = step.finish(temporary / "manifest.json", outputs, _metrics(report))
        _record(home, manifest, folder)
        note(home, report, manifest, folder)
    return EvaluationOutcome(folder=folder, manifest=manifest, report=report, skipped=False)


def scorer_code_sha256() -> str:
    """Return the digest of all code that decides an evaluation: another one, and it has to be made again."""
    return code_sha256(*_MODULES)


def evidence_name(run: Manifest, dataset: str, scored_on: Input) -> str:
    """Name the folder of a run's evidence: its own dataset's is ``evaluation``, another one's carries its name."""
    trained_on = run.inputs.get("dataset")
    return "evaluation" if trained_on is None or trained_on.sha256 == scored_on.sha256 else f"evaluation-{dataset}"


def evaluate_onnx(
    home: Home, *, onnx: Path, name: str, dataset: str, out: Path, baseline: str | None = None, force: bool = False
) -> EvaluationOutcome:
    """Score any ONNX graph with the planner's interface, open loop; writes ``OUT/evaluation.json``.

    Rows of constant velocity and of an ego-only run stand beside it.

    Args:
        home: Where dataset and runs are.
        onnx: The graph.
        name: The planner's name in the report.
        dataset: Whose test split is used.
        out: Folder of the report.
        baseline: The ego-only run; the newest one of the dataset by default. Without any the report says ``not_run``.
        force: Score again what was scored.

    Raises:
        ConfigError: `name` is a baseline's.
        MissingPartError: The graph, the dataset or the named baseline does not exist.
        IntegrityError: The files of the named baseline differ from their manifest.
        ContractError: The graph has another interface, or gives a plan that is not finite.
    """
    if name in (EGO_ONLY, ConstantVelocity.name):
        raise ConfigError(f"'{name}' is the name of a baseline's row", where="--name", remedy="take another name")
    OnnxPlanner(name, onnx)  # refuse a graph of another interface before anything is started
    source = home.datasets / valid_name(dataset, what="--dataset")
    graph = input_of(onnx)
    blind, not_run = _blind_graph(home, dataset, baseline)
    step = Step(
        "evaluation",
        inputs={
            "dataset": dataset_input(source),
            "onnx": graph,
            **({} if blind is None else {EGO_ONLY: input_of(blind)}),
        },
        config={**scoring_config((), weights=graph.sha256), "name": name},
        modules=_MODULES,
    )
    done = None if force else step.done(out / "manifest.json")
    if done is not None:
        return _known(out, done)
    verdict = believed_scorer()
    split = scored_split(source)
    with local_ray(home):
        plans = _plans_on_ray({name: onnx, **({} if blind is None else {EGO_ONLY: blind})}, split.inputs)
    report = EvaluationReport(
        **report_header(step, verdict, model_name=name, weights=graph.sha256, seeds=(BOOTSTRAP_SEED,)),
        open_loop=_rows_beside_constant_velocity(plans, split),
        closed_loop=(),
        not_run=not_run,
        findings=findings.self_test_findings(verdict),
    )
    write_evidence(out / EVIDENCE, report)
    manifest = step.finish(out / "manifest.json", {EVIDENCE: out / EVIDENCE}, _metrics(report))
    _record(home, manifest, out)
    return EvaluationOutcome(folder=out, manifest=manifest, report=report, skipped=False)


def _blind_graph(home: Home, dataset: str, baseline: str | None) -> tuple[Path | None, dict[str, str]]:
    """Return the graph of the ego-only run, or None and why there is none; what was named has to be there."""
    found = baseline or newest_ego_only(home, dataset)
    if found is None:
        return None, {_NO_EGO_ONLY: f"no ego-only run of '{dataset}' is finished, and none is named with --baseline"}
    try:
        _whole_run(home, found)
    except IntegrityError as error:
        if baseline is not None:
            raise
        return None, {_NO_EGO_ONLY: f"the newest ego-only run of '{dataset}', '{found}', cannot be used: {error}"}
    return home.runs / found / "model.onnx", {}


def _rows_beside_constant_velocity(plans: Mapping[str, Doubles], split: LoadedSplit) -> tuple[MetricsRow, ...]:
    """Score plans, and those of constant velocity after them."""
    sweeps = sweeps_of(split.frames.agents)
    still = ConstantVelocity().plan(split.inputs).astype(np.float64)
    return tuple(
        row
        for name, plan in {**plans, ConstantVelocity.name: still}.items()
        for row in open_loop.rows_by_slice(
            name, open_loop.score_frames(plan, split.frames, sweeps), split.frames, seed=BOOTSTRAP_SEED
        )
    )


def _record(home: Home, manifest: Manifest, folder: Path) -> None:
    """Tell the catalogue what was judged, and on what."""
    with embedded_postgres(home) as uri, Catalog(uri) as catalog:
        catalog.record(manifest, folder)


def _whole_run(home: Home, name: str) -> Manifest:
    folder = home.runs / valid_name(name, what="--run")
    remedy = f"train it with `drivetrain train RECIPE --dataset NAME --run {name}`"
    try:
        manifest = read_manifest(folder / "manifest.json")
    except FileNotFoundError as error:
        raise MissingPartError(f"no finished run '{name}'", where=folder, remedy=remedy) from error
    changed = changed_outputs(manifest, folder)
    if changed:
        raise IntegrityError(f"changed after training: {', '.join(changed)}", where=folder, remedy=remedy)
    return manifest


def _known(folder: Path, manifest: Manifest) -> EvaluationOutcome:
    report = read_evidence(EvaluationReport, folder / EVIDENCE)
    return EvaluationOutcome(folder=folder, manifest=manifest, report=report, skipped=True)


def scoring_config(specs: Sequence[DriveSpec], *, weights: str) -> dict[str, JsonValue]:
    """Return what of an evaluation is chosen: split, resamples, worlds and whose weights."""
    return {
        "split": SPLIT,
        "bootstrap": {"seed": BOOTSTRAP_SEED, "resamples": RESAMPLES},
        "closed_loop": [
            {"seed": spec.seed, "weather": spec.weather, "event": spec.event, "duration_s": spec.duration_s}
            for spec in specs
        ],
        "weights_sha256": weights,
    }


def believed_scorer() -> Verdict:
    """Run the scorer's self-test; nothing is scored by a scorer that fails it."""
    verdict = run_self_test()
    if not verdict.passed:
        wrong = ", ".join((*verdict.failed, *verdict.missed))
        raise ContractError(f"the scorer fails its own test: {wrong}", where="scorer", remedy="report this bug")
    return verdict


def scored_split(source: Path) -> LoadedSplit:
    """Read what is scored on."""
    with DrivingDataset.open(source) as dataset:
        return load_split(dataset, SPLIT)


def _score_run(
    graphs: dict[str, Path], split: LoadedSplit, specs: Sequence[DriveSpec], step: Step, verdict: Verdict
) -> tuple[EvaluationReport, Driven]:
    frames = split.frames
    plans = _plans_on_ray(graphs, split.inputs)
    plans[ConstantVelocity.name] = ConstantVelocity().plan(split.inputs).astype(np.float64)
    sweeps = sweeps_of(frames.agents)
    scores = {name: open_loop.score_frames(plan, frames, sweeps) for name, plan in plans.items()}
    rows = {name: open_loop.rows_by_slice(name, found, frames, seed=BOOTSTRAP_SEED) for name, found in scores.items()}
    pairs = findings.paired_ade(scores[CAMERA], scores[EGO_ONLY], frames, seed=BOOTSTRAP_SEED)
    rows[CAMERA] = findings.with_pairs(rows[CAMERA], pairs)
    world = drive_worlds(graphs, specs, looks=frozenset({CAMERA, CHAMPION}))
    closed = tuple(
        row
        for name in (*graphs, EXPERT)
        for row in closed_loop.rows_by_slice(name, world.episodes, seed=BOOTSTRAP_SEED)
    )
    epdms = world.epdms_rows(seed=BOOTSTRAP_SEED)
    driven = open_loop.score_frames(frames.future_m, frames, sweeps)
    rival = (
        None if CHAMPION not in graphs else _against_champion(graphs[CHAMPION].parent.name, scores, split, world, step)
    )
    report = EvaluationReport(
        **report_header(
            step,
            verdict,
            model_name=graphs[CAMERA].parent.name,
            weights=str(step.config["weights_sha256"]),
            seeds=(BOOTSTRAP_SEED, *(spec.seed for spec in specs)),
        ),
        open_loop=tuple(row for found in rows.values() for row in found),
        closed_loop=closed,
        pseudo_closed_loop=epdms,
        not_run=_not_run(scores[CAMERA], closed),
        champion=rival,
        findings=(
            *findings.self_test_findings(verdict),
            *findings.open_loop_findings(pairs, driven, frames),
            *findings.champion_findings(rival),
            *findings.epdms_findings(epdms),
            *findings.closed_loop_findings(closed),
        ),
    )
    return report, world


def _against_champion(
    name: str, scores: Mapping[str, open_loop.Scores], split: LoadedSplit, world: Driven, step: Step
) -> ChampionReport:
    differences = [*open_differences(scores[CAMERA], scores[CHAMPION], split.frames)]
    if world.worlds:
        differences += closed_differences(world.episodes, CAMERA, CHAMPION)
    return ChampionReport(
        champion=name,
        champion_sha256=step.inputs[CHAMPION].sha256,
        alpha=ALPHA,
        comparisons=compared(differences, seed=BOOTSTRAP_SEED),
    )


def _not_run(scores: open_loop.Scores, closed: Sequence[MetricsRow]) -> dict[str, str]:
    """Say what was not scored, and why: a figure that is not there is neither good nor bad."""
    found = {}
    if "offroad_rate" not in scores:
        found["open_loop offroad_rate"] = (
            "the dataset holds no map; the pseudo closed loop and the closed loop have one"
        )
        found["open_loop epdms"] = "it needs a map, traffic lights and the plan before, which the dataset does not hold"
    if not closed:
        found["closed_loop"] = found["pseudo_closed_loop"] = "nothing was driven in the simulator"
    return found


def report_header(
    step: Step, verdict: Verdict, *, model_name: str, weights: str, seeds: tuple[int, ...]
) -> ReportHeader:
    """Return what every report says of its scorer, its data and whom it judges."""
    scorer = hashlib.sha256(f"{code_sha256(*SCORER_MODULES)}\n{verdict.sha256}".encode()).hexdigest()
    return ReportHeader(
        model_name=model_name,
        weights_sha256=weights,
        dataset_sha256=step.inputs["dataset"].sha256,
        split=SPLIT,
        scorer_version=version("drivetrain"),
        scorer_sha256=scorer,
        self_test_sha256=verdict.sha256,
        seeds=seeds,
    )


class ReportHeader(TypedDict):
    """What every report begins with."""

    model_name: str
    weights_sha256: str
    dataset_sha256: str
    split: str
    scorer_version: str
    scorer_sha256: str
    self_test_sha256: str
    seeds: tuple[int, ...]


@ray.remote(num_cpus=1)  # type: ignore[untyped-decorator]  # ray publishes no types
def _plan_remotely(name: str, graph: str, inputs: PlannerInput) -> Float:
    return OnnxPlanner(name, Path(graph), threads=1).plan(inputs)


def _plans_on_ray(graphs: dict[str, Path], inputs: PlannerInput) -> dict[str, Doubles]:
    """Plan the whole split, in blocks (1:N), as doubles for the scorer."""
    blocks = np.array_split(np.arange(len(inputs)), max(1, min(8, len(inputs) // 32)))
    jobs = [(name, rows) for name in graphs for rows in blocks]
    task = _plan_remotely.options(resources=resources_for(EVALUATES))
    references = [task.remote(name, str(graphs[name]), inputs.take(rows)) for name, rows in jobs]
    done: list[Float] = gather("open loop", references)
    return {
        name: np.concatenate([plan for (owner, _), plan in zip(jobs, done, strict=True) if owner == name]).astype(
            np.float64
        )
        for name in graphs
    }


def _metrics(report: EvaluationReport) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {"self_test_sha256": report.self_test_sha256}
    for row in report.open_loop:
        if row.slice == "all":
            found[f"{row.planner}_ade_m"] = round(row.metrics["ade_m"].value, 4)
            found[f"{row.planner}_fde_m"] = round(row.metrics["fde_m"].value, 4)
    return found
