"""Runs the precision search on AIMET's simulation; loaded by the quantization worker alone."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from aimet_onnx.common import libpymo

from edge_compile.gauge import Gauge, Run
from edge_compile.messages import (
    SearchCandidate,
    SearchedTensor,
    SearchedWeight,
    SearchReport,
    SearchRequest,
    SearchStep,
)
from edge_compile.precision_search import Asked, Candidate, Closeness, Found, Mix, explain, explain_weight, search
from edge_compile.search_notes import noting, read_notes

UNIFORM = ("w8a8", "w8a16", "w4a16")


@dataclass(frozen=True, slots=True)
class Unit:
    """Tensors that share one quantizer, so that they have one width, or one weight.

    Attributes:
        tensors: Their names; the first is the unit's own.
        quantizer: AIMET's.
        bits: Its two widths, the usual one of 8 bits and the other.
        usual: Its encodings in 8 bits.
        other: Of a tensor the same range in 16 bits, of a weight its own in 4.
    """

    tensors: tuple[str, ...]
    quantizer: Any
    bits: tuple[int, int]
    usual: list[Any]
    other: list[Any]

    def choose(self, *, other: bool) -> None:
        """Take one of the two widths."""
        self.quantizer.set_bitwidth(self.bits[other])
        self.quantizer.load_encodings(self.other if other else self.usual)


@dataclass(frozen=True, slots=True)
class Mixer:
    """A simulation whose widths can be chosen.

    Attributes:
        tensors: What can be widened, by name, in the order in which the model makes them.
        weights: What can be made coarse.
        saved: Weight -> bytes that 4 bits save.
        layers: Tensor or weight -> the operator that makes it, or reads it.
        beside: Tensor -> those that an operator reads or makes together with it.
    """

    tensors: Mapping[str, Unit]
    weights: Mapping[str, Unit]
    saved: Mapping[str, int]
    layers: Mapping[str, str]
    beside: Mapping[str, frozenset[str]]

    def apply(self, mix: Mix) -> None:
        """Give the simulation the widths of a mix."""
        for name, unit in self.tensors.items():
            unit.choose(other=name in mix.wide)
        for name, unit in self.weights.items():
            unit.choose(other=name in mix.coarse)

    def joined(self, wide: frozenset[str]) -> frozenset[str]:
        """Widen what lies between wide tensors alone, again and again: there nothing has to be converted then."""
        found = set(wide)
        while True:
            more = {name for name, others in self.beside.items() if name not in found and others and others <= found}
            if not more:
                return frozenset(found)
            found |= more


def mixer_of(simulation: Any, coarse: Any | None, model: onnx.ModelProto) -> Mixer:
    """Return what can be chosen in a simulation of 8 bits with encodings.

    Args:
        simulation: With its encodings.
        coarse: A simulation of the same model with weights of 4 bits and its encodings; None to leave weights as they are.
        model: The float model.
    """
    made = {str(name): row for row, node in enumerate(model.graph.node) for name in node.output}
    shared: dict[int, list[str]] = {}
    for name in simulation.activation_names:
        quantizer = simulation.qc_quantize_op_dict.get(name)
        if quantizer is not None and quantizer.enabled and quantizer.get_encodings():
            shared.setdefault(id(quantizer), []).append(name)
    tensors = {}
    for names in sorted(shared.values(), key=lambda names: min(made.get(name, -1) for name in names)):
        quantizer = simulation.qc_quantize_op_dict[names[0]]
        narrow = list(quantizer.get_encodings())
        tensors[names[0]] = Unit(tuple(names), quantizer, (8, 16), narrow, [_widened(item) for item in narrow])
    weights = {} if coarse is None else _weights(simulation, coarse)
    sizes = {item.name: int(np.prod(item.dims)) for item in simulation.model.model.graph.initializer}
    return Mixer(
        tensors,
        weights,
        {name: sizes.get(name, 0) // 2 for name in weights},
        _layers(model),
        _beside(model, {name: own for own, unit in tensors.items() for name in unit.tensors}),
    )


def find_mix(
    mixer: Mixer, gauge: Gauge, run_simulation: Run, request: SearchRequest
) -> tuple[SearchReport, tuple[Mix, ...]]:
    """Search, and return the account of it with its candidates as mixes.

    Args:
        mixer: Of the simulation.
        gauge: What to measure on.
        run_simulation: Runs the simulation.
        request: Tolerance, budget, and where single measurements are kept.
    """
    asked = Asked(request.tolerance_db, None if request.task is None else request.task.tolerance)

    def measure(mix: Mix) -> Closeness:
        mixer.apply(mix)
        return gauge.of(run_simulation)

    started_s = time.monotonic()
    notes, total = Path(request.notes), len(mixer.tensors) + len(mixer.weights)
    known = read_notes(notes, request.key)
    with noting(notes, request.key, known, of=total) as note:
        found = search(
            tuple(mixer.tensors),
            measure,
            asked,
            weights=mixer.saved,
            widen=mixer.joined,
            known=known,
            over_budget=lambda: time.monotonic() - started_s > request.budget_s,
            note=note,
        )
    return _report(found, mixer, request, asked), tuple(item.mix for item in found.candidates if _made(found, item))


def _made(found: Found, item: Candidate) -> bool:
    """Say whether a candidate is made: where nothing reaches the tolerance, the widest is, to show by how much."""
    return item.enough or (not found.reached and item.name == "w8a16")


def _widened(narrow: Any) -> Any:
    found = libpymo.TfEncoding()
    found.bw, found.min, found.max = 16, narrow.min, narrow.max
    found.delta = (narrow.max - narrow.min) / (2**16 - 1)
    found.offset = round(narrow.min / found.delta)
    return found


def _weights(simulation: Any, coarse: Any) -> dict[str, Unit]:
    found = {}
    for name in simulation.param_names:
        fine, rough = (one.qc_quantize_op_dict.get(name) for one in (simulation, coarse))
        if fine is None or rough is None or not fine.enabled or not rough.enabled or rough.bitwidth != 4:
            continue
        if fine.get_encodings() and rough.get_encodings():
            found[name] = Unit((name,), fine, (8, 4), list(fine.get_encodings()), list(rough.get_encodings()))
    return found


def _layers(model: onnx.ModelProto) -> dict[str, str]:
    found: dict[str, str] = {}
    constants = {item.name for item in model.graph.initializer}
    for node in model.graph.node:
        said = f"{node.op_type} '{node.name or node.output[0]}'"
        found |= dict.fromkeys(map(str, node.output), said)
        found |= {str(name): said for name in node.input if name in constants}
    return found


def _beside(model: onnx.ModelProto, unit_of: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return unit -> units at the same operators; values without a quantizer pass their own neighbours on."""
    near: dict[str, set[str]] = defaultdict(set)
    behind: dict[str, set[str]] = {name: {unit} for name, unit in unit_of.items()}
    for node in model.graph.node:
        taken: set[str] = set().union(*(behind.get(name, set()) for name in node.input))
        for name in node.output:
            behind.setdefault(str(name), set()).update(set() if name in unit_of else taken)
        together = taken | {unit_of[name] for name in node.output if name in unit_of}
        for unit in together:
            near[unit] |= together - {unit}
    return {name: frozenset(others) for name, others in near.items()}


