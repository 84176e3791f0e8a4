"""What crosses the boundary to a worker process and back; typed, and free of the heavy tools."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

Objective = Literal["latency", "size"]
"""What a precision is chosen for, among those within the tolerance."""


class Message(BaseModel):
    """What crosses the process boundary: a request to a worker, or its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskRequest(Message):
    """A task's metric, for the search; see `edge_compile.task_slices.Task`.

    Attributes:
        tolerance: What each slice may lose against the float model.
        rows: The calibration samples to measure on.
        slices: The slices that each of them lies in.
    """

    metric: str
    output: str | None
    scores: str | None
    tolerance: float
    rows: tuple[int, ...]
    slices: tuple[tuple[str, ...], ...]


class SearchRequest(Message):
    """Find which tensors of the precision ``mixed`` need 16 bits.

    Attributes:
        tolerance_db: The worst output's SQNR that the simulation has to keep against the float model.
        budget_s: How long single tensors may be measured.
        samples: How many calibration samples each measurement takes.
        notes: A file for what was measured, so that a search that is ended goes on where it was.
        key: What the notes have to be of: model, samples, tools.
        task: What each slice has to keep; the SQNR is then a floor.
    """

    tolerance_db: float
    budget_s: float
    samples: int
    notes: str
    key: str
    task: TaskRequest | None = None


class SearchStep(Message):
    """One mix that was measured in simulation: so many of the most sensitive tensors in 16 bits; null is no error."""

    wide: int
    sqnr_db: float | None
    loss: float | None = None


class SearchedTensor(Message):
    """One tensor, or several that share a quantizer, and why it has its width.

    Attributes:
        layer: The operator that makes it.
        alone_db: The SQNR with it alone in 8 bits; None where that made no error, or was not measured.
    """

    tensor: str
    shared_with: tuple[str, ...]
    layer: str
    bits: Literal[8, 16]
    alone_db: float | None
    why: str


class SearchedWeight(Message):
    """One weight, the bits it has, and what 4 cost it."""

    weight: str
    layer: str
    bits: Literal[4, 8]
    alone_db: float | None
    why: str


class SearchCandidate(Message):
    """One mix, or a uniform precision beside it: what the simulation says of it, and what the compiler.

    Attributes:
        wide: Tensors in 16 bits, by their unit's name.
        coarse: Weights in 4 bits.
        sqnr_db: In simulation, on calibration samples; None for no error.
        loss: What the worst slice loses by the task's metric, and which one that is.
        enough: Within the tolerance and its margin.
        made: Quantized, to be compiled: those that are enough, and the widest where none is.
        latency_us: The vendor's estimate; None where there is none, or it was not compiled.
        size_bytes: Of its context binary.
        refused: Why it cannot be taken.
    """

    name: str
    uniform: bool
    wide: tuple[str, ...]
    coarse: tuple[str, ...]
    sqnr_db: float | None
    loss: float | None
    slice: str
    enough: bool
    made: bool
    latency_us: float | None = None
    latency_high_us: float | None = None
    size_bytes: int | None = None
    refused: str | None = None
    chosen: bool = False


class SearchReport(Message):
    """What the search found, the most sensitive tensor first: ``mixed.search.json``.

    Attributes:
        task_metric: What each slice was measured by, beside the SQNR.
        task_loss: What each slice might lose.
        minimise: What the candidate was chosen for.
        candidates: Uniform precisions and mixes; one is chosen.
    """

    tolerance_db: float
    task_metric: str | None = None
    task_loss: float | None = None
    reached: bool
    stopped: bool
    minimise: Objective = "latency"
    steps: tuple[SearchStep, ...]
    tensors: tuple[SearchedTensor, ...]
    weights: tuple[SearchedWeight, ...] = ()
    candidates: tuple[SearchCandidate, ...] = ()


Technique = Literal["plain", "cle", "seqmse", "adaround"]
"""What post-training quantization may do beyond folding batch norms and taking ranges."""


