"""Whether a bundle's manifest says what its files say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from platform_lib.errors import ConfigError
from platform_lib.evidence import CompileReport, EvaluationReport, GateReport
from platform_lib.handoff import strict_json
from platform_lib.handoff.contents import SignedFiles, shown
from platform_lib.handoff.derive import COMPILED_FOLDER, evaluation_entries, gates, rungs, step_record, target
from platform_lib.handoff.envelope import SignedList
from platform_lib.handoff.gates import blocking, state_of
from platform_lib.handoff.keys import MAX_PEM_BYTES, canonical_public_pem, key_id
from platform_lib.handoff.model import (
    BOM_NAME,
    COMPILE_REPORT,
    COMPRESSED_EVALUATION,
    EVALUATION,
    GATES_REPORT,
    MANIFEST_NAME,
    MODEL_ONNX,
    PUBLIC_KEY_NAME,
    THRESHOLDS,
    Data,
    FileEntry,
    HandoffManifest,
    Unknown,
)
from platform_lib.handoff.thresholds import Thresholds
from platform_lib.manifest import Manifest

# The largest JSON that a bundle may hold; the demo's largest takes 0.3 MB.
MAX_JSON_BYTES = 16 << 20
_Kind = TypeVar("_Kind", bound=BaseModel)


class _SplitProof(BaseModel):
    """The few fields of a dataset's split proof that a bundle repeats."""

    drives: dict[str, tuple[str, ...]]
    pii_states: dict[str, dict[str, int]]


class _BomHash(BaseModel):
    content: str


class _BomComponent(BaseModel):
    type: str
    hashes: tuple[_BomHash, ...] = ()


