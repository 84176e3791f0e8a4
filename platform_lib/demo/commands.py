"""`drivetrain demo`: from raw logs to a verified, signed bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from platform_lib.console import ERR, print_json
from platform_lib.demo.record import Record
from platform_lib.demo.runner import StageOutcome, run_stage
from platform_lib.demo.stage_process import Begun, StageError, lane
from platform_lib.demo.stages import Stage, chain_after, demo_stages, places
from platform_lib.demo.witness import Witness
from platform_lib.errors import ConfigError, HomeError
from platform_lib.home import Home, open_home
from platform_lib.options import HomeOption, JsonOption
from platform_lib.storage import publish_bytes

MIN_DRIVES = 12


def demo(
    home: HomeOption = None,
    drives: Annotated[
        int,
        typer.Option(help="Synthetic drives of 20 s to simulate (12 or more); few may teach too little for the gates."),
    ] = 120,
    seed: Annotated[int, typer.Option(help="Seed of the drives, the split and the training.")] = 7,
    logs: Annotated[
        list[Path] | None,
        typer.Option("--logs", help="A folder of real drive logs to ingest beside the synthetic ones; repeatable."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for another demo on this home instead of refusing.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Go the whole way: drive logs, lake, dataset, planner, compiled model, gates, signed bundle, verified offline.

    Steps whose inputs, configuration and code have not changed are skipped. Kill it at any moment and start it again:
    it goes on where it was. Where a gate fails it ends there, with status 1: the page shows the evidence, and there is
    no bundle.
    """
    if drives < MIN_DRIVES:
        raise ConfigError(
            f"{drives} drives leave weather and events without a test drive", where="--drives", remedy="use 12 or more"
        )
    for folder in logs or []:
        if not folder.exists():
            raise ConfigError("no such file or folder", where=folder, remedy="name an existing one with --logs")
    opened = open_home(home)
    _require_sockets(opened)
    with opened.lock("demo", wait_s=86400.0 if wait else 0.0):
        started = time.monotonic()
        witness = Witness()
        outcomes = _run_all(demo_stages(opened, drives=drives, seed=seed, logs=tuple(logs or ())), opened, witness)
        page = _write_page(opened, outcomes, witness)
        seconds = time.monotonic() - started
    from platform_lib.demo.summary import print_summary

    if json_output:
        print_json({"seconds": round(seconds, 1), "page": page, "stages": [item.as_json() for item in outcomes]})
    else:
        print_summary(opened, outcomes, seconds=seconds, page=page)
    if outcomes[-1].rejected:
        raise typer.Exit(1)


def _require_sockets(home: Home) -> None:
    """Refuse at once what the second stage would be refused for."""
    from platform_lib.doctor.homes import socket_paths

    found = socket_paths(home)
    if found.status != "ok":
        raise HomeError(
            f"the temporary folder's path is too long for sockets: {found.detail}",
            where=home.short_path,
            remedy=found.remedy,
        )


def _run_all(stages: tuple[Stage, ...], home: Home, witness: Witness) -> tuple[StageOutcome, ...]:
    ERR.print(f"[bold]Drivetrain demo[/] in {escape(str(home.root))}: {len(stages)} stages", highlight=False)
    record = Record(places(home).report.with_name("stages.json"))
    outcomes: list[StageOutcome] = []
    begun: dict[Path, Begun] = {}
    with lane(places(home).report.with_name("beside")) as beside:
        for number, stage in enumerate(stages, start=1):
            try:
                outcome = run_stage(stage, number=number, total=len(stages), begun=begun.get(stage.writes))
            except StageError:
                witness.require_unchanged()  # if something was changed underneath, that is the cause to name
                raise
            witness.see(stage, outcome)
            outcomes.append(record.add(outcome))
            if outcome.rejected:
                break
            begun |= beside.begin(chain_after(stages[number:], stage.writes, begun))
    return tuple(outcomes)


def _write_page(home: Home, outcomes: tuple[StageOutcome, ...], witness: Witness) -> Path:
    from platform_lib.demo.page import render_page

    at = places(home)
    page = render_page(home, outcomes)
    witness.require_unchanged()
    publish_bytes(at.report, page.encode())
    return at.report
