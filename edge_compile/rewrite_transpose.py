"""Transposes of more axes than the chip has, made of fewer: axes of size 1 go, axes that stay together become one."""

from __future__ import annotations

import math

import numpy as np
import onnx

from edge_compile.graph_index import GraphIndex, replace_nodes
from edge_compile.shapes import static_shapes
from platform_lib.evidence import Rewrite

# Source: HTP of QNN 2.51.0 refuses a Transpose of six axes and takes one of five; measured on 2026-11-20.
MOST_AXES = 5


def lower_transposes(model: onnx.ModelProto) -> tuple[Rewrite, ...]:
    """Rewrite each static Transpose of too many axes as Reshape, a smaller Transpose, Reshape."""
    found = []
    for node in [node for node in model.graph.node if node.op_type == "Transpose"]:
        shapes = static_shapes(model)
        shape = shapes.get(node.input[0])
        if shape is None or len(shape) <= MOST_AXES:
            continue
        order = next(
            (tuple(item.ints) for item in node.attribute if item.name == "perm"), tuple(range(len(shape)))[::-1]
        )
        lower, lower_order = reduce_axes(shape, order)
        if len(lower) > MOST_AXES:
            continue
        _replace(model, node, shapes, lower, lower_order)
        name = node.name or str(node.output[0])
        said = f"a Transpose of {len(shape)} axes {list(shape)} by {list(order)} is one of {list(lower)} by {list(lower_order)}"
        found.append(Rewrite(name="transpose-rank", layer=name, what=said))
    return tuple(found)


def reduce_axes(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the smallest shape and order that move the same numbers to the same places.

    Args:
        shape: Of what is transposed.
        order: For each axis of the result, the axis it was.
    """
    kept = [axis for axis in order if shape[axis] != 1]
    groups: list[list[int]] = []
    for axis in kept:
        follows = bool(groups) and all(shape[between] == 1 for between in range(groups[-1][-1] + 1, axis))
        if follows and axis > groups[-1][-1]:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    sources = sorted(range(len(groups)), key=lambda at: groups[at][0])
    sizes = tuple(math.prod(shape[axis] for axis in groups[at]) for at in sources)
    if not groups:
        return (1,), (0,)
    return sizes, tuple(sources.index(at) for at in range(len(groups)))


def _replace(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    shapes: dict[str, tuple[int, ...]],
    lower: tuple[int, ...],
    order: tuple[int, ...],
) -> None:
    """Put the three nodes in place of one, and leave out a Reshape whose only use was to make, or to read, the many axes."""
    graph, index = model.graph, GraphIndex(model.graph)
    taken, given = str(node.input[0]), str(node.output[0])
    dropped = [node]
    before = index.producers.get(taken)
    if before is not None and before.op_type == "Reshape" and index.only_reader(taken, "Transpose") is node:
        taken = str(before.input[0])
        dropped.append(before)
    after = index.only_reader(given, "Reshape")
    shape = tuple(shapes[given])
    if after is not None and after.input[0] == given and str(after.output[0]) in shapes:
        shape, given = shapes[str(after.output[0])], str(after.output[0])
        dropped.append(after)
    name = node.name or str(node.output[0])
    small, moved = f"{name}_fewer_axes", f"{name}_moved"
    for key, sizes in ((f"{name}_shape_in", lower), (f"{name}_shape_out", shape)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(sizes, np.int64), key))
    make = onnx.helper.make_node
    nodes = [
        make("Reshape", [taken, f"{name}_shape_in"], [small], name=f"{name}_in"),
        make("Transpose", [small], [moved], name=name, perm=list(order)),
        make("Reshape", [moved, f"{name}_shape_out"], [given], name=f"{name}_out"),
    ]
    replace_nodes(graph, node, dropped, nodes)
