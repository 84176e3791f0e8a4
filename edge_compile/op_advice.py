"""What to do about operators that the chip has not: one sentence for each that people bring. Pure."""

from __future__ import annotations

# Source: refused by HTP of QNN 2.51.0 on 2026-11-20, each with its own model; the rest of the table follows from ONNX's
# definition of the operators: the size of what they give depends on values, and a context binary has static shapes.
_NEVER: dict[str, tuple[str, str]] = {
    "NonMaxSuppression": (
        "gives as many boxes as it finds, and the chip needs static shapes",
        "end the graph at its boxes and scores, and suppress outside of it; then export again",
    ),
    "Loop": ("runs as often as the data says", "unroll it to a fixed number of steps, and export again"),
    "Scan": ("runs as often as the data says", "unroll it to a fixed number of steps, and export again"),
    "Unique": ("gives as many values as it finds", "leave it outside the graph, and export again"),
    "SequenceConstruct": (
        "makes a sequence, and the chip has tensors only",
        "concatenate the tensors, and export again",
    ),
    "SplitToSequence": ("makes a sequence, and the chip has tensors only", "use Split, and export again"),
    "StringNormalizer": ("works on text, and the chip has none", "leave it outside the graph, and export again"),
}
# Source: QNN 2.51.0 refused an LSTM with quantized weights, and ran a GRU of 8 bits in float; seen on 2026-11-30. Here come those
# alone that `edge_compile.rewrite_recurrent` does not write out.
_UNROLL = (
    "unroll it over its steps into MatMul, Sigmoid, Tanh and Mul, as is done here for plain layers of up to 64 steps: the chip "
    "has no quantized recurrent operator"
)
_ADVICE: dict[str, str] = {
    "Erf": "this Erf is no part of a GELU, which would have been rewritten: use Gelu or Tanh, or export with opset 20",
    "DeformConv": "use GridSample with a 16-bit grid and a convolution, or leave deformable layers outside the graph",
    "NonZero": "compute with a mask (Where, Mul) instead of indices",
    "GridSample": "only four axes, bilinear or nearest: split the volume into slices",
    "Transpose": "six axes that move apart need two Transposes of at most five axes, with Reshapes between",
    "Einsum": "write it as MatMul, Transpose and Reshape",
    "Inverse": "leave it outside the graph, and give its result as an input",
    "Det": "leave it outside the graph, and give its result as an input",
    "Round": "leave it outside the graph",
    "Mod": "use Div, Floor, Mul and Sub",
    "CumSum": "multiply with a triangular matrix of ones",
    "If": "export the one branch that the vehicle runs",
    "LSTM": _UNROLL,
    "RNN": _UNROLL,
    "GRU": _UNROLL,
    "ArgMax": "give the scores, and take the ArgMax outside the model",
}


def never_compiles(op_type: str) -> tuple[str, str] | None:
    """Return why an operator can be compiled in no form, and what to do; None for one that may be."""
    return _NEVER.get(op_type)


def advice(op_type: str) -> str:
    """Say what to do about an operator that the compiler refused."""
    return _ADVICE.get(op_type, f"replace {op_type or 'the operator'} in the model, or leave it outside the graph")
