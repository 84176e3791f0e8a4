"""`drivetrain cost rightsize requests`: CPU and memory requests with a stated risk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from platform_lib.options import JsonOption

if TYPE_CHECKING:
    from cost.rightsize.model import Measured
    from cost.rightsize.recommend import Recommendation
    from cost.rightsize.workloads import Workloads

_SHOWN_NAMES = 3


def requests(
    usage: Annotated[
        Path | None, typer.Option("--usage", help="CSV: a row a container, pod and time.", show_default=False)
    ] = None,
    workloads: Annotated[
        Path | None,
        typer.Option("--workloads", help="Of `kubectl get pods,deployments -A -o json`.", show_default=False),
    ] = None,
    throttled_windows: Annotated[
        float, typer.Option("--throttled-windows", min=0, max=0.5, help="Of a week's windows, above the CPU request.")
    ] = 0.01,
    throttled_chance: Annotated[
        float, typer.Option("--throttled-chance", min=0.001, max=0.5, help="That a week has more of them.")
    ] = 0.05,
    oom_chance: Annotated[
        float, typer.Option("--oom-chance", min=0.001, max=0.5, help="That a week's memory passes the limit.")
    ] = 0.01,
    step_s: Annotated[
        float, typer.Option("--step", min=15, max=3600, help="Seconds from one window to the next.")
    ] = 300.0,
    patches: Annotated[
        Path | None, typer.Option("--patches", help="A folder for patches and apply.sh.", show_default=False)
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Recommend CPU and memory requests, so that next week stays within a stated risk."""
    from cost.rightsize.recommend import Risk, recommend
    from cost.rightsize.showing import baselines, document_of
    from cost.rightsize.workloads import read_workloads
    from platform_lib.console import print_json

    risk = Risk(throttled_windows, throttled_chance, oom_chance)
    known = None if workloads is None else read_workloads(workloads)
    measured = _measured(usage, step_s)
    asked = {} if known is None else known.requested
    found = recommend(measured.usages, risk, asked)
    others = {item.key: baselines(item, asked.get(item.key)) for item in measured.usages}
    document: dict[str, Any] = document_of(measured, risk, found, others)
    document["patches"] = None if patches is None else write_patches(patches, found)
    if as_json:
        print_json(document)
        return
    _show(measured, known, found, document)


def _measured(usage: Path | None, step_s: float) -> Measured:
    from cost.rightsize.usage_csv import read_usage
    from platform_lib.errors import UsageError

    if usage is None:
        raise UsageError("no usage is named", where="--usage", remedy="name a CSV file: --usage FILE")
    return read_usage(usage, step_s=step_s)


def write_patches(folder: Path, found: tuple[Recommendation, ...]) -> dict[str, Any]:
    """Write a patch a workload and `apply.sh`, each checked first; return what was written."""
    import shlex

    import yaml

    from cost.rightsize.patches import faults, patches_of
    from platform_lib.errors import PlatformError
    from platform_lib.storage import publish_bytes

    folder.mkdir(parents=True, exist_ok=True)
    commands = []
    for patch in patches_of(found):
        wrong = faults(patch)
        if wrong:
            raise PlatformError(f"a patch would not hold: {'; '.join(wrong)}", where=patch.file_name)
        publish_bytes(folder / patch.file_name, yaml.safe_dump(patch.body, sort_keys=False).encode())
        commands.append(patch.command('"$(dirname "$0")"'))
    script = folder / "apply.sh"
    publish_bytes(script, ("\n".join(["#!/bin/sh", "set -eu", *commands]) + "\n").encode())
    return {"folder": str(folder), "workloads": len(commands), "command": f"sh {shlex.quote(str(script))}"}


def _show(
    measured: Measured, known: Workloads | None, found: tuple[Recommendation, ...], document: dict[str, Any]
) -> None:
    from cost.rightsize.model import BrokenRows
    from cost.rightsize.showing import refusals, rows_of
    from platform_lib.console import ERR, OUT
    from platform_lib.table import Column, print_table

    others = {item.key: _sizes(entry["baselines"]) for item, entry in zip(found, document["containers"], strict=True)}
    titles = ("CPU now", "CPU", "VPA", "KRR", "MiB now", "MiB", "VPA", "KRR")
    print_table((Column("container"), *(Column(title, right=True) for title in titles)), rows_of(found, others))
    for resource, words in document["risk"]["promise"].items():
        OUT.print(f"{resource}: {words}", highlight=False)
    for reason, names in refusals(found).items():
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        ERR.print(f"refused, {reason}: {', '.join(names[:_SHOWN_NAMES])}{more}", markup=False, highlight=False)
    for broken in (measured.broken, BrokenRows() if known is None else known.broken):
        for reason, count in broken.counts.items():
            ERR.print(f"left out, {reason}: {count} ({', '.join(broken.first[reason])})", markup=False, highlight=False)
    if document["patches"] is not None:
        OUT.print(
            f"{document['patches']['workloads']} patches; apply: {document['patches']['command']}", highlight=False
        )


def _sizes(entry: dict[str, dict[str, float | None]]) -> dict[str, Any]:
    from cost.rightsize.model import Sizes

    return {name: Sizes(**sizes) for name, sizes in entry.items()}
