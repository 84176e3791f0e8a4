"""Several compiled models in one binary for one chip: weights that they share lie there once."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edge_compile import parity
from edge_compile.compiled import OPTIMISATION_LEVEL
from edge_compile.context import read_context
from edge_compile.device.kit import read_compile
from edge_compile.job import tool_versions
from edge_compile.share_worker import ShareAnswer, ShareRequest
from edge_compile.worker import Limits, run_worker
from edge_compile.workplace import MANIFEST, open_workplace
from platform_lib.errors import CompileError, ConfigError, ContractError, IntegrityError
from platform_lib.evidence import CompiledPrecision, CompileReport, ParityRung
from platform_lib.manifest import Step, input_of
from platform_lib.storage import publish_bytes, publish_folder

REPORT = "shared.json"
_WORKER = "edge_compile.share_worker"
# Source: QNN 2.51.0 on x86 ends by SIGSEGV when it loads such a binary, in a fresh process and with or without
# ep.share_ep_contexts; each of the two models alone loads. Tried on 2026-11-30.
_WHY_NOT_RUN = "the vendor's emulator crashes when it loads a binary of several models; run it on the board"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SharingModel(_Strict):
    """One of the models: what it was compiled to alone, and its context model here.

    Attributes:
        alone_bytes: Size of its own binary.
        parity: How far it is from its QDQ model in this binary.
    """

    model_name: str
    precision: str
    onnx_sha256: str
    qdq_sha256: str
    context: str
    alone_bytes: int
    parity: ParityRung


class SharedModels(_Strict):
    """``shared.json``."""

    target: str
    soc_model: int
    models: tuple[SharingModel, ...]
    binary: str
    binary_bytes: int

    @property
    def alone_bytes(self) -> int:
        """Size of the models' own binaries together."""
        return sum(item.alone_bytes for item in self.models)


@dataclass(frozen=True, slots=True)
class _Part:
    folder: Path
    report: CompileReport
    chosen: CompiledPrecision


def share_models(folders: Sequence[Path], out: Path, *, limits: Limits | None = None) -> SharedModels:
    """Compile the chosen precision of several compiles into one binary, and read its chip back.

    Args:
        folders: What ``compile`` wrote, two or more, all for one chip.
        out: The folder to publish, new or empty.
        limits: Time and memory of the compiler.

    Raises:
        ConfigError: Fewer than two, or `out` holds something.
        ContractError: They are for different chips, or nothing was chosen in one.
        IntegrityError: A compile changed, or the binary is for another chip.
        CompileError: The compiler failed, or made more than one binary.
    """
    if len({item.resolve() for item in folders}) < max(2, len(folders)):
        raise ConfigError("fewer than two compiles, or one twice", remedy="name two or more folders")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("is not an empty folder", where=out, remedy="name a new folder")
    parts = [_part(folder) for folder in folders]
    first = parts[0].report
    if other := next((item for item in parts if item.report.soc_model != first.soc_model), None):
        raise ContractError(
            f"for {other.report.target}, and the first is for {first.target}",
            where=other.folder,
            remedy="share one chip's",
        )
    names = [f"{index}-{item.report.model_name}.ctx.onnx" for index, item in enumerate(parts)]
    request = ShareRequest(
        models=tuple(str((item.folder / str(item.chosen.qdq)).resolve()) for item in parts),
        contexts=tuple(names),
        soc_model=first.soc_model,
        options={},
        optimisation_level=OPTIMISATION_LEVEL,
    )
    step = Step(
        "shared-models",
        inputs={f"compile/{index}": input_of(item.folder / MANIFEST) for index, item in enumerate(parts)},
        config={"soc_model": first.soc_model, "tools": dict(tool_versions())},
        modules=("edge_compile.sharing", _WORKER),
    )
    with open_workplace(out.resolve()) as workplace:
        scratch = workplace.scratch / "shared"
        scratch.mkdir()
        run_worker(_WORKER, request, ShareAnswer, scratch=scratch, log=workplace.log, limits=limits or Limits())
        found = _read_back(scratch, names, parts)
        with publish_folder(out.resolve()) as folder:
            for name in (*names, found.binary):
                shutil.copyfile(scratch / name, folder / name)
            publish_bytes(folder / REPORT, (found.model_dump_json(indent=2) + "\n").encode())
            sizes = {"binary_bytes": found.binary_bytes, "alone_bytes": found.alone_bytes}
            step.finish(folder / MANIFEST, {item.name: item for item in sorted(folder.iterdir())}, dict(sizes))
    return found


def _part(folder: Path) -> _Part:
    report, _ = read_compile(folder)
    chosen = None if report.chosen is None else report.precision(report.chosen)
    if chosen is None or chosen.qdq is None or report.soc_model == 0:
        raise ContractError("chose no precision that QNN compiled", where=folder, remedy="compile it until one passes")
    return _Part(folder, report, chosen)


def _read_back(scratch: Path, names: Sequence[str], parts: Sequence[_Part]) -> SharedModels:
    infos = [read_context(scratch / name) for name in names]
    soc_model = parts[0].report.soc_model
    if wrong := [info.soc_models for info in infos if info.soc_models != (soc_model,)]:
        raise IntegrityError(f"a binary for chip ids {wrong[0]}, and {soc_model} was asked for", where=names[0])
    binaries = {name for info in infos for name in info.binaries}
    if len(binaries) != 1 or any(info.cpu_nodes for info in infos):
        raise CompileError(
            f"the compiler made {len(binaries)} binaries, or left nodes to the CPU", where=", ".join(names)
        )
    binary = binaries.pop()
    return SharedModels(
        target=parts[0].report.target,
        soc_model=soc_model,
        models=tuple(_sharing(item, name) for item, name in zip(parts, names, strict=True)),
        binary=binary,
        binary_bytes=(scratch / binary).stat().st_size,
    )


def _sharing(part: _Part, context: str) -> SharingModel:
    precision = part.chosen.precision
    return SharingModel(
        model_name=part.report.model_name,
        precision=precision,
        onnx_sha256=part.report.onnx_sha256,
        qdq_sha256=part.report.digests[str(part.chosen.qdq)],
        context=context,
        alone_bytes=part.chosen.context_bytes,
        parity=parity.rung(
            parity.QDQ_TARGET,
            precision,
            None,
            None,
            threshold_db=parity.thresholds_db(precision, None)[parity.QDQ_TARGET],
            missing=_WHY_NOT_RUN,
        ),
    )
