"""The handoff manifest: everything an integrator is told about one bundle. Pure.

What is not known is never left out and never null: it is an `Unknown` with the reason. A field that may be unknown says
so in its type; a bare null is refused everywhere else.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from platform_lib.evidence import Status

MANIFEST_NAME: Final = "manifest.json"
SIGNATURE_NAME: Final = "bundle.sig"
PUBLIC_KEY_NAME: Final = "public-key.pem"
BOM_NAME = "bom.cdx.json"
README_NAME = "README.txt"
MODEL_ONNX = "model/model.onnx"
FROZEN_INPUTS = "inputs/frozen.npz"
EVALUATION = "evidence/evaluation.json"
COMPRESSED_EVALUATION = "evidence/compressed_evaluation.json"
COMPILE_REPORT = "evidence/compile_report.json"
GATES_REPORT = "evidence/gates.json"
THRESHOLDS = "evidence/thresholds.json"
APPROVALS_NEEDED = 2

Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Unknown(_Strict):
    """What is not known, and why: ``{"value": null, "reason": "..."}``; never 0, never left out."""

    value: None
    reason: Text


def unknown(reason: str) -> Unknown:
    """Say that something is not known, with the reason."""
    return Unknown(value=None, reason=reason)


class FileEntry(_Strict):
    """One file of the bundle.

    Attributes:
        path: Relative to the bundle, POSIX.
        role: What it is for, in one word or two.
    """

    path: Text
    role: Text
    sha256: Sha256
    bytes: Count

    @model_validator(mode="after")
    def _inside(self) -> Self:
        path = PurePosixPath(self.path)
        odd = {"\0", "\\", ":"} & set(self.path)  # a drive, a parent or a stream where the integrator runs Windows
        if path.is_absolute() or ".." in path.parts or path.as_posix() != self.path or odd:
            raise ValueError(f"{self.path!r} is not a plain relative path")
        return self


class Header(_Strict):
    """Which bundle this is, and what its signature does not say.

    Attributes:
        package_id: Model, target and a digest of the content; the same content has the same id.
        created_utc: When the newest of its inputs was made.
        state: ``candidate`` or ``approved``; a rejected model is never packed.
        blocking: The gates that keep it from approval.
    """

    manifest_version: Literal[1]
    package_id: Text
    created_utc: datetime
    state: Literal["candidate", "approved"]
    blocking: tuple[Text, ...]


class Odd(_Strict):
    """The operational design domain the item is meant for."""

    id: Text
    version: Text


class Item(_Strict):
    """What the bundle does in the vehicle, in the terms of ISO 26262, ISO 21448 and UN R156."""

    function: Text
    asil: Text | Unknown
    sotif_reference: Text | Unknown
    odd: Odd | Unknown
    rxswin_candidates: tuple[Text, ...] | Unknown
    type_approval_relevance: Text | Unknown


class Tensor(_Strict):
    """One input or output of the model.

    Attributes:
        shape: Static, with the batch.
        layout: Names of the axes, for example ``NCHW``.
        low: Smallest value the model was made for, in `unit`.
        high: Largest value.
    """

    name: Text
    dtype: Text
    shape: tuple[Annotated[int, Field(gt=0)], ...]
    layout: Text | Unknown
    unit: Text | Unknown
    low: float | Unknown
    high: float | Unknown


class Model(_Strict):
    """The float model the bundle comes from.

    Attributes:
        preprocessing_sha256: Digest of what turns sensor data into the inputs.
        calibration_sha256: Digests of the samples that quantization was calibrated on.
        fallback_contract: What the vehicle does when the model gives no valid plan.
    """

    name: Text
    version: Text
    run_id: Text
    weights_sha256: Sha256
    onnx_sha256: Sha256
    inputs: tuple[Tensor, ...] | Unknown
    outputs: tuple[Tensor, ...] | Unknown
    preprocessing_sha256: Sha256 | Unknown
    calibration_sha256: tuple[Sha256, ...] | Unknown
    fallback_contract: Text | Unknown


class Latency(_Strict):
    """Inference time on the target, where it was taken, and its kind.

    Attributes:
        estimate_us: The vendor's simulated time, or the device's median.
        p50_us: Percentiles exist for measurements only.
    """

    estimate_us: float | Unknown
    low_us: float | Unknown
    high_us: float | Unknown
    p50_us: float | Unknown
    p99_us: float | Unknown
    max_us: float | Unknown


class Target(_Strict):
    """One chip the bundle is built for.

    Attributes:
        soc_model: The compiler's numeric id of the chip.
        id_confirmed: Whether that id is confirmed on a board or in an authoritative source.
        flags: The compiler options that were set.
        artefacts: What is loaded on the target.
        encodings: The quantization parameters.
        memory_bytes: Working memory on the target.
        measured_on: Where latency comes from.
    """

    soc: Text
    soc_model: int
    id_confirmed: bool
    architecture: Text
    precision: Text
    tools: dict[str, str]
    flags: dict[str, str] | Unknown
    artefacts: tuple[FileEntry, ...] = Field(min_length=1)
    encodings: tuple[FileEntry, ...] | Unknown
    latency: Latency
    memory_bytes: Count | Unknown
    ddr_read_bytes: Count | Unknown
    ddr_write_bytes: Count | Unknown
    npu_nodes: Count | Unknown
    cpu_nodes: Count | Unknown
    measured_on: Literal["device", "simulator", "not_run"]


class Dataset(_Strict):
    """One dataset and the digest of the step that made it."""

    name: Text
    step_sha256: Sha256
    outputs: dict[str, Sha256]


class Data(_Strict):
    """What the model was trained and tested on.

    Attributes:
        split_proof: Split -> drives in it; no drive is in two.
        pii_states: State -> samples.
        known_gaps: Cells of the operational design domain without data.
    """

    contracts: tuple[Text, ...] | Unknown
    datasets: tuple[Dataset, ...] = Field(min_length=1)
    split_proof: dict[str, tuple[Text, ...]] | Unknown
    pii_states: dict[str, Count] | Unknown
    label_version: Text | Unknown
    anonymisation_method: Text | Unknown
    known_gaps: tuple[Text, ...] | Unknown


class Evaluation(_Strict):
    """One figure of one planner on one slice, with the scorer that gave it."""

    planner: Text
    loop: Literal["open", "closed"]
    slice: Text
    metric: Text
    n: Count
    drives: Count
    value: float
    low: float | Unknown
    high: float | Unknown
    threshold: float | Unknown
    scorer_version: Text
    scorer_sha256: Text
    seeds: tuple[int, ...]


class Rung(_Strict):
    """One rung of the parity ladder."""

    name: Text
    precision: Text
    status: Status
    samples: Count
    sqnr_db: float | Unknown
    max_abs_error: float | Unknown
    threshold_db: float | Unknown
    reason: Text | Unknown


class Gate(_Strict):
    """One gate's result, as in the gate report."""

    gate: Text
    status: Status
    reason: Text