def _report(found: Found, mixer: Mixer, request: SearchRequest, asked: Asked) -> SearchReport:
    wide = set(found.wide)
    return SearchReport(
        tolerance_db=request.tolerance_db,
        task_metric=None if request.task is None else request.task.metric,
        task_loss=asked.loss,
        reached=found.reached,
        stopped=found.stopped,
        steps=tuple(
            SearchStep(wide=step.wide, sqnr_db=_finite(step.closeness.sqnr_db), loss=step.closeness.loss)
            for step in found.steps
        ),
        tensors=tuple(
            SearchedTensor(
                tensor=name,
                shared_with=mixer.tensors[name].tensors[1:],
                layer=mixer.layers.get(name, "an input of the model"),
                bits=16 if name in wide else 8,
                alone_db=_alone(found, name),
                why=explain(found, name, asked),
            )
            for name in found.order
        ),
        weights=tuple(
            SearchedWeight(
                weight=name, layer=mixer.layers.get(name, "a weight"), bits=8, alone_db=_alone(found, name),
                why=explain_weight(found, name),
            )
            for name in mixer.weights
        ),
        candidates=tuple(
            SearchCandidate(
                name=item.name,
                uniform=item.name in UNIFORM,
                wide=tuple(sorted(item.mix.wide)),
                coarse=tuple(sorted(item.mix.coarse)),
                sqnr_db=_finite(item.closeness.sqnr_db),
                loss=item.closeness.loss,
                slice=item.closeness.slice,
                enough=item.enough,
                made=_made(found, item),
            )
            for item in found.candidates
        ),
    )  # fmt: skip


def _alone(found: Found, name: str) -> float | None:
    return None if name not in found.alone else _finite(found.alone[name].sqnr_db)


def _finite(value: float) -> float | None:
    return None if value == inf else value
