"""Compiles for a Qualcomm chip and runs the result on its emulator, each in a worker process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from pydantic import ValidationError

from edge_compile.compiled import OPTIMISATION_LEVEL, Compiled
from edge_compile.context import read_context
from edge_compile.graph_audit import GraphDump, OpTrace, computes_quantized, refused_nodes, summarize
from edge_compile.messages import CompileAnswer, CompileRequest, LayerReport, LayersRequest, RunAnswer, RunRequest
from edge_compile.op_advice import advice
from edge_compile.performance import estimates_csv, performance, read_estimates
from edge_compile.targets.table import Target
from edge_compile.worker import Limits, WorkerStoppedError, run_worker
from platform_lib.errors import CompileError
from platform_lib.storage import sha256_file

_WORKER = "edge_compile.qnn_worker"
_TRACE = "qnn_op_trace.json"
_PROFILE = "profile.csv"
_SHOWN = 4  # refused nodes that a message names


def compile_precision(
    model: Path,
    precision: str,
    target: Target,
    options: Mapping[str, str],
    *,
    scratch: Path,
    log: Path,
    limits: Limits,
    also: tuple[Target, ...] = (),
    rules: str | None = None,
) -> Compiled:
    """Compile one model for one chip, or for several in one binary, inside `scratch`.

    Args:
        model: The file to compile.
        precision: Names what is written.
        target: The chip.
        options: The caller's compiler options.
        scratch: A folder to make.
        log: Where the tools' messages go.
        limits: Time and memory.
        also: Other chips for the same binary.
        rules: Whose data types the nodes may have; `precision` by default.

    Raises:
        CompileError: The compiler refused it (with the nodes it refused), crashed, or ran over a limit.
    """
    scratch.mkdir()
    request = CompileRequest(
        model=str(model),
        context=f"{precision}.ctx.onnx",
        soc_model=target.soc_model,
        also=tuple(other.soc_model for other in also),
        options=dict(options),
        optimisation_level=OPTIMISATION_LEVEL,
    )
    try:
        answer = run_worker(_WORKER, request, CompileAnswer, scratch=scratch, log=log, limits=limits)
    except WorkerStoppedError:
        raise
    except CompileError as error:
        raise _with_reasons(error, scratch / _TRACE, precision, model) from error
    return _collect(precision, answer, scratch, rules=rules or precision)


def run_on_emulator(
    context: Path,
    digests: Mapping[str, str],
    target: Target,
    inputs: Path,
    outputs: Path,
    *,
    samples: int,
    scratch: Path,
    log: Path,
    limits: Limits,
) -> RunAnswer:
    """Run the first samples of `inputs` through a context model on the HTP emulator of this machine.

    Args:
        context: The context model; its binaries lie beside it.
        digests: File name -> recorded sha256; nothing is loaded before they all match.
        target: The chip it has to be built for.
        inputs: ``.npz`` of input name -> float32 (N, *shape).
        outputs: ``.npz`` to write: output name -> (samples, *shape).
        samples: How many to run; one takes 0.03 s (the demo planner) to 14 s (resnet18).
        scratch: A folder to make, for what the tools drop.
        log: Where the tools' messages go.
        limits: Time and memory.

    Raises:
        IntegrityError: The context's bytes changed, or it was built for another chip.
        CompileError: The emulator crashed or ran over a limit.
    """
    scratch.mkdir()
    request = RunRequest(
        context=str(context),
        digests=dict(digests),
        soc_model=target.soc_model,
        inputs=str(inputs),
        samples=samples,
        outputs=str(outputs),
    )
    return run_worker(_WORKER, request, RunAnswer, scratch=scratch, log=log, limits=limits)


def layers_on_emulator(
    float_model: Path,
    qdq: Path,
    precision: str,
    target: Target,
    options: Mapping[str, str],
    inputs: Path,
    *,
    samples: int,
    threshold_db: float,
    scratch: Path,
    log: Path,
    limits: Limits,
) -> LayerReport:
    """Compare a QDQ model on this machine's CPU with the chip's emulator, layer by layer.

    What runs on the emulator is a build of its own, in which each layer is an output: around them the compiler can fuse
    less than in the build that is published.

    Args:
        float_model: The float model, for the names of the layers.
        qdq: The QDQ model.
        precision: Its name.
        target: The chip.
        options: The caller's compiler options.
        inputs: ``.npz`` of input name -> float32 (N, *shape).
        samples: How many of them to run.
        threshold_db: Below it a layer is broken.
        scratch: A folder to make.
        log: Where the tools' messages go.
        limits: Time and memory.

    Raises:
        CompileError: It did not compile so, crashed, or ran over a limit.
    """
    scratch.mkdir()
    request = LayersRequest(
        float_model=str(float_model),
        qdq=str(qdq),
        precision=precision,
        compile=CompileRequest(
            model="tapped.onnx",
            context="tapped.ctx.onnx",
            soc_model=target.soc_model,
            options=dict(options),
            optimisation_level=OPTIMISATION_LEVEL,
        ),
        inputs=str(inputs),
        samples=samples,
        threshold_db=threshold_db,
    )
    return run_worker(_WORKER, request, LayerReport, scratch=scratch, log=log, limits=limits)


def _collect(precision: str, answer: CompileAnswer, scratch: Path, *, rules: str | None = None) -> Compiled:
    context = scratch / f"{precision}.ctx.onnx"
    info = read_context(context)
    dump_files = sorted(item for item in scratch.glob("QNN*.json") if not item.name.endswith("_tensor_log.json"))
    try:
        dumps = tuple(GraphDump.model_validate_json(item.read_bytes()) for item in dump_files)
        trace = OpTrace.model_validate_json((scratch / _TRACE).read_bytes())
    except (ValidationError, FileNotFoundError) as error:
        raise CompileError("the compiler left no readable account of its graph", where=precision) from error
    if not dumps:
        raise CompileError("the compiler left no dump of its graph", where=precision)
    estimates = read_estimates((scratch / _PROFILE).read_text())
    (scratch / "estimates.csv").write_text(estimates_csv(estimates))
    files = {context.name: context, f"{precision}.op_trace.json": scratch / _TRACE}
    files |= {name: scratch / name for name in info.binaries}
    files |= {f"{precision}.graph{index or ''}.json": item for index, item in enumerate(dump_files)}
    if estimates:
        files[f"{precision}.profile.csv"] = scratch / "estimates.csv"
    return Compiled(
        precision=precision,
        context=context,
        files=files,
        info=info,
        graph=summarize(dumps, trace, rules or precision, cpu_nodes=info.cpu_nodes),
        quantized=computes_quantized(dumps),
        performance=performance(estimates),
        answer=answer,
        digests={name: sha256_file(scratch / name) for name in (context.name, *info.binaries)},
    )


def _with_reasons(error: CompileError, trace: Path, precision: str, model: Path) -> CompileError:
    try:
        refused = refused_nodes(OpTrace.model_validate_json(trace.read_bytes()))
    except (FileNotFoundError, ValidationError):
        refused = ()
    if not refused:
        return CompileError(f"{precision}: {error.what}", where=error.where, remedy=error.remedy)
    first = refused[0]
    others = [f"{row.op_type} '{row.node_name}'" for row in refused[1:_SHOWN]]
    also = f"; also {', '.join(others)}" if others else ""
    readers = _readers_of([row.node_name for row in refused[:_SHOWN]], model)
    kinds = [readers[row.node_name][1].op_type if row.node_name in readers else row.op_type for row in refused[:_SHOWN]]
    said = ""
    if first.node_name in readers:
        cast, node = readers[first.node_name]
        said = f" (the input '{cast.input[0]}' of {node.op_type} '{node.name}')"
    return CompileError(
        f"{precision}: the compiler refuses {len(refused)} node(s), first {first.op_type} '{first.node_name}'{said}: "
        f"{first.reason}{also}",
        remedy="; ".join(dict.fromkeys(advice(kind) for kind in kinds)),
    )


def _readers_of(names: list[str], model: Path) -> dict[str, tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Return each cast of AIMET's with the operator of the user's own model that reads it."""
    nodes = onnx.load(model, load_external_data=False).graph.node
    casts = [node for node in nodes if node.name in names and node.op_type == "DequantizeLinear"]
    return {cast.name: (cast, node) for cast in casts for node in nodes if cast.output[0] in node.input}
