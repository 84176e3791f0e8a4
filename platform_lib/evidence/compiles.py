"""What a compile made and proved: ``report.json``."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import NonNegativeInt, StringConstraints, model_validator

from platform_lib.evidence.evaluation import Interval
from platform_lib.evidence.strict import Status, Strict

# The rung between the vendor's emulator and a board.
TARGET_DEVICE = "target->device"
# What a compile's tools have to name before a time counts as a device's: which device, and which program, by its digest.
MEASURED_BY = frozenset({"device", "runner", "runner_sha256"})


class OutputDistance(Strict):
    """How far one output of two engines lies apart; `sqnr_db` is None where it is bit-identical."""

    name: str
    sqnr_db: float | None
    max_abs_error: float
    cosine: float


class ParityRung(Strict):
    """One comparison of the ladder: the same frozen inputs through two engines.

    Attributes:
        name: For example ``torch->onnx`` or ``qdq->target``.
        precision: ``fp32``, ``w8a16``, ``w8a8``.
        samples: Frozen inputs compared.
        sqnr_db: Worst output's signal-to-quantization-noise ratio, reference first; None when bit-identical or not run.
        max_abs_error: Largest absolute difference in the output's unit.
        cosine: The worst output's cosine similarity, over all samples.
        threshold_db: The SQNR this rung has to reach.
        reason: Why it failed, or why it was not run.
        outputs: Each output alone; the figures above are those of the worst.
        first_break: The first layer of the float model that misses the threshold, where the rung failed and it was found.
    """

    name: str
    precision: str
    status: Status
    samples: NonNegativeInt
    sqnr_db: float | None
    max_abs_error: float | None
    cosine: float | None
    threshold_db: float | None
    reason: str | None = None
    outputs: tuple[OutputDistance, ...] = ()
    first_break: str | None = None

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.status != "pass" and not self.reason:
            raise ValueError(f"rung {self.name} is {self.status} and gives no reason")
        return self


class Performance(Strict):
    """The vendor's own estimate for one artefact; never a measurement on a device.

    Attributes:
        latency_us: Simulated inference time with bounds; None where the vendor gives none, with the reason.
        ddr_read_bytes: Bytes filled from memory per inference.
        ddr_write_bytes: Bytes spilled to memory per inference.
    """

    measured_on: Literal["device", "simulator", "not_run"]
    latency_us: Interval | None
    ddr_read_bytes: NonNegativeInt | None
    ddr_write_bytes: NonNegativeInt | None
    reason: str | None = None

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.latency_us is None and not self.reason:
            raise ValueError("latency is unknown and no reason is given")
        return self


class GraphSummary(Strict):
    """Where the nodes of the compiled graph run, and in which data types.

    Attributes:
        npu_nodes: Nodes inside the context binary.
        cpu_nodes: Nodes left outside it.
        dtypes: QNN data type -> number of node outputs.
        float_nodes: Nodes that compute in float although the model is quantized.
        unsupported: Node -> the compiler's reason.
    """

    npu_nodes: NonNegativeInt
    cpu_nodes: NonNegativeInt
    dtypes: dict[str, int]
    float_nodes: tuple[str, ...]
    unsupported: dict[str, str]


class Check(Strict):
    """One named check against a known silent failure of the toolchain."""

    name: str
    status: Status
    detail: str


class CompiledPrecision(Strict):
    """One precision of one model on one target; paths are relative to the report."""

    precision: str
    qdq: str | None
    encodings: str | None
    context: tuple[str, ...]
    context_bytes: int
    graph: GraphSummary | None
    performance: Performance
    checks: tuple[Check, ...]


class Rewrite(Strict):
    """One change of the float model before anything else: same arithmetic, operators that the chip has.

    Attributes:
        name: ``opset``, ``static-batch``, ``erf-gelu``, ``runtime-gelu``, ``transpose-rank``.
        layer: The node or input that changed; empty where it is the whole model.
    """

    name: str
    layer: str
    what: str


class NodeWaiver(Strict):
    """A dated exception: one node of one precision may compute in float.

    Attributes:
        node: As the compiled graph names it; exactly one.
        until: The last day on which it holds.
    """

    precision: str
    node: Annotated[str, StringConstraints(min_length=1)]
    until: date
    approved_by: Annotated[str, StringConstraints(min_length=1)]
    why: Annotated[str, StringConstraints(min_length=1)]


class SliceScore(Strict):
    """What one precision's answers cost the task on one slice of the frozen samples.

    Attributes:
        engine: What answered: ``qdq`` on the CPU runs every sample, ``target`` (the emulator) as many as were asked for.
        slice: ``all``, or what the samples' file calls it.
        metric: As asked for, ``ade``, ``top1``, ``module:function``.
        truth: ``labels``, or ``float`` where the float model's own answers are the truth.
        n: Samples of the slice that were run and say something.
        float_value: The float model's value.
        loss: How much worse the precision is; below 0 it is better.
        tolerance: How much worse it may be.
        reason: Why it failed, or why it decides nothing.
    """

    precision: str
    engine: Literal["simulation", "qdq", "target"]
    slice: str
    metric: str
    unit: str
    truth: Literal["float", "labels"]
    n: NonNegativeInt
    float_value: float | None
    value: float | None
    loss: float | None
    tolerance: float
    status: Status
    reason: str | None = None

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.status != "pass" and not self.reason:
            raise ValueError(f"slice {self.slice} is {self.status} and gives no reason")
        if self.status == "pass" and (self.loss is None or self.loss > self.tolerance):
            raise ValueError(f"slice {self.slice} passes with a loss of {self.loss}, and {self.tolerance} are allowed")
        return self


class TriedTechnique(Strict):
    """One way of quantizing one precision, and what it gave in simulation on a few calibration samples.

    Attributes:
        techniques: What was applied beside folding batch norms, ``cle+seqmse`` for both.
        sqnr_db: None for no error, or where it did not run.
        loss: What the worst slice loses, where there is a task.
        enough: Within the tolerance.
        taken: It is the one that was made.
        said: What it changed, or why it was left out.
    """

    precision: str
    techniques: str
    sqnr_db: float | None
    loss: float | None
    enough: bool
    taken: bool
    said: str


class SharedContext(Strict):
    """One binary that holds the code of several chips, of the precision that was chosen.

    Attributes:
        targets: Their names, as asked.
        soc_models: Their ids, read back from the binary.
        context: The context model and its binary, relative to the report.
        parity: For each chip, how far the binary is from the QDQ model; ``not_run`` where nothing here can load it.
    """

    precision: str
    targets: tuple[str, ...]
    soc_models: tuple[int, ...]
    context: tuple[str, ...]
    context_bytes: int
    parity: tuple[ParityRung, ...]


class DeviceRun(Strict):
    """One precision as it ran on a board, signed by who measured it; the signed files lie in `folder`.

    Attributes:
        folder: Relative to the report: the measurement, the outputs, the signature.
        measured_by: Who signed, in words; `key_id` is the key.
        board: Which board, as who measured names it.
        machine: What the board says it is (``uname -m``).
        performance: Median time of one inference, with the 95 % interval of the median.
        p99_us: Of all inferences that were timed, as `max_us`.
        timed: How many were timed.
    """

    precision: str
    folder: str
    measured_by: Annotated[str, StringConstraints(min_length=1)]
    key_id: str
    measured_utc: datetime
    board: Annotated[str, StringConstraints(min_length=1)]
    machine: str
    performance: Performance
    p99_us: float | None
    max_us: float | None
    timed: NonNegativeInt

    @model_validator(mode="after")
    def _of_a_device(self) -> Self:
        if self.performance.measured_on != "device":
            raise ValueError(f"a run on a board that was measured on '{self.performance.measured_on}'")
        return self


class CompileReport(Strict):
    """What `compile` made and proved: ``report.json`` beside the artefacts.

    Attributes:
        chosen: The precision that goes into a bundle; None when none passed.
        precisions: ``fp16`` (the float reference on the same target) and each quantized precision.
        digests: Relative path -> sha256 of each artefact, to be checked before every load.
        rewrites: What was changed in the float model, each proven by the rung ``original->onnx``.
        shared: The binary for several chips, where one was asked for.
        waivers: Nodes that may compute in float until a day; the gate leaves a precision that rests on one open.
        task: The task's metric by precision, engine and slice, where one was asked for; each has to pass.
        techniques: What quantization tried beyond plain ranges, and what it gave.
        device: What was measured on boards; the rung ``target->device`` of a precision is there only with its run.
    """

    schema_version: Literal[1] = 1
    model_name: str
    onnx_sha256: str
    target: str
    soc_model: int
    architecture: str
    id_confirmed: bool
    tools: dict[str, str]
    chosen: str | None
    precisions: tuple[CompiledPrecision, ...]
    parity: tuple[ParityRung, ...]
    digests: dict[str, str]
    notes: tuple[str, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    shared: SharedContext | None = None
    waivers: tuple[NodeWaiver, ...] = ()
    task: tuple[SliceScore, ...] = ()
    techniques: tuple[TriedTechnique, ...] = ()
    device: tuple[DeviceRun, ...] = ()

    @model_validator(mode="after")
    def _measured(self) -> Self:
        ran = [item.precision for item in self.device]
        judged = [rung.precision for rung in self.parity if rung.name == TARGET_DEVICE and rung.status != "not_run"]
        if sorted(ran) != sorted(judged) or len(set(ran)) < len(ran):
            raise ValueError(f"{TARGET_DEVICE} was judged for {judged}, and {ran} ran on a board")
        timed = [item.precision for item in self.precisions if item.performance.measured_on == "device"]
        if timed and not self.tools.keys() >= MEASURED_BY:
            raise ValueError(f"{timed[0]} was timed on a device, and what timed it is not named: {sorted(MEASURED_BY)}")
        return self

    def on_device(self, name: str) -> DeviceRun | None:
        """Return one precision's run on a board, if it was measured there."""
        return next((item for item in self.device if item.precision == name), None)

    def precision(self, name: str) -> CompiledPrecision | None:
        """Return one precision's results, if it was compiled."""
        return next((item for item in self.precisions if item.precision == name), None)
