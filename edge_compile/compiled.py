"""What one compiled precision is, before it is judged and published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_compile.messages import CompileAnswer
from platform_lib.evidence import GraphSummary, Performance

# onnxruntime's graph optimisation before the compiler's own. The default failed on some models.
OPTIMISATION_LEVEL: Literal["ORT_ENABLE_BASIC"] = "ORT_ENABLE_BASIC"


@dataclass(frozen=True, slots=True)
class ContextInfo:
    """What a context model says about itself.

    Attributes:
        soc_model: The chip it was built for, 0 when the compiler ignored the request.
        sdk_version: The QNN release that built it.
        binaries: Files it refers to, in its own folder.
        cpu_nodes: Nodes that are not a context binary, and would run on the CPU.
        also: Other chips whose code is in the same binary, as asked.
    """

    soc_model: int
    sdk_version: str
    binaries: tuple[str, ...]
    cpu_nodes: int
    also: tuple[int, ...] = ()

    @property
    def soc_models(self) -> tuple[int, ...]:
        """Every chip it was built for."""
        return (self.soc_model, *self.also)


@dataclass(frozen=True, slots=True)
class Compiled:
    """One precision, compiled; its files still lie in the scratch folder.

    Attributes:
        context: The context model.
        files: Name to publish under -> file.
        info: What the context model says about itself.
        graph: Where each node runs and in which data types.
        quantized: Whether any node computes in fixed point.
        digests: Name of the context model and of its binaries -> sha256, taken as soon as they were whole.
    """

    precision: str
    context: Path
    files: Mapping[str, Path]
    info: ContextInfo
    graph: GraphSummary
    quantized: bool
    performance: Performance
    answer: CompileAnswer
    digests: Mapping[str, str]
