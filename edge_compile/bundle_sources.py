"""The sources of a bundle: read, checked against their manifests and against each other, before anything is packed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from edge_compile.device.importing import check_runs
from edge_compile.gate import judge
from edge_compile.gate_dataset import DatasetFacts, dataset_facts
from edge_compile.gate_files import evaluation_manifest, read_step_manifest
from platform_lib.errors import ContractError, IntegrityError, MissingPartError
from platform_lib.evidence import CompiledPrecision, CompileReport, EvaluationReport, GateReport, read_evidence
from platform_lib.handoff import model
from platform_lib.handoff.derive import COMPILED_FOLDER
from platform_lib.handoff.thresholds import Thresholds
from platform_lib.manifest import Input, Manifest, changed_outputs, manifest_path_of
from platform_lib.storage import sha256_file

# Source: the ELF, PE and Mach-O (both byte orders, and universal) specifications.
_PROGRAM_MAGIC = (b"\x7fELF", b"MZ", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_PROGRAM_SUFFIXES = frozenset({".so", ".dll", ".dylib", ".exe", ".cat", ".sys", ".whl"})


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a bundle come from.

    Attributes:
        run: The training run's folder.
        dataset: The dataset's folder.
        compiled: The folder that `compile` wrote.
        evaluation: ``evaluation.json`` of the float model.
        compressed: ``evaluation.json`` of the compressed model.
        gates: ``gates.json``, with its manifest beside it.
    """

    run: Path
    dataset: Path
    compiled: Path
    evaluation: Path
    compressed: Path
    gates: Path


@dataclass(frozen=True, slots=True)
class Packed:
    """One file to be packed.

    Attributes:
        source: Where it is; for `content` where that came from.
        path: Where it goes, relative to the bundle.
        content: Its bytes, if it is written and not copied.
    """

    source: Path
    path: str
    role: str
    sha256: str
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """All that goes into a bundle, checked.

    Attributes:
        step_manifests: Path in the bundle -> manifest of each step that led here.
    """

    run: Manifest
    run_name: str
    dataset: Manifest
    dataset_name: str
    facts: DatasetFacts
    compile_manifest: Manifest
    compiled: CompileReport
    chosen: CompiledPrecision
    evaluation: EvaluationReport
    compressed: EvaluationReport
    gates: GateReport
    thresholds: Thresholds
    packed: tuple[Packed, ...]
    step_manifests: dict[str, Manifest]

    @property
    def created_utc(self) -> datetime:
        """When the newest input was made."""
        return max(manifest.created_utc for manifest in self.step_manifests.values())

    @property
    def state(self) -> Literal["candidate", "approved"]:
        """The gates' state; a rejected model never gets here."""
        return "approved" if self.gates.state == "approved" else "candidate"

    @property
    def inputs(self) -> dict[str, Input]:
        """Every file to be packed, as inputs of the step."""
        return {item.path: Input(sha256=item.sha256, uri=str(item.source)) for item in self.packed}


