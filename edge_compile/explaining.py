"""Says of each tensor of a published compile how many bits it has, and why: from the encodings, and from the search."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import onnx
from pydantic import ValidationError

from edge_compile.messages import SearchReport
from platform_lib.errors import IntegrityError
from platform_lib.evidence import CompileReport

_SEARCH = "mixed.search.json"
_WHY = {
    "w8a16": "w8a16 gives every tensor 16 bits",
    "w4a16": "w4a16 gives every tensor 16 bits",
    "w8a8": "w8a8 gives every tensor 8 bits",
}
_FOLLOWS = "it follows its neighbours"
_BY_RANK = {8: "w8mixed gives feature maps 8 bits", 16: "w8mixed gives what is no feature map 16 bits"}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one tensor of one precision has its width; `layer` is the operator that makes it."""

    precision: str
    layer: str
    tensor: str
    bits: int
    why: str


def reasons_of(folder: Path, report: CompileReport) -> tuple[Reason, ...]:
    """Explain every tensor of every quantized precision that was made.

    Raises:
        IntegrityError: The encodings or the account of the search are not readable.
    """
    makers = _makers(folder / "fp32.onnx")
    found: list[Reason] = []
    for item in report.precisions:
        if item.encodings is None or not (folder / item.encodings).is_file():
            continue
        searched = _searched(folder) if item.precision == "mixed" else {}
        for tensor, bits in _widths(folder / item.encodings).items():
            if tensor not in makers:
                continue
            why = _WHY.get(item.precision) or (_BY_RANK[bits] if item.precision == "w8mixed" else _FOLLOWS)
            bits, why = searched.get(tensor, (bits, why))
            found.append(Reason(item.precision, makers[tensor], tensor, bits, why))
        if item.precision == "mixed":
            found += [Reason("mixed", row.layer, row.weight, row.bits, row.why) for row in _account(folder).weights]
    return tuple(found)


def _makers(model: Path) -> dict[str, str]:
    graph = onnx.load(model, load_external_data=False).graph
    found = {item.name: "an input of the model" for item in graph.input}
    return found | {str(name): f"{node.op_type} '{node.name or name}'" for node in graph.node for name in node.output}


def _widths(path: Path) -> dict[str, int]:
    """Return tensor -> bits of AIMET's activation encodings."""
    try:
        return {str(row["name"]): int(row["bw"]) for row in json.loads(path.read_bytes())["activation_encodings"]}
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("not encodings of AIMET's", where=path, remedy="compile again") from error


def _searched(folder: Path) -> dict[str, tuple[int, str]]:
    report = _account(folder)
    return {name: (item.bits, item.why) for item in report.tensors for name in (item.tensor, *item.shared_with)}


def _account(folder: Path) -> SearchReport:
    try:
        return SearchReport.model_validate_json((folder / _SEARCH).read_bytes())
    except (FileNotFoundError, ValidationError) as error:
        raise IntegrityError("no account of the search", where=folder / _SEARCH, remedy="compile again") from error
