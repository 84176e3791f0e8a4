"""`drivetrain simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from platform_lib.console import OUT, print_json, progress
from platform_lib.manifest import up_to_date
from platform_lib.options import ForceOption, JsonOption


def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write; new, empty, or an earlier simulation's.")],
    drives: Annotated[int, typer.Option(help="How many drives of 20 s.")] = 24,
    seed: Annotated[int, typer.Option(help="Decides every drive; the same seed gives the same bytes.")] = 7,
    broken: Annotated[bool, typer.Option("--broken", help="Also write damaged logs to OUT/broken.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Processes. Default: one a CPU.", show_default=False)] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write synthetic drives (MDF4 with CAN, MCAP with sensors) and, apart from them, their ground truth.

    Each drive becomes OUT/<vehicle>_<session>/can.mf4 and sensors.mcap; the truth goes to OUT.truth/.
    """
    from platform_lib.scenario.simulation import simulate_fleet

    with progress("simulating", drives + broken) as task:
        result = simulate_fleet(
            out,
            drives=drives,
            seed=seed,
            broken=broken,
            jobs=jobs,
            force=force,
            advance=lambda name: task.advance(note=name),
        )
        if result.skipped:
            task.advance(drives + broken, note="up to date")
    manifest = result.manifest
    if as_json:
        print_json(
            {
                "skipped": result.skipped,
                "out": result.out,
                "truth": result.truth,
                "manifest": result.manifest_path,
                "step_sha256": manifest.step_sha256,
                **manifest.metrics,
            }
        )
    elif result.skipped:
        OUT.print(f"{up_to_date(manifest.step_sha256)}: {result.out}", markup=False)
    else:
        size = sum(item.bytes for item in manifest.outputs.values())
        OUT.print(f"{drives} drives, {size / 1e6:.0f} MB: {result.out}; truth: {result.truth}", markup=False)