def read_sources(places: Places) -> Sources:
    """Read every source and check it.

    Raises:
        MissingPartError: A source is missing.
        IntegrityError: A source differs from its manifest, or is of another model, dataset or build than the rest.
        ContractError: The gates rejected the model, no precision was chosen, or a file may not be packed.
    """
    run = _intact(places.run, "run")
    dataset = _intact(places.dataset, "dataset")
    compile_manifest = _intact(places.compiled, "compile")
    compiled = read_evidence(CompileReport, places.compiled / "report.json")
    check_runs(places.compiled, compiled)
    evaluation = read_evidence(EvaluationReport, places.evaluation)
    compressed = read_evidence(EvaluationReport, places.compressed)
    scored, rescored = _vouched(places.evaluation), _vouched(places.compressed)
    gates, thresholds, gate_manifest = _gates(places, evaluation, compressed, compiled, dataset, (scored, rescored))
    chosen = None if compiled.chosen is None else compiled.precision(compiled.chosen)
    if chosen is None:
        raise ContractError("no precision passed, so there is nothing to ship", where=places.compiled)
    _belong_together(places, run=run, dataset=dataset, compiled=compiled, evaluation=evaluation)
    folder = "evidence/manifests"
    manifests = {
        f"{folder}/dataset.json": (places.dataset / "manifest.json", dataset),
        f"{folder}/run.json": (places.run / "manifest.json", run),
        f"{folder}/compile.json": (places.compiled / "manifest.json", compile_manifest),
        f"{folder}/evaluation.json": scored,
        f"{folder}/compressed_evaluation.json": rescored,
        f"{folder}/gates.json": (manifest_path_of(places.gates), gate_manifest),
    }
    packed = (
        *_artefacts(places, run, compiled, chosen),
        *_evidence(places, thresholds),
        *_measured(places, compiled),
        *(Packed(path, name, "step manifest", sha256_file(path)) for name, (path, _) in manifests.items()),
    )
    for item in packed:
        _refuse_program(item)
    return Sources(
        run=run,
        run_name=places.run.resolve().name,
        dataset=dataset,
        dataset_name=places.dataset.resolve().name,
        facts=dataset_facts(dataset),
        compile_manifest=compile_manifest,
        compiled=compiled,
        chosen=chosen,
        evaluation=evaluation,
        compressed=compressed,
        gates=gates,
        thresholds=thresholds,
        packed=packed,
        step_manifests={name: manifest for name, (_, manifest) in manifests.items()},
    )


def _intact(folder: Path, kind: str) -> Manifest:
    manifest = read_step_manifest(folder / "manifest.json", kind=kind)
    changed = changed_outputs(manifest, folder)
    if changed:
        raise IntegrityError(
            f"changed after the {kind} was made: {', '.join(changed)}", where=folder, remedy=f"make the {kind} again"
        )
    return manifest


def _vouched(path: Path) -> tuple[Path, Manifest]:
    """Return an evaluation's manifest, which shows that nobody changed it; without one it is not signed."""
    found = evaluation_manifest(path)
    if found is None:
        raise MissingPartError(
            "no manifest lies beside the evaluation, so nothing shows that it is as it was scored",
            where=path,
            remedy="evaluate again",
        )
    return found


def _gates(
    places: Places,
    evaluation: EvaluationReport,
    compressed: EvaluationReport,
    compiled: CompileReport,
    dataset: Manifest,
    vouched: tuple[tuple[Path, Manifest], tuple[Path, Manifest]],
) -> tuple[GateReport, Thresholds, Manifest]:
    """Read the gate report and judge again: a report that says other than the evidence is refused."""
    remedy, (scored, rescored) = "run `drivetrain gate` again", vouched
    path = manifest_path_of(places.gates)
    report = read_evidence(GateReport, places.gates)
    manifest = read_step_manifest(path, kind="gate")
    if changed_outputs(manifest, path.parent):
        raise IntegrityError("changed after it was judged", where=places.gates, remedy=remedy)
    sources = {
        "evaluation": places.evaluation,
        "compressed_evaluation": places.compressed,
        "compile": places.compiled / "report.json",
        "dataset": places.dataset / "manifest.json",
        "evaluation_manifest": scored[0],
        "compressed_evaluation_manifest": rescored[0],
    }
    judged = {name: item.sha256 for name, item in manifest.inputs.items()}
    if judged != {name: sha256_file(source) for name, source in sources.items()}:
        raise IntegrityError("the gates judged other evidence than this", where=places.gates, remedy=remedy)
    try:
        thresholds = Thresholds.model_validate(manifest.config)
    except ValidationError as error:
        raise IntegrityError("the gates' manifest holds no thresholds", where=path, remedy=remedy) from error
    today = datetime.now(tz=UTC).date()
    again = judge(
        *(evaluation, compressed, compiled, dataset, thresholds), scored=scored[1], rescored=rescored[1], today=today
    )
    if again != report:
        raise IntegrityError("the gates say other than their evidence", where=places.gates, remedy=remedy)
    if report.state == "rejected":
        failed = ", ".join(item.gate for item in report.gates if item.status == "fail")
        raise ContractError(
            f"the gates rejected it: {failed}",
            where=places.gates,
            remedy="read the gates' reasons, mend the model or the compile, and judge again; a rejected model is never packed",
        )
    return report, thresholds, manifest


