"""`drivetrain capacity`: what a fleet needs, and where taking its logs in saturates."""

from __future__ import annotations

from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError

from platform_lib.capacity.model import Assumptions, Figure, Measured, Need, need_of
from platform_lib.capacity.saturation import Load, Point, curve, saturation
from platform_lib.console import ERR, OUT, print_json
from platform_lib.errors import ConfigError
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption
from platform_lib.refusals import first_problem
from platform_lib.table import Column, print_table

_FIGURES = (Column("need"), Column("", right=True), Column("unit"), Column("how"))
_POINTS = (
    *(Column(name, right=True) for name in ("workers", "seconds", "files/s", "GB/s")),
    *(Column(name, right=True) for name in ("workers busy", "driver busy")),
)


def capacity(
    fleet: Annotated[int, typer.Option("--fleet", min=1, help="Vehicles that record.")] = 200,
    hours_per_day: Annotated[
        float, typer.Option("--hours-per-day", min=0.01, max=24.0, help="That each of them records.")
    ] = 8.0,
    files: Annotated[
        int, typer.Option("--files", min=1, help="Files that arrive at once, for the scheduler's simulation.")
    ] = 10_000,
    assume: Annotated[
        Path | None,
        typer.Option("--assume", help="YAML with other assumptions, all or some of them.", show_default=False),
    ] = None,
    measured: Annotated[
        Path | None,
        typer.Option(
            "--measured", help="Figures measured elsewhere: the `measured` of a --json answer.", show_default=False
        ),
    ] = None,
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Work out what a fleet's logs need: nodes, S3 requests, catalogue rows, dollars a month; on paper.

    Throughput is measured on this machine, for about half a minute. Everything else is assumed, and listed.
    """
    assumed = read_assumptions(assume)
    found = _measured(measured, home)
    need = need_of(fleet, hours_per_day, found, assumed)
    points = curve(_load(files, assumed), found)
    at, why = saturation(points)
    if as_json:
        print_json(_document(need, points, at, why, found, assumed, fleet=fleet, hours_per_day=hours_per_day))
        return
    _show(need, found, assumed)
    _show_curve(files, points, at, why)


def read_assumptions(path: Path | None) -> Assumptions:
    """Return the shipped assumptions, with those of a file in their place.

    Raises:
        ConfigError: The file is no YAML, names what there is not, or a value that cannot be.
    """
    shipped = resources.files("platform_lib.capacity").joinpath("assumptions.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(shipped)
    remedy = "`drivetrain capacity` lists all of them, with their names"
    try:
        given = {} if path is None else yaml.safe_load(path.read_bytes())
        if not isinstance(given, dict) or not all(isinstance(item, dict) for item in given.values()):
            raise ConfigError("no sections of names and values", where=path, remedy=remedy)
        return Assumptions.model_validate({**values, **{key: {**values.get(key, {}), **given[key]} for key in given}})
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=path, remedy="name a YAML file") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}", where=path, remedy=remedy) from error
    except ValidationError as error:
        raise ConfigError(first_problem(error), where=path, remedy=remedy) from error


def _measured(path: Path | None, home: Path | None) -> Measured:
    if path is None:
        from ray_jobs.measuring import measure

        at = open_home(home)
        at.scratch.mkdir(exist_ok=True)
        ERR.print("measuring what a core of this machine does, about half a minute ...", highlight=False)
        return measure(at.scratch)
    try:
        return Measured.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=path, remedy="name a JSON file") from error
    except ValidationError as error:
        raise ConfigError(
            first_problem(error), where=path, remedy="take `measured` out of `drivetrain capacity --json`"
        ) from error


def _load(files: int, assumed: Assumptions) -> Load:
    ingest, recording = assumed.ingest, assumed.recording
    return Load(
        files=files,
        file_gb=recording.gb_per_hour * recording.file_minutes / 60.0,
        batch_files=1,  # files of this size are tasks of their own
        worker_mbps=ingest.node_network_mbps / ingest.node_vcpus,
    )


def _document(
    need: Need,
    points: list[Point],
    at: Point,
    why: str,
    measured: Measured,
    assumed: Assumptions,
    *,
    fleet: int,
    hours_per_day: float,
) -> dict[str, Any]:
    return {
        "fleet": fleet,
        "hours_per_day": hours_per_day,
        "need": [asdict(item) for item in need.figures],
        "dollars": [asdict(item) for item in need.dollars],
        "dollars_a_month": need.dollars_a_month,
        "scheduler": [asdict(item) for item in points],
        "saturates": {"workers": at.workers, "files_per_s": at.files_per_s, "because": why},
        "measured": measured.model_dump(),
        "assumed": assumed.model_dump(),
    }


def _show(need: Need, measured: Measured, assumed: Assumptions) -> None:
    print_table(_FIGURES, [_row(item) for item in need.figures])
    OUT.print()
    total = Figure("all of it", need.dollars_a_month, "$/month", "once storage is as full as retention lets it be")
    print_table(_FIGURES, [_row(item) for item in (*need.dollars, total)])
    OUT.print("\nmeasured on this machine:", highlight=False)
    for name, value in measured.model_dump().items():
        OUT.print(f"  {name:<20} {value:.4g}", highlight=False)
    OUT.print("assumed (--assume FILE replaces any of it):", highlight=False)
    for section, values in assumed.model_dump().items():
        for name, value in values.items():
            OUT.print(f"  {section}.{name:<28} {value}", highlight=False, markup=False)


def _row(item: Figure) -> list[str]:
    small = abs(item.value) < 100 and item.value != int(item.value)
    return [item.name, f"{item.value:,.2f}" if small else f"{item.value:,.0f}", item.unit, item.how]


def _show_curve(files: int, points: list[Point], at: Point, why: str) -> None:
    OUT.print(f"\n{files:,} files at once, by the number of workers (simulated):", highlight=False)
    rows = [
        [
            f"{item.workers:,}",
            f"{item.seconds:,.0f}",
            f"{item.files_per_s:,.2f}",
            f"{item.gb_per_s:,.2f}",
            f"{100 * item.worker_busy:.0f} %",
            f"{100 * item.driver_busy:.0f} %",
        ]
        for item in points
    ]
    print_table(_POINTS, rows)
    waits = "its network" if at.by_network else "its core"
    OUT.print(
        f"worth doubling up to {at.workers:,} workers, {at.files_per_s:,.1f} files/s; then stands in the way: {why}. "
        f"A worker waits for {waits}.",
        highlight=False,
    )
