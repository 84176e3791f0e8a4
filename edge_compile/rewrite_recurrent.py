"""Unrolls recurrent layers of a fixed number of steps into MatMul, Sigmoid, Tanh, Mul and Add, which the chips quantize.

Source of the equations and of the order of the gates: https://onnx.ai/onnx/operators/ (LSTM, GRU and RNN, opset 14 and 22).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_compile.graph_index import GraphIndex, read_by, replace_nodes
from edge_compile.shapes import static_shapes
from platform_lib.evidence import Rewrite

# Each step adds about ten nodes; a graph of more is one that nobody reads, and that the tools take very long over.
MOST_STEPS = 64
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
_KNOWN = frozenset({"direction", "hidden_size", "linear_before_reset", "activations", "layout", "input_forget"})
# What hands zeros on in another shape.
_MOVES = frozenset({"Expand", "Reshape", "Unsqueeze", "Squeeze", "Slice", "Transpose", "Identity", "Cast"})
_LENGTHS, _FIRST_HIDDEN, _FIRST_CELL, _PEEPHOLES = 4, 5, 6, 7
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One recurrent node whose steps can be written out.

    Attributes:
        reverse: Of each direction, whether it goes from the last step to the first.
        weights: W (directions, gates x hidden, inputs), R (directions, gates x hidden, hidden), B (directions, 2 x gates x hidden).
        first: Initial hidden state and cell, "" for zeros.
    """

    node: onnx.NodeProto
    kind: str
    steps: int
    batch: int
    inputs: int
    hidden: int
    reverse: tuple[bool, ...]
    weights: tuple[Array, Array, Array]
    first: tuple[str, str]
    reset_behind: bool


@dataclass(slots=True)
class _Writer:
    """Nodes and constants in the making, all named after the layer."""

    name: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants[f"{self.name}_{name}"] = values
        return f"{self.name}_{name}"

    def make(self, kind: str, name: str, *taken: str, **attributes: int) -> str:
        given = f"{self.name}_{name}"
        node = onnx.helper.make_node(kind, list(taken), [given], name=given)
        node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return given

    def split(self, name: str, taken: str, parts: int, size: int, axis: int) -> list[str]:
        if parts == 1:
            return [taken]
        sizes = self.constant(f"{name}_sizes", np.full(parts, size, np.int64))
        given = [f"{self.name}_{name}_{row}" for row in range(parts)]
        self.nodes.append(onnx.helper.make_node("Split", [taken, sizes], given, name=f"{self.name}_{name}", axis=axis))
        return given

    def reshape(self, name: str, taken: str, shape: tuple[int, ...], *, given: str = "") -> str:
        sizes = self.constant(f"{name}_shape", np.array(shape, np.int64))
        made = given or f"{self.name}_{name}"
        self.nodes.append(onnx.helper.make_node("Reshape", [taken, sizes], [made], name=f"{self.name}_{name}"))
        return made


def unroll(model: onnx.ModelProto) -> tuple[Rewrite, ...]:
    """Write out each recurrent layer that has a fixed number of steps and constant weights; others stay as they are."""
    found = []
    for node in [node for node in model.graph.node if node.op_type in _GATES and node.domain in ("", "ai.onnx")]:
        layer = _layer_of(model, node)
        if layer is None:
            continue
        writer = _Writer(node.name or str(next(filter(None, node.output))))
        _write(layer, writer)
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(values, name) for name, values in writer.constants.items()
        )
        replace_nodes(model.graph, node, [node], writer.nodes)
        ways = "both ways" if len(layer.reverse) > 1 else "one way"
        what = f"{layer.kind} of {layer.hidden} is written out over its {layer.steps} steps, {ways}"
        found.append(Rewrite(name="unrolled", layer=writer.name, what=what))
    if found:
        _sweep(model.graph)
    return tuple(found)


def _layer_of(model: onnx.ModelProto, node: onnx.NodeProto) -> _Layer | None:
    """Read a recurrent node; None where it does something that is not written out here."""
    index, shapes = GraphIndex(model.graph), static_shapes(model)
    taken = [*map(str, node.input), *[""] * (_PEEPHOLES + 1 - len(node.input))]
    told = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    w, r, b = (index.constant(name) if name else None for name in taken[1:4])
    shape = shapes.get(taken[0])
    odd = told.keys() - _KNOWN or told.get("layout") or told.get("input_forget") or taken[_LENGTHS] or taken[_PEEPHOLES]
    if w is None or r is None or (taken[3] and b is None) or shape is None or shape[0] > MOST_STEPS or odd:
        return None
    direction = told.get("direction", b"forward").decode()
    said = tuple(item.decode().lower() for item in told.get("activations", ()))
    if said not in ((), _DEFAULTS[node.op_type] * len(w)):
        return None
    kind, hidden = node.op_type, int(r.shape[2])
    biases = np.zeros((len(w), 2 * _GATES[kind] * hidden), np.float32) if b is None else b
    return _Layer(
        node=node,
        kind=kind,
        steps=shape[0],
        batch=shape[1],
        inputs=shape[2],
        hidden=hidden,
        reverse={"forward": (False,), "reverse": (True,)}.get(direction, (False, True)),
        weights=(w.astype(np.float32), r.astype(np.float32), biases.astype(np.float32)),
        first=(_unless_zero(index, taken[_FIRST_HIDDEN]), _unless_zero(index, taken[_FIRST_CELL])),
        reset_behind=bool(told.get("linear_before_reset", 0)),
    )


