"""`drivetrain doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from platform_lib.console import OUT, print_json
from platform_lib.doctor.deep import check_deep
from platform_lib.doctor.homes import check_home
from platform_lib.doctor.machine import check_machine
from platform_lib.doctor.model import Finding
from platform_lib.doctor.packages import check_packages
from platform_lib.doctor.parts import check_parts
from platform_lib.home import find_home
from platform_lib.options import HomeOption, JsonOption

_MARKS = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "missing": "[bold red]missing[/]"}
_HEADINGS = {"deep": "tried, each in a process of its own"}


def doctor(
    home: HomeOption = None,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Also try PostgreSQL, Ray, torch and QNN, each by itself: up to a minute."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is installed, what is missing, what that disables, and how to mend it; changes nothing.

    The exit status is 0 when everything that `drivetrain demo` needs is there, 1 otherwise.
    """
    root = find_home(home)
    findings = tuple(examine(root, deep=deep))
    ready = not any(finding.blocks_demo for finding in findings)
    if as_json:
        print_json({"ready_for_demo": ready, "home": str(root), "findings": [asdict(item) for item in findings]})
    else:
        _show(findings, ready=ready)
    if not ready:
        raise typer.Exit(1)


def examine(root: Path, *, deep: bool) -> Iterator[Finding]:
    """Yield every finding for the home at `root`; `deep` tries PostgreSQL, Ray, torch and QNN as well."""
    yield from check_packages()
    yield from check_parts()
    yield from check_machine(root)
    yield from check_home(root)
    if deep:
        yield from check_deep()


def _show(findings: tuple[Finding, ...], *, ready: bool) -> None:
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            OUT.print(f"\n[bold]{_HEADINGS.get(group, group)}[/]")
        OUT.print(f"  {_MARKS[finding.status]} {finding.name:<11} {escape(finding.detail)}", highlight=False)
        if finding.disables is not None:
            OUT.print(f"          disables: {escape(finding.disables)}", highlight=False)
        if finding.remedy is not None:
            OUT.print(f"          remedy:   {escape(finding.remedy)}", highlight=False)
    blocking = [finding.name for finding in findings if finding.blocks_demo]
    if ready:
        OUT.print("\nEverything that [bold]drivetrain demo[/] needs is here.")
    else:
        OUT.print(f"\n[bold]drivetrain demo[/] cannot run yet: {escape(', '.join(blocking))}.")
