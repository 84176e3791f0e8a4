"""AIMET post-training quantization, in a process of its own: its import takes 3.5 s and it writes much to the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from aimet_onnx.common import libquant_info
from aimet_onnx.qc_quantize_op import QcQuantizeOp
from numpy.typing import NDArray

from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.gauge import Gauge, gauge_of, gauged_rows, tuned_on
from edge_compile.grids import grid_tensors, said_of_grids
from edge_compile.inner_ranges import said_of_ranges
from edge_compile.layer_run import float_to_qdq
from edge_compile.messages import (
    LayerReport,
    Message,
    QuantizeAnswer,
    QuantizeRequest,
    SearchReport,
    TaskRequest,
    TriedTechnique,
    candidate_name,
)
from edge_compile.mixing import find_mix, mixer_of
from edge_compile.precision_search import Asked
from edge_compile.rejoining import as_asked, rejoin
from edge_compile.samples import Samples
from edge_compile.techniques import (
    Bench,
    Ways,
    adaround_seconds,
    best_simulation,
    equalized,
    folded,
    seconds_left,
    simulation_of,
    tune_weights,
)
from edge_compile.widths import unify_widths
from platform_lib.errors import CompileError

Shapes = dict[str, tuple[int, ...]]
_ACTIVATIONS = {"w8a16": "int16", "w8a8": "int8", "w8mixed": "int8", "mixed": "int8", "w4a16": "int16"}
_WEIGHTS = {"w4a16": "int4"}
_FEATURE_MAP_RANK = 4
_TUNING_SAMPLES = 8
_LAYER_SAMPLES = 2
_FOLDS = ("Flatten", "Reshape", "Squeeze")


def quantize(request: QuantizeRequest) -> QuantizeAnswer:
    """Quantize into the current folder, and run every engine that is no chip on the frozen inputs."""
    calibration, frozen = load_arrays(Path(request.calibration)), load_arrays(Path(request.frozen))
    shapes = _shapes(onnx.load(request.model).graph.output)
    run_session(_cpu_session(request.model), frozen, shapes, Path("fp32.outputs.npz"))
    if request.original is not None:
        _run_original(request, request.original, frozen, shapes)
    searched: SearchReport | None = None
    tried: list[TriedTechnique] = []
    bench = _Bench(request, calibration, shapes)
    for precision in request.precisions:
        if precision == "mixed":
            searched, rows = _search(bench, frozen)
            tried += rows
            continue
        if request.techniques is None:
            simulation, _ = bench.build(precision, ("plain",))
        else:
            simulation, rows = best_simulation(
                precision, request.techniques.named, bench.asked(precision), bench.of(precision)
            )
            tried += rows
        _save(simulation, precision, request, frozen, shapes)
    return QuantizeAnswer(
        folded_batch_norms=bench.folded,
        precisions=request.precisions,
        search=searched,
        techniques=tuple(tried),
        notes=(
            *(said for name in request.precisions for said in said_of_grids(name, bench.grids)),
            *_beyond_ranges(request, frozen, tried),
        ),
        layers=_by_layer(request, frozen, tried),
    )


def _run_original(request: QuantizeRequest, path: str, frozen: Samples, shapes: Shapes) -> None:
    """Ask the model as it was brought, on inputs as it was brought for."""
    original = _cpu_session(path)
    ready = frozen if request.original_frozen is None else load_arrays(Path(request.original_frozen))
    if request.tail is not None:
        rejoin(original, _cpu_session(request.model), _cpu_session(request.tail), frozen, ready)
    else:
        run_session(original, as_asked(original, ready), shapes, Path("original.outputs.npz"))


def _by_layer(request: QuantizeRequest, frozen: Samples, tried: Iterable[TriedTechnique]) -> tuple[LayerReport, ...]:
    """Compare each QDQ model, and each candidate of a search, with the float model whose weights it quantizes."""
    samples = min(_LAYER_SAMPLES, len(next(iter(frozen.values()))))
    found = []
    for path in sorted(Path().glob("*.qdq.onnx")):
        name = path.name.removesuffix(".qdq.onnx")
        precision = name if name in request.precisions else "mixed"
        if precision not in request.layers:
            continue
        model = _as_quantized(request, precision, tried)
        found.append(
            float_to_qdq(model, onnx.load(path), name, frozen, samples=samples, threshold_db=request.layers[precision])
        )
    return tuple(found)


def _beyond_ranges(request: QuantizeRequest, frozen: Samples, tried: Iterable[TriedTechnique]) -> tuple[str, ...]:
    """Say which tensor leaves its range; of one precision alone, since ranges are calibrated and not of a width."""
    precision = next((name for name in request.precisions if name in request.layers), None)
    if precision is None:
        return ()
    qdq = onnx.load(f"{candidate_name(0) if precision == 'mixed' else precision}.qdq.onnx")
    return said_of_ranges(_as_quantized(request, precision, tried), qdq, frozen)


def _as_quantized(request: QuantizeRequest, precision: str, tried: Iterable[TriedTechnique]) -> onnx.ModelProto:
    """Return the float model whose tensors a precision quantizes: batch norms folded, channels equalized where it was so."""
    model = onnx.load(request.model)
    folded(model)
    if any(item.precision == precision and item.taken and "cle" in item.techniques for item in tried):
        equalized(model)
    return model


class _Bench:
    """Builds and measures simulations of one model.

    Attributes:
        request: What is to be quantized.
        calibration: All calibration samples.
        shapes: Of the outputs.
        folded: How many batch norms went into weights.
        grids: Each GridSample with the tensors that carry its coordinates.
    """

    def __init__(self, request: QuantizeRequest, calibration: Samples, shapes: Shapes) -> None:
        self.request, self.calibration, self.shapes = request, calibration, shapes
        self.folded = 0
        self.grids = grid_tensors(onnx.load(request.model, load_external_data=False).graph)
        self._session: Any = None
        self._gauge: Gauge | None = None
        asked = request.techniques
        gauged = np.array((), np.intp)
        if asked is not None:
            gauged = gauged_rows(calibration, count=asked.samples, task=asked.task)
        self.tuned_on = tuned_on(calibration, gauged, _TUNING_SAMPLES)
        self.iterations = 0 if asked is None else asked.adaround_iterations
        self.remaining_s = seconds_left(0.0 if asked is None else asked.budget_s)

    def build(self, precision: str, ways: Ways) -> tuple[Any, str]:
        """Return AIMET's simulation with its encodings, None where there is nothing to change, and what was changed."""
        model = onnx.load(self.request.model)
        self.folded = folded(model)
        said = []
        if "cle" in ways:
            pairs = equalized(model)
            if not pairs:
                return None, "left out: no two neighbouring convolutions to equalize"
            said.append(f"{pairs} pairs of convolutions equalized")
        simulation = simulation_of(
            model,
            weights=_WEIGHTS.get(precision, "int8"),
            activations=_ACTIVATIONS[precision],
            architecture=self.request.architecture,
        )
        if precision == "w8mixed":
            _widen_vectors(simulation, model)
            _widen_grids(simulation, self.grids)
        tuned = tune_weights(simulation, ways, _each(self.tuned_on), iterations=self.iterations)
        simulation.compute_encodings(_each(self.calibration))
        return simulation, ", ".join(filter(None, (*said, tuned)))

    def run_float(self, samples: Samples) -> Samples:
        """Run the float model."""
        if self._session is None:
            self._session = _cpu_session(self.request.model)
        return outputs_of(self._session, samples, self.shapes, "fp32")

    def gauge(self, count: int, task: TaskRequest | None) -> Gauge:
        """Return what to measure on."""
        return gauge_of(self.run_float, self.calibration, count=count, task=task)

    def asked(self, precision: str) -> Asked:
        """Return what a precision has to reach in simulation."""
        asked = self.request.techniques
        assert asked is not None  # noqa: S101 - asked only where there is one
        return Asked(asked.tolerances_db[precision], None if asked.task is None else asked.task.tolerance)

    def of(self, precision: str) -> Bench:
        """Return what techniques for one precision are tried with."""
        asked = self.request.techniques
        assert asked is not None  # noqa: S101
        if self._gauge is None:
            self._gauge = self.gauge(asked.samples, asked.task)
        gauge = self._gauge
        return Bench(
            lambda ways: self.build(precision, ways),
            lambda simulation: gauge.of(
                lambda samples: outputs_of(simulation.session, samples, self.shapes, precision)
            ),
            self.remaining_s,
            adaround_seconds(onnx.load(self.request.model), iterations=self.iterations),
        )


