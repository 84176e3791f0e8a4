"""The worker process that compiles several models into one context binary, so that weights they share lie in it once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx
import onnxruntime as ort

from edge_compile.messages import Message
from edge_compile.qnn_worker import session_options


class ShareRequest(Message):
    """Compile models one after another into the binary of the first.

    Attributes:
        models: QDQ models.
        contexts: The context model to write for each, in the current folder.
    """

    models: tuple[str, ...]
    contexts: tuple[str, ...]
    soc_model: int
    options: dict[str, str]
    optimisation_level: Literal["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC"]


class ShareAnswer(Message):
    """What lies in the current folder now."""

    files: tuple[str, ...]


def serve(request_json: bytes) -> Message:
    """Answer one request."""
    request = ShareRequest.model_validate_json(request_json)
    last = len(request.models) - 1
    for index, (model, context) in enumerate(zip(request.models, request.contexts, strict=True)):
        entries = {"ep.share_ep_contexts": "1"} | ({"ep.stop_share_ep_contexts": "1"} if index == last else {})
        compiler = ort.ModelCompiler(
            session_options({"soc_model": str(request.soc_model), **request.options}, entries),
            _apart(onnx.load(model), f"model{index}/").SerializeToString(),
            embed_compiled_data_into_model=False,
            graph_optimization_level=getattr(ort.GraphOptimizationLevel, request.optimisation_level),
        )
        compiler.compile_to_file(context)
    return ShareAnswer(files=tuple(sorted(item.name for item in Path.cwd().iterdir())))


def _apart(model: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """Give nodes and the tensors between them names of their own: in one binary, two of a name are refused.

    Weights keep theirs, and are found equal by their values. Source: QNN 2.51.0, tried on 2026-11-30.
    """
    kept = {item.name for item in (*model.graph.input, *model.graph.output, *model.graph.initializer)} | {""}
    for node in model.graph.node:
        node.name = prefix + node.name
        for names in (node.input, node.output):
            names[:] = [name if name in kept else prefix + name for name in names]
    return model
