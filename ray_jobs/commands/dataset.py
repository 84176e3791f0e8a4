"""`drivetrain dataset`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_lib.console import OUT, print_json
from platform_lib.datasets.drive_clocks import clock_summary
from platform_lib.datasets.model import SampleRules
from platform_lib.home import open_home
from platform_lib.manifest import up_to_date
from platform_lib.options import ForceOption, HomeOption, JsonOption
from ray_jobs.dataset import DatasetOutcome, build_dataset


def dataset(
    name: Annotated[str, typer.Argument(help="Name of the dataset: a folder of that name in HOME/datasets.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides which drive goes into which split.")] = 7,
    every: Annotated[int, typer.Option("--every", min=1, help="Keep each n-th camera frame.")] = 2,
    force: ForceOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Align, join and split ingested drives into training samples.

    Camera frames are joined with the bus signals of the second before (the recorders' clocks are aligned first), the
    route command, the path driven in the 3 s after, and the other agents on it. Whole drives go into train, val or
    test. What is left out is counted, with the reason, in the manifest.
    """
    outcome = build_dataset(open_home(home), name, seed=seed, rules=SampleRules(every=every), force=force)
    if as_json:
        print_json(_document(outcome))
    else:
        _show(outcome)


def _document(outcome: DatasetOutcome) -> dict[str, object]:
    metrics = outcome.manifest.metrics
    told = ("samples", "drives", "skipped_drives", "frames", "clocks", "content_sha256")
    return {
        "dataset": str(outcome.folder),
        "sha256": outcome.manifest.step_sha256,
        "skipped": outcome.skipped,
        **{key: metrics[key] for key in told},
    }


def _show(outcome: DatasetOutcome) -> None:
    metrics = outcome.manifest.metrics
    digest = outcome.manifest.step_sha256[:12]
    if outcome.skipped:
        OUT.print(up_to_date(outcome.manifest.step_sha256), highlight=False)
    samples, skipped = metrics["samples"], metrics["skipped_drives"]
    if isinstance(samples, dict):
        counts = ", ".join(f"{split} {count}" for split, count in samples.items())
        OUT.print(f"{outcome.folder}: {counts} samples (digest {digest})", markup=False, highlight=False)
    clocks = metrics["clocks"]
    if isinstance(clocks, dict) and (line := clock_summary(clocks)) is not None:
        OUT.print(f"  {line}", markup=False, highlight=False)
    for item in skipped if isinstance(skipped, list) else ():
        if isinstance(item, dict):
            OUT.print(f"  left out: {item['drive_id']}: {item['reason']}", markup=False, highlight=False)