def _search(bench: _Bench, frozen: Samples) -> tuple[SearchReport, tuple[TriedTechnique, ...]]:
    """Search for a mix, and make every candidate: only the compiler says which of them is fast.

    Cross-layer equalization changes ranges, so that it comes before any widths: it is kept where it brings w8a8 closer.
    """
    request = bench.request
    if request.search is None:
        raise CompileError("no search was asked for", where="mixed")
    base: Ways = ("plain",)
    tried: tuple[TriedTechnique, ...] = ()
    if request.techniques is not None:
        named: Ways = request.techniques.named and ("cle" if "cle" in request.techniques.named else "plain",)
        both: tuple[Ways, ...] = (("plain",), ("cle",))
        simulation, tried = best_simulation("mixed", named, bench.asked("mixed"), bench.of("mixed"), both)
        base = ("cle",) if any(row.taken and "cle" in row.techniques for row in tried) else base
    else:
        simulation, _ = bench.build("mixed", base)
    coarse, _ = bench.build("w4a16", (*base, "seqmse"))
    mixer = mixer_of(simulation, coarse, onnx.load(request.model))
    report, mixes = find_mix(
        mixer,
        bench.gauge(request.search.samples, request.search.task),
        lambda samples: outputs_of(simulation.session, samples, bench.shapes, "mixed"),
        request.search,
    )
    for row, mix in enumerate(mixes):
        mixer.apply(mix)
        _save(simulation, candidate_name(row), request, frozen, bench.shapes)
    return report, tried


