"""Post-training quantization beyond plain ranges, and what each brings; loaded by the quantization worker alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import onnx
from aimet_onnx import QuantizationSimModel, apply_adaround, apply_seq_mse
from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight
from aimet_onnx.cross_layer_equalization import CrossLayerScaling

from edge_compile.messages import Technique, TriedTechnique
from edge_compile.precision_search import Asked, Closeness
from edge_compile.samples import Samples
from platform_lib.errors import CompileError

Ways = tuple[Technique, ...]
# What is tried, one after another, until one is within the tolerance: the cheap first.
_WAYS: tuple[Ways, ...] = (("plain",), ("cle",), ("seqmse",), ("cle", "seqmse"), ("adaround",))
# With 16 steps a weight, the scale that spans the largest weight is rarely the best one: tried whatever the plain one gives.
_ALWAYS: dict[str, tuple[Ways, ...]] = {"w4a16": (("plain",), ("seqmse",))}
# What a step of AdaRound takes however small the layer is: an assumption. Source: 4,000 steps over two small layers took 71 s
# on a machine that did much else; seen on 2026-11-30. Beyond that its multiplications, at an assumed rate of two cores.
_ADAROUND_STEP_S = 0.01
_ADAROUND_MACS_PER_S = 2e10
_ADAROUND_BATCH = 32
# What was left out is as far as can be.
_NOWHERE = Closeness(-inf)
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class Bench:
    """What techniques are tried with.

    Attributes:
        build: Makes a simulation with encodings by these techniques, and says what they changed.
        gauge: Measures a simulation.
        remaining_s: How much time is left.
        adaround_s: How long AdaRound would take, by the model's size.
    """

    build: Callable[[Ways], tuple[Any, str]]
    gauge: Callable[[Any], Closeness]
    remaining_s: Callable[[], float]
    adaround_s: float


@dataclass(frozen=True, slots=True)
class _Try:
    """One way, the simulation it gave (None where it was left out), and how close that is."""

    ways: Ways
    simulation: Any
    closeness: Closeness
    said: str


def best_simulation(
    precision: str, named: Ways, asked: Asked, bench: Bench, options: tuple[Ways, ...] = ()
) -> tuple[Any, tuple[TriedTechnique, ...]]:
    """Return the simulation of one precision, made as named, or by what brings it within the tolerance.

    Where nothing does, the closest is taken. Where techniques are named, the plain way is measured beside them.

    Args:
        precision: Which.
        named: Techniques to apply together; none for trying.
        asked: The tolerance.
        bench: See `Bench`.
        options: What to try, all of it, instead of the usual ones.

    Raises:
        CompileError: A named technique tuned nothing.
    """
    wanted: Ways = tuple(name for name in named if name != "plain")
    every = ((("plain",), wanted) if wanted else (("plain",),)) if named else (options or _WAYS)
    always = every if named or options else _ALWAYS.get(precision, ())
    tried: list[_Try] = []
    for ways in every:
        ran = [item for item in tried if item.simulation is not None]
        if ways not in always and any(asked.enough(item.closeness) for item in ran):
            break
        tried.append(_try(ways, bench, must=bool(named) or not ran))
    ran = [item for item in tried if item.simulation is not None]
    chosen = next((item for item in ran if item.ways == wanted), None) or max(ran, key=lambda item: _rank(asked, item))
    return chosen.simulation, tuple(_row(precision, item, asked, taken=item is chosen) for item in tried)


def _try(ways: Ways, bench: Bench, *, must: bool) -> _Try:
    left_s = bench.remaining_s()
    why = None
    if not must and left_s <= 0:
        why = "left out: the budget ended"
    elif not must and "adaround" in ways and bench.adaround_s > left_s:
        why = f"left out: it would take about {bench.adaround_s:.0f} s, and {left_s:.0f} s are left"
    if why is not None:
        return _Try(ways, None, _NOWHERE, why)
    try:
        simulation, said = bench.build(ways)
    except CompileError as error:
        if must:
            raise
        return _Try(ways, None, _NOWHERE, f"left out: {error.what}")
    return _Try(ways, simulation, _NOWHERE if simulation is None else bench.gauge(simulation), said)


def _rank(asked: Asked, item: _Try) -> tuple[bool, float, float]:
    loss = 0.0 if asked.loss is None else item.closeness.loss or 0.0
    return asked.enough(item.closeness), -loss, item.closeness.sqnr_db


def _row(precision: str, item: _Try, asked: Asked, *, taken: bool) -> TriedTechnique:
    ratio = item.closeness.sqnr_db
    return TriedTechnique(
        precision=precision,
        techniques="+".join(item.ways),
        sqnr_db=None if abs(ratio) == inf else ratio,
        loss=item.closeness.loss,
        enough=item.simulation is not None and asked.enough(item.closeness),
        taken=taken,
        said=item.said,
    )


def folded(model: onnx.ModelProto) -> int:
    """Fold batch norms into the weights before or behind them, in place; return how many."""
    before, behind = fold_all_batch_norms_to_weight(model)
    return len(before) + len(behind)


def equalized(model: onnx.ModelProto) -> int:
    """Scale the channels between neighbouring convolutions so that their weights' ranges meet, in place; return how many pairs.

    Exact but for rounding: a ReLU passes a positive factor on. AIMET's own way in, `equalize_model`, also turns every
    ReLU6 into a ReLU, which is another function, and says nothing; so only its scaling is used.
    """
    for node in model.graph.node:
        # AIMET silently leaves out a convolution that relies on the standard's default of one group.
        if node.op_type in ("Conv", "ConvTranspose") and all(item.name != "group" for item in node.attribute):
            node.attribute.append(onnx.helper.make_attribute("group", 1))
    return len(CrossLayerScaling(model).scale_model())


def tune_weights(simulation: Any, ways: Ways, samples: Sequence[Samples], *, iterations: int) -> str:
    """Apply SeqMSE or AdaRound, before any encodings are computed, and say to how many weights.

    Raises:
        CompileError: Nothing was tuned, which the tool itself does not say.
    """
    if "seqmse" not in ways and "adaround" not in ways:
        return ""
    said = []
    for name in ways:
        if name == "seqmse":
            apply_seq_mse(simulation, list(samples))
        elif name == "adaround":
            apply_adaround(simulation, list(samples), iterations)
        else:
            continue
        count = frozen_weights(simulation)
        if not count:
            raise CompileError(f"{name} tuned no weight", remedy="leave --technique out for this model")
        said.append(f"{name} of {count} weights")
    return ", ".join(said)


def frozen_weights(simulation: Any) -> int:
    """Return how many weights have encodings that a technique fixed."""
    quantizers = (simulation.qc_quantize_op_dict[name] for name in simulation.param_names)
    return sum(bool(item.is_encoding_frozen()) for item in quantizers)


def adaround_seconds(model: onnx.ModelProto, *, iterations: int) -> float:
    """Estimate how long AdaRound takes, from the multiplications of every layer that has a weight."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    sizes = {item.name: tuple(item.dims) for item in graph.initializer}
    shapes = {item.name: tuple(size.dim_value for size in item.type.tensor_type.shape.dim)
              for item in (*graph.input, *graph.value_info, *graph.output)}  # fmt: skip
    total, layers = 0, 0
    for node in graph.node:
        weight = next((sizes[name] for name in node.input if len(sizes.get(name, ())) >= 2), None)
        if node.op_type in _WEIGHTED and weight is not None:
            made = shapes.get(node.output[0], ())
            places = made[2:] if node.op_type in ("Conv", "ConvTranspose") else made[1:-1]
            layers += 1
            total += prod(weight) * max(prod(places), 1)
    step_s = layers * _ADAROUND_STEP_S + 3.0 * total * _ADAROUND_BATCH / _ADAROUND_MACS_PER_S
    return iterations * step_s


def simulation_of(model: onnx.ModelProto, *, weights: str, activations: str, architecture: str) -> Any:
    """Return AIMET's simulation of a model, without encodings."""
    return QuantizationSimModel(
        model,
        param_type=weights,
        activation_type=activations,
        quant_scheme="min_max",
        config_file=f"htp_{architecture}",
        providers=["CPUExecutionProvider"],
    )


def seconds_left(budget_s: float) -> Callable[[], float]:
    """Return a clock that counts down from now."""
    end_s = time.monotonic() + budget_s
    return lambda: end_s - time.monotonic()