class _Bom(BaseModel):
    """The few fields of the bill of materials that are compared; its schema was checked when it was made."""

    components: tuple[_BomComponent, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence files of a bundle, read."""

    evaluation: EvaluationReport
    compressed: EvaluationReport | None
    compiled: CompileReport
    gates: GateReport
    thresholds: Thresholds


def contradictions(files: SignedFiles, manifest: HandoffManifest, signed: SignedList) -> list[str]:
    """Name what the manifest says and the files do not.

    Args:
        files: The bundle's files; none of them is a link.
        manifest: Its manifest.
        signed: What its signature covers.
    """
    found = _list_problems(manifest, signed)
    try:
        evidence = _read_evidence(files)
        found += _evidence_problems(manifest, evidence)
        found += _step_problems(files, manifest)
        public = files.read(PUBLIC_KEY_NAME, MAX_PEM_BYTES)
        if key_id(canonical_public_pem(public, Path(PUBLIC_KEY_NAME))) != signed.key_id:
            found.append(f"{PUBLIC_KEY_NAME} is not the key that signed")
        found += _bom_problems(files, manifest)
    except OSError as error:
        name = shown(Path(error.filename or "a file").name)
        found.append(f"the evidence cannot be compared without {name} ({error.strerror})")
    except (ValueError, KeyError, ConfigError) as error:
        found.append(f"the evidence cannot be read: {shown(str(error))[:400]}")
    return found


def _read_evidence(files: SignedFiles) -> Evidence:
    return Evidence(
        evaluation=_read(EvaluationReport, files, EVALUATION),
        compressed=_read(EvaluationReport, files, COMPRESSED_EVALUATION),
        compiled=_read(CompileReport, files, COMPILE_REPORT),
        gates=_read(GateReport, files, GATES_REPORT),
        thresholds=_read(Thresholds, files, THRESHOLDS),
    )


def _list_problems(manifest: HandoffManifest, signed: SignedList) -> list[str]:
    listed = {entry.path: entry.sha256 for entry in manifest.files}
    covered = {path: digest for path, digest in signed.sha256.items() if path != MANIFEST_NAME}
    found = [
        f"{MANIFEST_NAME} and the signature disagree about {shown(path)}"
        for path in sorted(listed.keys() | covered.keys())
        if listed.get(path) != covered.get(path)
    ]
    if manifest.header.package_id != signed.package_id:
        found.append(f"the signature is of bundle {shown(signed.package_id)}, not {manifest.header.package_id}")
    if manifest.signature.key_id != signed.key_id:
        found.append(f"{MANIFEST_NAME} names another signing key than the signature")
    return found


def _evidence_problems(manifest: HandoffManifest, evidence: Evidence) -> list[str]:
    compiled, listed = evidence.compiled, {entry.path: entry for entry in manifest.files}
    chosen = None if compiled.chosen is None else compiled.precision(compiled.chosen)
    state = state_of(evidence.gates.gates)
    statements: dict[str, Callable[[], bool]] = {
        "the state is the gates'": lambda: manifest.header.state == evidence.gates.state == state,
        "what blocks approval is the gates'": lambda: (
            manifest.header.blocking == evidence.gates.blocking == blocking(evidence.gates.gates)
        ),
        "the gates' results": lambda: manifest.gates == gates(evidence.gates),
        "the evaluation's figures": lambda: (
            manifest.evaluation == evaluation_entries(evidence.evaluation, evidence.compressed, evidence.thresholds)
        ),
        "the parity ladder": lambda: manifest.parity == rungs(compiled),
        "the target": lambda: chosen is not None and manifest.targets == (target(compiled, chosen, listed),),
        "the model's weights": lambda: manifest.model.weights_sha256 == evidence.evaluation.weights_sha256,
        "the model compiled": lambda: manifest.model.onnx_sha256 == compiled.onnx_sha256 == listed[MODEL_ONNX].sha256,
        "the compiled files": lambda: _compiled_as_reported(listed, compiled),
    }
    return [f"{MANIFEST_NAME} contradicts the evidence: {what}" for what, holds in statements.items() if not holds()]


def _compiled_as_reported(listed: dict[str, FileEntry], compiled: CompileReport) -> bool:
    prefix = f"{COMPILED_FOLDER}/"
    ours = {path.removeprefix(prefix): entry.sha256 for path, entry in listed.items() if path.startswith(prefix)}
    return bool(ours) and all(compiled.digests.get(path) == digest for path, digest in ours.items())


def _step_problems(files: SignedFiles, manifest: HandoffManifest) -> list[str]:
    records = manifest.provenance.steps
    steps = [_read(Manifest, files, record.manifest.path) for record in records]
    found = [
        f"{MANIFEST_NAME} contradicts {record.manifest.path}"
        for record, step in zip(records, steps, strict=True)
        if record != step_record(step, record.manifest)
    ]
    by_kind = {step.kind: step for step in steps}
    if missing := [kind for kind in ("dataset", "run", "compile") if kind not in by_kind]:
        return [*found, f"no manifest of the step {missing[0]} is in the bundle"]
    run, said = by_kind["run"], manifest.model
    if (said.version, said.preprocessing_sha256) != (run.step_sha256[:12], run.code.sha256):
        found.append(f"{MANIFEST_NAME} contradicts the run: version or preprocessing")
    return found + _data_problems(manifest.data, by_kind["dataset"])


def _data_problems(said: Data, dataset: Manifest) -> list[str]:
    outputs = {item.path: item.sha256 for item in dataset.outputs.values()}
    found = []
    if [(item.step_sha256, item.outputs) for item in said.datasets] != [(dataset.step_sha256, outputs)]:
        found.append(f"{MANIFEST_NAME} contradicts the dataset: its digests")
    states: Counter[str] = Counter()
    drives: dict[str, tuple[str, ...]] | None = None
    if "split_proof" in dataset.metrics:
        proof = _SplitProof.model_validate(dataset.metrics["split_proof"])
        drives = proof.drives
        for counted in proof.pii_states.values():
            states.update(counted)
    if (None if isinstance(said.split_proof, Unknown) else said.split_proof) != drives:
        found.append(f"{MANIFEST_NAME} contradicts the dataset: which drives are in which split")
    if ({} if isinstance(said.pii_states, Unknown) else said.pii_states) != dict(states):
        found.append(f"{MANIFEST_NAME} contradicts the dataset: samples by pii_state")
    return found


def _bom_problems(files: SignedFiles, manifest: HandoffManifest) -> list[str]:
    components = _read(_Bom, files, BOM_NAME).components
    models = [item for item in components if item.type == "machine-learning-model"]
    digests = [entry.content for item in models for entry in item.hashes]
    return [] if digests == [manifest.model.onnx_sha256] else [f"{BOM_NAME} is of another model"]


def _read(kind: type[_Kind], files: SignedFiles, name: str) -> _Kind:
    data = files.read(name, MAX_JSON_BYTES)
    try:
        return strict_json.parse(kind, data)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
