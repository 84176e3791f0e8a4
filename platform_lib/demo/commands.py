"""`drivetrain demo`: from raw logs to a verified, signed bundle."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from platform_lib.console import ERR, print_json
from platform_lib.demo.runner import StageOutcome, run_stage
from platform_lib.demo.stages import demo_stages, places
from platform_lib.errors import ConfigError
from platform_lib.home import Home, open_home
from platform_lib.options import HomeOption, JsonOption
from platform_lib.storage import publish_bytes

MIN_DRIVES = 12


def demo(
    home: HomeOption = None,
    drives: Annotated[int, typer.Option(help="Synthetic drives of 20 s to simulate (12 or more).")] = 96,
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
    it goes on where it was.
    """
    if drives < MIN_DRIVES:
        raise ConfigError(
            f"{drives} drives leave weather and events without a test drive", where="--drives", remedy="use 12 or more"
        )
    for folder in logs or []:
        if not folder.exists():
            raise ConfigError("no such file or folder", where=folder, remedy="name an existing one with --logs")
    opened = open_home(home)
    with opened.lock("demo", wait_s=86400.0 if wait else 0.0):
        started = time.monotonic()
        outcomes = _run_all(opened, drives=drives, seed=seed, logs=tuple(logs or ()))
        page = _write_page(opened, outcomes)
        seconds = time.monotonic() - started
    from platform_lib.demo.summary import print_summary

    if json_output:
        print_json({"seconds": round(seconds, 1), "page": page, "stages": [item.as_json() for item in outcomes]})
    else:
        print_summary(opened, outcomes, seconds=seconds, page=page)


def _run_all(home: Home, *, drives: int, seed: int, logs: tuple[Path, ...]) -> tuple[StageOutcome, ...]:
    stages = demo_stages(home, drives=drives, seed=seed, logs=logs)
    ERR.print(f"[bold]Drivetrain demo[/] in {home.root}: {len(stages)} stages", highlight=False)
    return tuple(run_stage(stage, number=number, total=len(stages)) for number, stage in enumerate(stages, start=1))


def _write_page(home: Home, outcomes: tuple[StageOutcome, ...]) -> Path:
    from platform_lib.demo.page import render_page

    at = places(home)
    publish_bytes(at.report, render_page(home, outcomes).encode())
    summary = [item.as_json() for item in outcomes]
    publish_bytes(at.report.with_name("stages.json"), (json.dumps(summary, indent=2) + "\n").encode())
    return at.report