class Waiver(_Strict):
    """One dated exception."""

    what: Text
    approved_by: Text
    expires_utc: datetime


class Safety(_Strict):
    """The safety argument's links and its open ends (ISO/PAS 8800, ISO 21448)."""

    argument: Text | Unknown
    triggering_conditions_covered: tuple[Text, ...] | Unknown
    triggering_conditions_open: tuple[Text, ...] | Unknown
    residual_risks: tuple[Text, ...] = Field(min_length=1)
    waivers: tuple[Waiver, ...]


class Tool(_Strict):
    """One tool in the chain with its confidence level by ISO 26262-8:2018, 11.4.5.5.

    Attributes:
        ti: Tool impact: 1 = no error of it can reach the item, 2 = one can.
        td: Tool error detection: 1 = high, 2 = medium, 3 = low confidence that an error is found.
        tcl: Follows from both: TI1 or TD1 -> 1, TD2 -> 2, TD3 -> 3.
    """

    name: Text
    version: Text | Unknown
    use: Text
    ti: Literal[1, 2]
    td: Literal[1, 2, 3]
    tcl: Literal[1, 2, 3]
    qualification: Text | Unknown

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        expected = 1 if self.ti == 1 else self.td
        if self.tcl != expected:
            raise ValueError(f"tool {self.name}: TI{self.ti} and TD{self.td} give TCL{expected}, not TCL{self.tcl}")
        return self


class StepRecord(_Strict):
    """One step that led here; its whole manifest is the file named."""

    kind: Text
    step_sha256: Sha256
    code_sha256: Sha256
    git_sha: Text | Unknown
    git_dirty: bool | Unknown
    manifest: FileEntry


class Provenance(_Strict):
    """How the bundle came to be."""

    steps: tuple[StepRecord, ...] = Field(min_length=1)
    environment_sha256: Sha256
    bom: FileEntry
    lock_file_sha256: Sha256 | Unknown
    in_toto_links: tuple[FileEntry, ...] | Unknown
    spdx: FileEntry | Unknown


class Approval(_Strict):
    """One person's approval of this bundle's content."""

    person: Text
    role: Text
    approved_utc: datetime
    package_id: Text


class Deployment(_Strict):
    """What deployment needs and watches."""

    preconditions: tuple[Text, ...] | Unknown
    monitors: tuple[Text, ...] | Unknown
    rollback_target: Text | Unknown


class SignatureNote(_Strict):
    """How the bundle is signed. The key that lies in it is for comparison; trust comes from outside.

    Attributes:
        key_id: sha256 of the public key's PEM, as the signature names it.
    """

    scheme: Literal["model-signing"]
    algorithm: Text
    file: Literal["bundle.sig"]
    key_id: Sha256
    public_key_file: Literal["public-key.pem"]


class HandoffManifest(_Strict):
    """``manifest.json`` of a bundle; see the module's note on what is not known.

    Attributes:
        files: Every file of the bundle but this one and the signature.
    """

    header: Header
    item: Item
    model: Model
    targets: tuple[Target, ...] = Field(min_length=1)
    data: Data
    evaluation: tuple[Evaluation, ...]
    parity: tuple[Rung, ...]
    gates: tuple[Gate, ...]
    safety: Safety
    tools: tuple[Tool, ...]
    provenance: Provenance
    approvals: tuple[Approval, ...]
    deployment: Deployment
    signature: SignatureNote
    files: tuple[FileEntry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        paths = [entry.path for entry in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("a file is listed twice")
        listed = set(self.files)
        if missing := [entry.path for entry in self._named() if entry not in listed]:
            raise ValueError(f"named with other bytes than listed, or not listed: {', '.join(missing)}")
        if self.header.state == "approved":
            self._approved()
        elif not self.header.blocking:
            raise ValueError("a candidate names what keeps it from approval")
        return self

    def _named(self) -> list[FileEntry]:
        entries = [self.provenance.bom, *(step.manifest for step in self.provenance.steps)]
        for target in self.targets:
            entries += target.artefacts
            entries += () if isinstance(target.encodings, Unknown) else target.encodings
        return entries

    def _approved(self) -> None:
        people = {approval.person for approval in self.approvals if approval.package_id == self.header.package_id}
        if self.header.blocking or len(people) < APPROVALS_NEEDED:
            raise ValueError(f"approved takes no open gate and {APPROVALS_NEEDED} people")