class TriedTechnique(Message):
    """One way of quantizing one precision, and what it gave in simulation on a few calibration samples.

    Attributes:
        techniques: What was applied, ``cle+seqmse`` for both.
        sqnr_db: None for no error, or where it did not run.
        loss: What the worst slice loses, where there is a task.
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


class TechniqueRequest(Message):
    """How to quantize.

    Attributes:
        named: What to apply; nothing for trying one after another until a precision is within its tolerance.
        tolerances_db: Precision -> the SQNR that it has to reach in simulation.
        samples: How many calibration samples to measure on.
        budget_s: How long to go on trying.
        adaround_iterations: Of each layer; AIMET recommends 10,000 and more, for the time of an afternoon.
        task: What each slice has to keep.
    """

    named: tuple[Technique, ...] = ()
    tolerances_db: dict[str, float]
    samples: int
    budget_s: float
    adaround_iterations: int = 2000
    task: TaskRequest | None = None


def candidate_name(row: int) -> str:
    """Name the files of the candidate that was made in this place."""
    return f"mixed-{row}"


class LayerRow(Message):
    """One tensor in two engines.

    Attributes:
        layer: The operator of the float model that makes it.
        sqnr_db: None where the two are identical.
        layout: ``NHWC`` where the second engine's numbers lie in that order, and were compared so.
        finite: Whether both hold numbers only.
    """

    tensor: str
    layer: str
    sqnr_db: float | None
    max_abs_error: float | None
    cosine: float
    layout: Literal["same", "NHWC"] = "same"
    finite: bool = True


class LayerReport(Message):
    """One rung, layer by layer, in the order of the graph; `not_run` says why there are no rows."""

    rung: str
    precision: str
    samples: int
    threshold_db: float
    rows: tuple[LayerRow, ...]
    not_run: str | None = None

    @property
    def first_break(self) -> LayerRow | None:
        """The first layer below the threshold, or in another layout than it should be."""
        return next((row for row in self.rows if self.broken(row)), None)

    def broken(self, row: LayerRow) -> bool:
        """Say whether a layer misses what its rung asks, or lies in an order that nobody expects."""
        below = row.sqnr_db is not None and row.sqnr_db < self.threshold_db
        return below or row.layout != "same" or not row.finite


class LayersFile(Message):
    """Every rung of one precision that was compared layer by layer: ``PRECISION.by_layer.json``."""

    reports: tuple[LayerReport, ...]


class QuantizeRequest(Message):
    """Quantize one float model.

    Attributes:
        model: The float model.
        original: The model as it was brought, where it was rewritten.
        original_frozen: The frozen inputs for it, where they are others, since its rewrite preprocesses.
        tail: What was cut off the original, if anything was.
        calibration: ``.npz`` of input name -> (N, *shape).
        frozen: The same, for the parity ladder.
        architecture: Chip generation, whose rules AIMET applies (``htp_v73``).
        precisions: What to make.
        search: How to find the mix; needed for ``mixed``.
        layers: Precision -> the dB below which a layer of it is broken; those named are compared layer by layer.
        techniques: How to quantize; None for plainly, with nothing measured.
        export_int32_bias: Must be true in earnest: without it LayerNorms are left in float, and nobody says so.
    """

    model: str
    calibration: str
    frozen: str
    architecture: str
    precisions: tuple[Literal["w8a16", "w8a8", "w8mixed", "mixed", "w4a16"], ...]
    export_int32_bias: bool = True
    original: str | None = None
    original_frozen: str | None = None
    tail: str | None = None
    search: SearchRequest | None = None
    layers: dict[str, float] = Field(default_factory=dict)
    techniques: TechniqueRequest | None = None


class QuantizeAnswer(Message):
    """What was made: for each precision ``<p>.qdq.onnx``, ``<p>.encodings.json``, and outputs of each engine."""

    folded_batch_norms: int
    precisions: tuple[str, ...]
    search: SearchReport | None = None
    notes: tuple[str, ...] = ()
    layers: tuple[LayerReport, ...] = ()
    techniques: tuple[TriedTechnique, ...] = ()


# What the worker that trains leaves of the frozen inputs: the module's answers before and after.
FLOAT_ANSWERS, TRAINED_ANSWERS = "float.outputs.npz", "trained.outputs.npz"


class QatRequest(Message):
    """Train a torch module with the quantizers in it.

    Attributes:
        module: ``module:function`` or ``file.py:function``; the function returns the module, its weights loaded.
        argument: What the function is given; None for nothing.
        frozen: ``.npz`` of more inputs, which the module answers before and after; None for none.
        calibration: ``.npz`` of input name -> (N, *shape), in the order in which the module takes them.
        names: That order, and what the ONNX file is to call the outputs.
        weight_bits: Of its weights.
        activation_bits: Of everything else.
        architecture: Chip generation, whose rules AIMET applies.
        steps: Of the optimiser.
        batch: Samples a step.
        learning_rate: At the first step; it falls to 0 as a cosine does.
        aimet_torch: The folder that holds the tool; None for what is installed.
        onnx: The file to write.
    """

    module: str
    argument: str | None = None
    calibration: str
    frozen: str | None = None
    names: tuple[tuple[str, ...], tuple[str, ...]]
    weight_bits: int
    activation_bits: int
    architecture: str
    steps: int
    batch: int
    learning_rate: float
    aimet_torch: str | None
    onnx: str


class QatAnswer(Message):
    """What training brought, on calibration samples that it did not learn from, against the module as it was.

    Attributes:
        before_db: Quantized as it was, the worst output's SQNR.
        after_db: Quantized after training.
        float_db: The trained module without quantizers on its activations: what ``fp32.onnx`` of a compile will compute.
        best_step: Whose weights were kept; 0 where training brought nothing.
        learned_from: Samples.
        held_out: Samples.
    """

    before_db: float
    after_db: float
    float_db: float
    best_step: int
    learned_from: int
    held_out: int


class CompileRequest(Message):
    """Compile one ONNX model into a context binary.

    Attributes:
        model: File to compile.
        context: Name of the context model to write in the current folder.
        soc_model: The chip's numeric id.
        also: Ids of other chips whose code goes into the same binary.
        options: The caller's compiler options.
        optimisation_level: onnxruntime's graph optimisation; has to be named, its default fails on some models.
    """

    action: Literal["compile"] = "compile"
    model: str
    context: str
    soc_model: int
    also: tuple[int, ...] = ()
    options: dict[str, str]
    optimisation_level: Literal["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC"]


class CompileAnswer(Message):
    """What was compiled, with what, and where the side files went."""

    provider_options: dict[str, str]
    optimisation_level: str
    current_folder: str
    files: tuple[str, ...]


class RunRequest(Message):
    """Run a context model on the HTP emulator.

    Attributes:
        context: The context model's path.
        digests: File name -> recorded sha256, checked before the load.
        soc_model: The chip it has to be built for.
        inputs: ``.npz`` of name -> (N, *shape).
        samples: How many of the N to run.
        outputs: ``.npz`` to write.
    """

    action: Literal["run"] = "run"
    context: str
    digests: dict[str, str]
    soc_model: int
    inputs: str
    samples: int
    outputs: str


class RunAnswer(Message):
    """What was checked before the load, and how many samples ran."""

    checked_files: tuple[str, ...]
    soc_model: int
    samples: int


class LayersRequest(Message):
    """Compile a QDQ model with each layer as an output, run it on the emulator, and compare it with this machine's CPU.

    Attributes:
        float_model: For the names of the layers.
        qdq: The QDQ model.
        precision: Its name.
        compile: How to compile; its model and context are names to write in the current folder.
        inputs: ``.npz`` of name -> (N, *shape).
        samples: How many of the N to run.
        threshold_db: Below it a layer is broken.
    """

    action: Literal["layers"] = "layers"
    float_model: str
    qdq: str
    precision: str
    compile: CompileRequest
    inputs: str
    samples: int
    threshold_db: float


class QnnRequest(RootModel[Annotated[CompileRequest | RunRequest | LayersRequest, Field(discriminator="action")]]):
    """Either request to the QNN worker."""