def _belong_together(
    places: Places, *, run: Manifest, dataset: Manifest, compiled: CompileReport, evaluation: EvaluationReport
) -> None:
    outputs = {output.path: output.sha256 for output in run.outputs.values()}
    statements = {
        "the run has no model.onnx": "model.onnx" in outputs,
        "the compiled model is not the run's model.onnx": outputs.get("model.onnx") == compiled.onnx_sha256,
        "the evaluation is not of the run's weights": evaluation.weights_sha256 in outputs.values(),
        "the run was not trained on this dataset": dataset_facts(dataset).digests
        & {item.sha256 for item in run.inputs.values()},
    }
    for what, holds in statements.items():
        if not holds:
            raise IntegrityError(what, where=places.run, remedy="name the run, dataset and compile of one another")


def _artefacts(places: Places, run: Manifest, compiled: CompileReport, chosen: CompiledPrecision) -> tuple[Packed, ...]:
    digests = {output.path: output.sha256 for output in run.outputs.values()}
    if chosen.qdq is None or not chosen.context:
        raise ContractError(f"the compile has no artefacts for {chosen.precision}", where=places.compiled)
    found = [Packed(places.run / "model.onnx", model.MODEL_ONNX, "float model", digests["model.onnx"])]
    if "frozen.npz" in digests:
        found.append(Packed(places.run / "frozen.npz", model.FROZEN_INPUTS, "frozen inputs", digests["frozen.npz"]))
    roles = {chosen.qdq: "quantized model", **dict.fromkeys(chosen.context, "loaded on the target")}
    roles |= {path: "quantized model's weights" for path in compiled.digests if path.startswith(f"{chosen.qdq}.")}
    if chosen.encodings is not None:
        roles[chosen.encodings] = "encodings"
    for path, role in roles.items():
        if path not in compiled.digests:
            raise IntegrityError(f"the compile report has no digest of {path}", where=places.compiled)
        found.append(Packed(places.compiled / path, f"{COMPILED_FOLDER}/{path}", role, compiled.digests[path]))
    return tuple(found)


def _evidence(places: Places, thresholds: Thresholds) -> tuple[Packed, ...]:
    files = {
        model.EVALUATION: places.evaluation,
        model.COMPRESSED_EVALUATION: places.compressed,
        model.COMPILE_REPORT: places.compiled / "report.json",
        model.GATES_REPORT: places.gates,
    }
    written = (thresholds.model_dump_json(indent=2) + "\n").encode()
    digest = hashlib.sha256(written).hexdigest()
    return (
        *(Packed(source, name, "evidence", sha256_file(source)) for name, source in files.items()),
        Packed(manifest_path_of(places.gates), model.THRESHOLDS, "evidence", digest, content=written),
    )


def _measured(places: Places, compiled: CompileReport) -> tuple[Packed, ...]:
    """Pack the signed measurements behind all that the report says of boards."""
    return tuple(
        Packed(places.compiled / path, f"evidence/{path}", "signed measurement on a device", digest)
        for run in compiled.device
        for path, digest in compiled.digests.items()
        if path.startswith(f"{run.folder}/")
    )


def _refuse_program(item: Packed) -> None:
    """Refuse programs and libraries: the vendor's licence lets none of its own travel, and none of ours needs to."""
    if item.content is not None:
        return
    if not item.source.is_file() or item.source.is_symlink():
        raise MissingPartError("no such file", where=item.source, remedy="run the step that makes it")
    with item.source.open("rb") as stream:
        magic = stream.read(4)
    if magic.startswith(_PROGRAM_MAGIC) or _PROGRAM_SUFFIXES & {suffix.lower() for suffix in item.source.suffixes}:
        raise ContractError(
            "a program or library may not be packed",
            where=item.source,
            remedy="the vehicle maker installs the chip vendor's runtime under its own licence",
        )
