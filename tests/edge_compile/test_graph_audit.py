from __future__ import annotations

import json

import pytest

from edge_compile.graph_audit import GraphDump, OpTrace, computes_quantized, offences, summarize, unsupported

# QNN's numbers: data type, then role (0 graph input, 1 graph output, 3 native, 4 static).
F32, U8, S8, U16, S32, INT32 = 562, 1032, 776, 1046, 818, 50


def dump(nodes: dict[str, tuple[str, list[str], list[str]]], tensors: dict[str, tuple[int, int]]) -> GraphDump:
    """Build a dump in the compiler's own JSON, as recorded from a LayerNorm model (shortened)."""
    document = {
        "copyright_str": "",
        "graph": {
            "nodes": {
                name: {"type": kind, "input_names": inputs, "output_names": outputs, "package": "qti.aisw"}
                for name, (kind, inputs, outputs) in nodes.items()
            },
            "tensors": {name: {"data_type": kind, "type": role, "dims": [1]} for name, (kind, role) in tensors.items()},
        },
    }
    return GraphDump.model_validate_json(json.dumps(document))


GOOD = dump(
    {
        "x_q": ("Quantize", ["x"], ["xq"]),
        "fc": ("FullyConnected", ["xq", "w", "b"], ["h"]),
        "norm": ("LayerNorm", ["h", "g", "b"], ["n"]),
        "y_dq": ("Dequantize", ["n"], ["y"]),
    },
    {
        "x": (F32, 0), "xq": (U8, 3), "w": (S8, 4), "b": (S32, 4), "h": (U8, 3), "g": (U8, 4), "n": (U8, 3), "y": (F32, 1),
    },
)  # fmt: skip
# Recorded with export_int32_bias=False: the LayerNorm is cut out of the quantized graph by two casts.
ISLAND = dump(
    {
        "x_q": ("Quantize", ["x"], ["xq"]),
        "fc": ("FullyConnected", ["xq", "w", "b"], ["h"]),
        "h_dq": ("Dequantize", ["h"], ["hf"]),
        "norm": ("LayerNorm", ["hf", "gf", "bf"], ["nf"]),
        "n_q": ("Quantize", ["nf"], ["n"]),
        "y_dq": ("Dequantize", ["n"], ["y"]),
    },
    {
        "x": (F32, 0), "xq": (U8, 3), "w": (S8, 4), "b": (S32, 4), "h": (U8, 3), "hf": (F32, 3), "gf": (F32, 3),
        "bf": (F32, 4), "nf": (F32, 3), "n": (U8, 3), "y": (F32, 1),
    },
)  # fmt: skip
TRACE = OpTrace.model_validate(
    {"summary": {"total_onnx_nodes": 9, "supported_nodes": 9, "unsupported_nodes": 0, "qnn_subgraphs": 1}}
)


def test_casts_at_the_graphs_own_inputs_and_outputs_are_allowed() -> None:
    assert offences(GOOD, "w8a8") == ()


def test_a_float_island_is_found_with_its_casts() -> None:
    assert [item.node for item in offences(ISLAND, "w8a8")] == ["h_dq", "n_q", "norm"]
    assert {item.type_name for item in offences(ISLAND, "w8a16")} == {"float32"}


def test_sixteen_bits_are_allowed_in_w8a16_and_not_in_w8a8() -> None:
    wide = dump({"relu": ("Relu", ["a"], ["b"])}, {"a": (U16, 3), "b": (U16, 3)})
    assert offences(wide, "w8a16") == ()
    assert [item.type_name for item in offences(wide, "w8a8")] == ["ufixed16"]


def test_an_unknown_data_type_is_on_no_list() -> None:
    strange = dump({"relu": ("Relu", ["a"], ["b"])}, {"a": (U8, 3), "b": (0x0999, 3)})
    assert [item.type_name for item in offences(strange, "w8a8")] == ["unknown(0x0999)"]


def test_indices_may_be_integers() -> None:
    gather = dump({"gather": ("Gather", ["a", "i"], ["b"])}, {"a": (U8, 3), "i": (INT32, 4), "b": (U8, 3)})
    assert offences(gather, "w8a8") == ()


def test_a_plain_float_graph_computes_nothing_in_fixed_point() -> None:
    plain = dump({"relu": ("Relu", ["x"], ["y"])}, {"x": (F32, 0), "y": (F32, 1)})
    casts_only = dump(
        {"q": ("Quantize", ["x"], ["xq"]), "dq": ("Dequantize", ["xq"], ["y"])},
        {"x": (F32, 0), "xq": (U8, 3), "y": (F32, 1)},
    )
    assert not computes_quantized((plain,))
    assert not computes_quantized((casts_only,))
    assert computes_quantized((GOOD,))


def test_the_summary_counts_nodes_outputs_and_offenders() -> None:
    found = summarize((GOOD, ISLAND), TRACE, "w8a8", cpu_nodes=2)
    assert (found.npu_nodes, found.cpu_nodes) == (10, 2)
    assert found.dtypes == {"float32": 4, "ufixed8": 6}
    assert found.float_nodes == ("h_dq", "n_q", "norm")


def test_the_float_reference_has_no_offenders() -> None:
    assert summarize((ISLAND,), TRACE, "fp16", cpu_nodes=0).float_nodes == ()


def test_refused_operators_are_named_without_the_casts_around_them() -> None:
    rows = [
        {"node_index": 5, "node_name": "m_dq", "op_type": "DequantizeLinear", "reason": "Erf is not supported"},
        {"node_index": 6, "node_name": "/Erf", "op_type": "Erf", "reason": "Erf is not supported"},
    ]
    summary = {"total_onnx_nodes": 9, "supported_nodes": 7, "unsupported_nodes": 2}
    trace = OpTrace.model_validate({"summary": summary, "unsupported_nodes": rows})
    assert unsupported(trace) == {"/Erf": "Erf is not supported"}


def test_a_dump_without_a_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="graph"):
        GraphDump.model_validate_json("{}")
