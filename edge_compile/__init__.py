"""From an ONNX model to a proven artefact for a vehicle's chip: quantize, compile, compare, gate, bundle."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_compile.compiler import compile_model
    from edge_compile.torch_module import compile_module

__all__ = ["compile_model", "compile_module"]
_PLACES = {"compile_model": "edge_compile.compiler", "compile_module": "edge_compile.torch_module"}


def __getattr__(name: str) -> Any:
    """Load the compiler on first use, so that the light commands beside it stay light."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
