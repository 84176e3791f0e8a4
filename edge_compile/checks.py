"""The named checks, one for each way the toolchain was seen to fail without a word. Pure."""

from __future__ import annotations

from pathlib import Path

from edge_compile.compiled import OPTIMISATION_LEVEL, Compiled
from edge_compile.messages import RunAnswer
from edge_compile.provider_options import check_provider_options
from edge_compile.targets.table import Target
from platform_lib.errors import ConfigError
from platform_lib.evidence import Check, NodeWaiver, Status

FLOAT_REFERENCE = "fp16"
CHECK_NAMES = (
    "soc_readback",
    "published_only_after_success",
    "digest_before_load",
    "no_float_islands",
    "not_fp16_by_accident",
    "optimisation_level_named",
    "provider_options_allow_listed",
    "context_target_match",
    "scratch_folder",
    "all_nodes_on_npu",
)


def run_checks(
    compiled: Compiled,
    ran: RunAnswer | None,
    target: Target,
    scratch: Path,
    *,
    why_not_run: str = "",
    waivers: tuple[NodeWaiver, ...] = (),
) -> tuple[Check, ...]:
    """Judge one compiled precision.

    Args:
        compiled: What the compiler made.
        ran: What the emulator's worker checked before its load; None when it did not run.
        target: The chip asked for.
        scratch: The folder that the tools were confined to.
        why_not_run: Why the emulator did not run.
        waivers: Nodes that may compute in float; those in force alone.
    """
    files = ", ".join(ran.checked_files) if ran else ""
    soc = compiled.info.soc_model
    at_load = "not_run" if ran is None else _status(ok=ran.soc_model == target.soc_model)
    return (
        _check(
            "soc_readback",
            ok=compiled.info.soc_models == (target.soc_model,),
            detail=f"metadata says chip id {soc}, asked for {target.soc_model}",
        ),
        _check("published_only_after_success", ok=True, detail="the compiler's process ended well and answered"),
        Check(
            name="digest_before_load",
            status="not_run" if ran is None else _status(ok=set(ran.checked_files) == set(compiled.digests)),
            detail=why_not_run if ran is None else f"sha256 matched before the emulator loaded {files}",
        ),
        _no_float_islands(compiled, waivers),
        _not_fp16_by_accident(compiled),
        _check(
            "optimisation_level_named",
            ok=compiled.answer.optimisation_level == OPTIMISATION_LEVEL,
            detail=f"onnxruntime level {compiled.answer.optimisation_level}",
        ),
        _options(compiled),
        Check(
            name="context_target_match",
            status=at_load,
            detail=why_not_run
            if ran is None
            else f"context built for chip id {ran.soc_model}, loaded as {target.soc_model}",
        ),
        _scratch_folder(compiled, scratch),
        _all_on_npu(compiled),
    )


def failed_compile(reason: str) -> tuple[Check, ...]:
    """The checks of a precision that did not compile: nothing of it is published, and nothing else was checked."""
    return tuple(
        Check(name=name, status="fail", detail=f"no context of it is published: {reason}")
        if name == "published_only_after_success"
        else Check(name=name, status="not_run", detail="did not compile")
        for name in CHECK_NAMES
    )


def _no_float_islands(compiled: Compiled, waivers: tuple[NodeWaiver, ...]) -> Check:
    name = "no_float_islands"
    if compiled.precision == FLOAT_REFERENCE:
        return Check(name=name, status="not_run", detail="the float reference is float on purpose")
    excused = {item.node: item for item in waivers if item.precision == compiled.precision}
    waived = [excused[node] for node in compiled.graph.float_nodes if node in excused]
    found = [node for node in compiled.graph.float_nodes if node not in excused]
    if waived and not found:
        said = "; ".join(f"{item.node} until {item.until} by {item.approved_by}: {item.why}" for item in waived[:5])
        return _check(name, ok=True, detail=f"{len(waived)} node(s) in float, waived: {said}")
    return _check(
        name,
        ok=not found,
        detail=f"{len(found)} node(s) outside {compiled.precision}'s data types: {', '.join(found[:5])}"
        if found
        else f"{compiled.graph.npu_nodes} nodes, all within {compiled.precision}'s data types",
    )


def _not_fp16_by_accident(compiled: Compiled) -> Check:
    name = "not_fp16_by_accident"
    if compiled.precision == FLOAT_REFERENCE:
        return _check(
            name, ok=not compiled.quantized, detail="the float reference, compiled as fp16 on purpose and named so"
        )
    detail = (
        "nodes compute in fixed point" if compiled.quantized else "no node computes in fixed point: it runs as fp16"
    )
    return _check(name, ok=compiled.quantized, detail=detail)


def _options(compiled: Compiled) -> Check:
    name = "provider_options_allow_listed"
    options = compiled.answer.provider_options
    try:
        check_provider_options(options)
    except ConfigError as error:
        return _check(name, ok=False, detail=error.what)
    return _check(name, ok=True, detail=", ".join(f"{key}={value}" for key, value in sorted(options.items())))


def _scratch_folder(compiled: Compiled, scratch: Path) -> Check:
    folder, count = Path(compiled.answer.current_folder).resolve(), len(compiled.answer.files)
    inside = folder.is_relative_to(scratch.resolve())
    detail = f"{count} files written, all in a scratch folder of their own" if inside else f"{count} files in {folder}"
    return _check("scratch_folder", ok=inside, detail=detail)


def _all_on_npu(compiled: Compiled) -> Check:
    graph = compiled.graph
    ok = graph.cpu_nodes == 0 and not graph.unsupported
    return _check("all_nodes_on_npu", ok=ok, detail=f"{graph.npu_nodes} nodes on the NPU, {graph.cpu_nodes} on the CPU")


def _check(name: str, *, ok: bool, detail: str) -> Check:
    return Check(name=name, status=_status(ok=ok), detail=detail)


def _status(*, ok: bool) -> Status:
    return "pass" if ok else "fail"