def _widen_vectors(simulation: Any, model: onnx.ModelProto) -> None:
    """Give every activation that is no feature map 16 bits.

    Feature maps hold nearly all the arithmetic, vectors hold what 256 steps are too coarse for: a path of 60 m in 8 bits
    moves by a quarter of a metre a step.
    """
    ranks = _ranks(model)
    maps = [name for name in simulation.activation_names if ranks.get(name) == _FEATURE_MAP_RANK]
    quantizers = simulation.qc_quantize_op_dict
    vectors = [quantizers[name] for name in simulation.activation_names if name not in maps]
    # AIMET lets the operands of a Concat share one quantizer, through a fold too: such a map gets its own.
    simulation.set_quantizers(
        {name: _separate(quantizers[name]) for name in maps if any(quantizers[name] is item for item in vectors)}
    )
    for quantizer in vectors:
        quantizer.set_bitwidth(16)


def _separate(shared: QcQuantizeOp) -> QcQuantizeOp:
    quantizer = QcQuantizeOp(
        quant_info=libquant_info.QcQuantizeInfo(),
        quant_scheme=shared.quant_scheme,
        op_mode=shared.op_mode,
        bitwidth=8,
        use_symmetric_encodings=shared.use_symmetric_encodings,
    )
    quantizer.enabled = shared.enabled
    return quantizer


def _convert_folds(quantized: onnx.ModelProto) -> None:
    """Convert each 8-bit feature map to 16 bits where it is folded into a vector, without loss.

    No operator of the chip takes one width and gives another, a second pair of quantizers does: each of the 256 steps is
    one of the 65,536 (scale / 256, zero point * 256).
    """
    graph = quantized.graph
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    vectors = {node.output[0] for node in graph.node if node.op_type in _FOLDS}
    folded = {node.output[0] for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] in vectors}
    nodes: list[onnx.NodeProto] = []
    wide: dict[str, str] = {}
    for node in graph.node:
        node.input[:] = [wide.get(name, name) for name in node.input]
        nodes.append(node)
        zero_point = constants.get(node.input[2]) if node.op_type == "DequantizeLinear" else None
        if zero_point is None or zero_point.dtype != np.uint8 or node.input[0] not in folded:
            continue
        name = node.output[0]
        scale, zero = f"{name}_scale16", f"{name}_zero16"
        graph.initializer.extend(
            [
                onnx.numpy_helper.from_array(constants[node.input[1]] / np.float32(256), scale),
                onnx.numpy_helper.from_array((zero_point.astype(np.uint16) * 256).astype(np.uint16), zero),
            ]
        )
        for kind, taken, given in (("Quantize", name, f"{name}_q16"), ("Dequantize", f"{name}_q16", f"{name}_dq16")):
            nodes.append(onnx.helper.make_node(f"{kind}Linear", [taken, scale, zero], [given], name=given))
        wide[name] = f"{name}_dq16"
    del graph.node[:]
    graph.node.extend(nodes)


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {item.name: len(item.type.tensor_type.shape.dim) for item in values}