def _unless_zero(index: GraphIndex, name: str) -> str:
    """Return the name of an initial state, "" where that is zero: exporters write zeros out, in the batch's shape."""
    found = index.constant(name) if name else None
    if found is not None:
        return name if np.any(np.asarray(found, np.float32)) else ""
    maker = index.producers.get(name)
    if maker is not None and maker.op_type == "ConstantOfShape":
        return name if any(np.any(onnx.numpy_helper.to_array(item.t)) for item in maker.attribute) else ""
    moves = maker is not None and maker.op_type in _MOVES
    return "" if moves and not _unless_zero(index, str(maker.input[0])) else name  # type: ignore[union-attr]


def _sweep(graph: onnx.GraphProto) -> None:
    """Take away what only the layers read that are gone: their weights, and what made their initial states."""
    kept = {item.name for item in graph.output}
    for row in reversed(range(len(graph.node))):
        if kept.isdisjoint(graph.node[row].output):
            del graph.node[row]
        else:
            kept |= read_by(graph.node[row])
    for row in reversed(range(len(graph.initializer))):
        if graph.initializer[row].name not in kept:
            del graph.initializer[row]


def _write(layer: _Layer, to: _Writer) -> None:
    rows = to.reshape("rows", str(layer.node.input[0]), (layer.steps * layer.batch, layer.inputs))
    every, last_hidden, last_cell = [], [], []
    for at, reverse in enumerate(layer.reverse):
        states, cell = _direction(layer, to, at, rows, reverse=reverse)
        last_hidden.append(states[-1])
        last_cell.append(cell)
        every.append(states[::-1] if reverse else states)
    given = [*map(str, layer.node.output), "", "", ""]
    ways, batch, hidden = len(every), layer.batch, layer.hidden
    if given[0]:
        parts = []
        for at, states in enumerate(every):
            joined = to.make("Concat", f"steps{at}", *states, axis=0) if len(states) > 1 else states[0]
            shape = (layer.steps, 1, batch, hidden)
            parts.append(to.reshape(f"all{at}", joined, shape, given=given[0] if ways == 1 else ""))
        _join(to, parts, given[0], axis=1)
    for name, ends in ((given[1], last_hidden), (given[2] if layer.kind == "LSTM" else "", last_cell)):
        if name:
            key = "last" if name == given[1] else "cell"
            parts = [
                to.reshape(f"{key}{at}", end, (1, batch, hidden), given=name if ways == 1 else "")
                for at, end in enumerate(ends)
            ]
            _join(to, parts, name, axis=0)


def _join(to: _Writer, parts: list[str], given: str, *, axis: int) -> None:
    if len(parts) > 1:
        to.nodes.append(onnx.helper.make_node("Concat", parts, [given], name=f"{given}_joined", axis=axis))


def _direction(layer: _Layer, to: _Writer, at: int, rows: str, *, reverse: bool) -> tuple[list[str], str]:
    """Write one direction out, and return the hidden state of each step in the order in which they come, and the last cell."""
    gates, hidden, batch = _GATES[layer.kind], layer.hidden, layer.batch
    w, r, b = (values[at] for values in layer.weights)
    own, behind = b[: gates * hidden], b[gates * hidden :]
    if layer.kind == "LSTM":
        w, r, own, behind = (_forget_last(values, hidden) for values in (w, r, own, behind))
    # What a GRU's reset gate multiplies keeps its bias; every other one goes to the inputs' side.
    inside = behind[2 * hidden :] if layer.kind == "GRU" and layer.reset_behind else None
    folded = own + behind if inside is None else own + np.concatenate([behind[: 2 * hidden], np.zeros_like(inside)])
    if layer.kind == "GRU":
        w, folded = (_reset_last(values, hidden) for values in (w, folded))
    product = to.make("MatMul", f"in{at}", rows, to.constant(f"w{at}", np.ascontiguousarray(w.T)))
    sums = to.make("Add", f"in{at}_bias", product, to.constant(f"b{at}", folded))
    each = to.split(f"at{at}", sums, layer.steps, batch, 0)
    state, cell = (_first(layer, to, at, name, key) for name, key in zip(layer.first, ("h0", "c0"), strict=True))
    recurrent = to.constant(f"r{at}", np.ascontiguousarray(r.T))
    found = []
    for step in reversed(range(layer.steps)) if reverse else range(layer.steps):
        key = f"d{at}s{step}"
        if layer.kind == "GRU":
            state = _gru(layer, to, key, each[step], state, (at, recurrent, inside))
        else:
            total = each[step] if not state else _plus(to, key, each[step], state, recurrent)
            state, cell = (
                (to.make("Tanh", f"{key}_h", total), "") if layer.kind == "RNN" else _lstm(layer, to, key, total, cell)
            )
        found.append(state)
    return found, cell


