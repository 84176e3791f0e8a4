"""`drivetrain cost rightsize requests`: CPU and memory requests with a stated risk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cost.commands.rightsizing.asking import (
    DaysOption,
    NamespaceOption,
    PricesOption,
    PrometheusOption,
    ProposalsOption,
    RegionOption,
    StepOption,
    TokenOption,
    UntilOption,
    UsageOption,
)
from platform_lib.options import JsonOption

if TYPE_CHECKING:
    from cost.rightsize.model import Measured
    from cost.rightsize.recommend import Recommendation
    from cost.rightsize.workloads import Workloads

_SHOWN_NAMES = 3


def requests(
    usage: UsageOption = None,
    prometheus: PrometheusOption = None,
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
    step: StepOption = 300.0,
    days: DaysOption = 63.0,
    until: UntilOption = None,
    namespace: NamespaceOption = ".+",
    token_file: TokenOption = None,
    node_type: Annotated[
        str | None,
        typer.Option("--node-type", help="To count nodes with and without, and their price.", show_default=False),
    ] = None,
    region: RegionOption = "us-east-1",
    prices: PricesOption = None,
    patches: Annotated[
        Path | None, typer.Option("--patches", help="A folder for patches and apply.sh.", show_default=False)
    ] = None,
    proposals: ProposalsOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Recommend CPU and memory requests, so that next week stays within a stated risk."""
    from cost.commands.rightsizing.asking import book_of, check_step, neither, server_of, span_of, write_proposals
    from cost.rightsize.proposing import of_requests
    from cost.rightsize.recommend import Risk, recommend
    from cost.rightsize.saving import saving_of
    from cost.rightsize.showing import baselines, document_of, refusals
    from cost.rightsize.usage_csv import read_usage
    from cost.rightsize.workloads import guessed_workload, read_workloads
    from platform_lib.console import print_json

    if (usage is None) == (prometheus is None):
        raise neither("usage")
    risk = Risk(throttled_windows, throttled_chance, oom_chance)
    known = None if workloads is None else read_workloads(workloads)
    if usage is not None:
        check_step(step)
        measured = read_usage(usage, step_s=step)
    else:
        from cost.rightsize.prometheus import read_usage as ask

        of_pod = (lambda _, pod: guessed_workload(pod)) if known is None else known.workload_of
        measured = ask(server_of(prometheus or "", token_file), span_of(until, days, step, namespace), of_pod)
    asked = {} if known is None else known.requested
    found = recommend(measured.usages, risk, asked)
    others = {item.key: baselines(item, asked.get(item.key)) for item in measured.usages}
    document: dict[str, Any] = document_of(measured, risk, found, others)
    document["saving"] = saved = saving_of(found, node_type, region, book_of(prices))
    written = document["patches"] = None if patches is None else write_patches(patches, found)
    command, count = ("", 0) if written is None else (written["command"], written["workloads"])
    write_proposals(
        proposals,
        "requests",
        of_requests(risk, command or None, count, saved["usd_a_month"], saved["how"], refusals(found)),
    )
    if as_json:
        print_json(document)
        return
    _show(measured, known, found, document)


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
    from cost.commands.rightsizing.asking import tell_broken
    from cost.rightsize.model import BrokenRows, Sizes
    from cost.rightsize.showing import refusals, rows_of
    from platform_lib.console import ERR, OUT
    from platform_lib.table import Column, print_table

    others = {
        item.key: {name: Sizes(**sizes) for name, sizes in entry["baselines"].items()}
        for item, entry in zip(found, document["containers"], strict=True)
    }
    titles = ("CPU now", "CPU", "VPA", "KRR", "MiB now", "MiB", "VPA", "KRR")
    print_table((Column("container"), *(Column(title, right=True) for title in titles)), rows_of(found, others))
    for resource, words in document["risk"]["promise"].items():
        OUT.print(f"{resource}: {words}", highlight=False)
    OUT.print(f"saves: {document['saving']['words']}", highlight=False)
    for reason, names in refusals(found).items():
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        ERR.print(f"refused, {reason}: {', '.join(names[:_SHOWN_NAMES])}{more}", markup=False, highlight=False)
    tell_broken(measured.broken, BrokenRows() if known is None else known.broken)
    if document["patches"] is not None:
        OUT.print(
            f"{document['patches']['workloads']} patches; apply: {document['patches']['command']}", highlight=False
        )
