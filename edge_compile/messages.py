"""What crosses the boundary to a worker process and back; typed, and free of the heavy tools."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel


class Message(BaseModel):
    """What crosses the process boundary: a request to a worker, or its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class QuantizeRequest(Message):
    """Quantize one float model.

    Attributes:
        model: The float model.
        original: The model as it was brought, where it was rewritten.
        calibration: ``.npz`` of input name -> (N, *shape).
        frozen: The same, for the parity ladder.
        architecture: Chip generation, whose rules AIMET applies (``htp_v73``).
        precisions: What to make.
        export_int32_bias: Must be true in earnest: without it LayerNorms are left in float, and nobody says so.
    """

    model: str
    calibration: str
    frozen: str
    architecture: str
    precisions: tuple[Literal["w8a16", "w8a8", "w8mixed"], ...]
    export_int32_bias: bool = True
    original: str | None = None


class QuantizeAnswer(Message):
    """What was made: for each precision ``<p>.qdq.onnx``, ``<p>.encodings.json``, and outputs of each engine."""

    folded_batch_norms: int
    precisions: tuple[str, ...]


class CompileRequest(Message):
    """Compile one ONNX model into a context binary.

    Attributes:
        model: File to compile.
        context: Name of the context model to write in the current folder.
        soc_model: The chip's numeric id.
        options: The caller's compiler options.
        optimisation_level: onnxruntime's graph optimisation; has to be named, its default fails on some models.
    """

    action: Literal["compile"] = "compile"
    model: str
    context: str
    soc_model: int
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


class QnnRequest(RootModel[Annotated[CompileRequest | RunRequest, Field(discriminator="action")]]):
    """Either request to the QNN worker."""