def _first(layer: _Layer, to: _Writer, at: int, name: str, key: str) -> str:
    if not name:
        return ""
    parts = to.split(f"{key}_way{at}", name, len(layer.reverse), 1, 0)
    return to.reshape(f"{key}_{at}", parts[at], (layer.batch, layer.hidden))


def _plus(to: _Writer, key: str, taken: str, state: str, recurrent: str) -> str:
    return to.make("Add", f"{key}_sum", taken, to.make("MatMul", f"{key}_r", state, recurrent))


def _forget_last(values: Array, hidden: int) -> Array:
    """Put the gates i, o, f, c into the order i, o, c, f: without a cell there is nothing to forget, and three remain."""
    i, o, f, c = (values[at * hidden : (at + 1) * hidden] for at in range(4))
    return np.concatenate([i, o, c, f])


def _lstm(layer: _Layer, to: _Writer, key: str, total: str, cell: str) -> tuple[str, str]:
    """Ct = f * Ct-1 + i * c, Ht = o * tanh(Ct), of gates in the order i, o, c, f."""
    gates = _gates_of(layer, to, key, total, 4 if cell else 3)
    i, o = (to.make("Sigmoid", f"{key}_{name}", gate) for name, gate in zip("io", gates, strict=False))
    kept = to.make("Mul", f"{key}_new", i, to.make("Tanh", f"{key}_g", gates[2]))
    if cell:
        old = to.make("Mul", f"{key}_old", to.make("Sigmoid", f"{key}_f", gates[3]), cell)
        kept = to.make("Add", f"{key}_c", old, kept)
    return to.make("Mul", f"{key}_h", o, to.make("Tanh", f"{key}_t", kept)), kept


def _reset_last(values: Array, hidden: int) -> Array:
    """Put the gates z, r, h into the order z, h, r: without a state before there may be nothing to reset, and two remain."""
    z, r, h = (values[at * hidden : (at + 1) * hidden] for at in range(3))
    return np.concatenate([z, h, r])


def _gates_of(layer: _Layer, to: _Writer, key: str, total: str, count: int) -> list[str]:
    """Part the first gates; a part of a Split that nobody reads is left in float by the chip's compiler."""
    if count < _GATES[layer.kind]:
        spans = (("starts", 0), ("ends", count * layer.hidden), ("axes", 1))
        ends = [to.constant(f"gates_{name}", np.array([value], np.int64)) for name, value in spans]
        total = to.make("Slice", f"{key}_some", total, *ends)
    return to.split(f"{key}_gates", total, count, layer.hidden, 1)


def _gru(layer: _Layer, to: _Writer, key: str, taken: str, state: str, weights: tuple[int, str, Array | None]) -> str:
    """Ht = (1 - z) * n + z * Ht-1, with the reset gate before the product or behind it."""
    at, recurrent, inside = weights
    hidden, both = layer.hidden, layer.weights[1][at]
    z, h, *reset = _gates_of(layer, to, key, taken, 3 if state or inside is not None else 2)
    bias = "" if inside is None else to.constant(f"rbh{at}", inside)
    if state:
        first = recurrent if bias else to.constant(f"rzr{at}", np.ascontiguousarray(both[: 2 * hidden].T))
        product = to.make("MatMul", f"{key}_r", state, first)
        own = to.split(f"{key}_own", product, 3 if bias else 2, hidden, 1)
        z, reset = to.make("Add", f"{key}_zs", z, own[0]), [to.make("Add", f"{key}_rs", reset[0], own[1])]
        bias = bias and to.make("Add", f"{key}_hb", own[2], bias)
    z, reset = to.make("Sigmoid", f"{key}_z", z), [to.make("Sigmoid", f"{key}_rg", gate) for gate in reset]
    if bias:
        h = to.make("Add", f"{key}_hs", h, to.make("Mul", f"{key}_reset", reset[0], bias))
    elif state:
        part = to.constant(f"rh{at}", np.ascontiguousarray(both[2 * hidden :].T))
        product = to.make("MatMul", f"{key}_rh", to.make("Mul", f"{key}_reset", reset[0], state), part)
        h = to.make("Add", f"{key}_hs", h, product)
    new = to.make("Tanh", f"{key}_n", h)
    mixed = to.make("Mul", f"{key}_zd", z, to.make("Sub", f"{key}_d", state, new) if state else new)
    # (1 - z) * n + z * s = n + z * (s - n)
    return to.make("Add" if state else "Sub", f"{key}_h", new, mixed)