def _shapes(outputs: Iterable[onnx.ValueInfoProto]) -> Shapes:
    return {item.name: tuple(size.dim_value for size in item.type.tensor_type.shape.dim) for item in outputs}


def _widen_grids(simulation: Any, grids: dict[str, tuple[str, ...]]) -> None:
    """Give the coordinates of every GridSample 16 bits."""
    for name in dict.fromkeys(tensor for tensors in grids.values() for tensor in tensors):
        quantizer = simulation.qc_quantize_op_dict.get(name)
        if quantizer is not None and name in simulation.activation_names:
            quantizer.set_bitwidth(16)


def _save(simulation: Any, precision: str, request: QuantizeRequest, frozen: Samples, shapes: Shapes) -> None:
    run_session(simulation.session, frozen, shapes, Path(f"{precision}.simulation.npz"))
    quantized = simulation.to_onnx_qdq(export_int32_bias=request.export_int32_bias, prequantize_constants=True)
    if precision == "w8mixed":
        _convert_folds(quantized)
        if grid_tensors(quantized.graph):
            unify_widths(quantized)
    elif precision.startswith("mixed"):
        unify_widths(quantized)
    if [item.name for item in quantized.graph.output] != list(shapes):
        raise CompileError("AIMET renamed the model's outputs", where=precision)
    onnx.save(quantized, f"{precision}.qdq.onnx")
    run_session(_cpu_session(f"{precision}.qdq.onnx"), frozen, shapes, Path(f"{precision}.qdq.npz"))
    folder = Path(f"aimet-{precision}")
    folder.mkdir()
    simulation.export(str(folder), precision, export_model=False)
    shutil.move(folder / f"{precision}.encodings", f"{precision}.encodings.json")


def run_session(session: Any, samples: Samples, shapes: Shapes, out: Path) -> None:
    """Run a session on each sample alone and write ``.npz`` of output name -> (N, *shape).

    Raises:
        CompileError: An output has not the shape that the model says.
    """
    save_arrays(out, outputs_of(session, samples, shapes, out.name))


def outputs_of(session: Any, samples: Samples, shapes: Shapes, where: str) -> Samples:
    """Run a session on each sample alone: output name -> (N, *shape).

    Raises:
        CompileError: An output has not the shape that the model says.
    """
    run: Callable[..., list[NDArray[np.float32]]] = session.run
    rows = [run(None, sample) for sample in _each(samples)]
    if len(rows[0]) != len(shapes):
        raise CompileError(f"{len(rows[0])} outputs instead of {len(shapes)}", where=where)
    for index, (name, shape) in enumerate(shapes.items()):
        if wrong := [row[index].shape for row in rows if row[index].shape != shape]:
            raise CompileError(
                f"the output '{name}' came out as {wrong[0]}, and the model says {shape}",
                where=where.partition(".")[0],
                remedy="the chip needs static shapes: leave out operators such as NonZero, and export again",
            )
    return {name: np.stack([row[index] for row in rows]) for index, name in enumerate(shapes)}


def _cpu_session(model: str) -> Any:
    options = ort.SessionOptions()
    # Higher levels replace the simulated arithmetic of quantized nodes by integer kernels of this machine's CPU.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _each(samples: Samples) -> list[Samples]:
    count = len(next(iter(samples.values())))
    return [{name: np.asarray(values[index]) for name, values in samples.items()} for index in range(count)]


def serve(request_json: bytes) -> Message:
    """Answer one request."""
    return quantize(QuantizeRequest.model_validate_json(request_json))
