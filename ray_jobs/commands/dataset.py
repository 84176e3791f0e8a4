"""`drivetrain dataset`: build one from the lake, import a foreign one, export any."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from platform_lib.catalog.filters import DriveFilter
from platform_lib.catalog.paging import SinceOption, UntilOption, parse_moment
from platform_lib.console import OUT, print_json
from platform_lib.datasets.drive_clocks import clock_summary
from platform_lib.datasets.model import SampleRules
from platform_lib.errors import ConfigError
from platform_lib.home import open_home
from platform_lib.manifest import up_to_date
from platform_lib.options import ForceOption, HomeOption, JsonOption
from ray_jobs.dataset import DatasetOutcome, build_dataset, valid_name


class _BuildUnlessNamed(TyperGroup):
    """``drivetrain dataset NAME`` builds; ``import`` and ``export`` are the only first words that mean another thing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["build", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


app = typer.Typer(
    cls=_BuildUnlessNamed,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Align, join and split ingested drives into training samples: `drivetrain dataset NAME`. Import a dataset of "
    "another layout, export one for other tools.",
)


class _Layout(StrEnum):
    LEROBOT = "lerobot"
    NUSCENES = "nuscenes"
    PARQUET = "parquet"


class _Form(StrEnum):
    LEROBOT = "lerobot"
    MCAP = "mcap"


@app.command("build")
def dataset(
    name: Annotated[str, typer.Argument(help="Name of the dataset: a folder of that name in HOME/datasets.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides which drive goes into which split.")] = 7,
    every: Annotated[int, typer.Option("--every", min=1, help="Keep each n-th camera frame.")] = 2,
    blur_recall: Annotated[
        Path | None,
        typer.Option("--blur-recall", help="Evidence of `blur recall`, for the gate.", show_default=False),
    ] = None,
    mixed_units: Annotated[
        bool,
        typer.Option(
            "--mixed-units", help="Join drives though a signal changed its unit between them; the manifest says so."
        ),
    ] = False,
    vehicle: Annotated[
        str | None, typer.Option("--vehicle", help="From drives of this vehicle alone.", show_default=False)
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    force: ForceOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Align, join and split ingested drives into training samples.

    Camera frames are joined with the bus signals of the second before (the recorders' clocks are aligned first), the
    route command, the path driven in the 3 s after, and the other agents on it. Whole drives go into train, val or
    test. What is left out is counted, with the reason, in the manifest. --vehicle, --since and --until choose drives; of
    others nothing is read.
    """
    which = DriveFilter(vehicle, parse_moment(since, where="--since"), parse_moment(until, where="--until"))
    outcome = build_dataset(
        open_home(home),
        name,
        seed=seed,
        rules=SampleRules(every=every),
        force=force,
        blur_recall=blur_recall,
        mix_units=mixed_units,
        which=None if which == DriveFilter() else which,
    )
    _tell(outcome, as_json=as_json)


@app.command("import")
def import_foreign(
    folder: Annotated[Path, typer.Argument(help="The dataset's folder.", show_default=False)],
    layout: Annotated[_Layout, typer.Option("--from", help="How it is laid out.", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="What it is called here.", show_default=False)],
    pii_state: Annotated[
        str | None,
        typer.Option("--pii-state", help="none_present or blurred, where the dataset itself does not say."),
    ] = None,
    camera: Annotated[str | None, typer.Option("--camera", help="Which of several cameras.")] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="OURS=THEIRS, for example x_m=pos_x. May be repeated.")
    ] = None,
    command: Annotated[
        int | None, typer.Option("--command", help="The route command, 0, 1 or 2, where the dataset has none.")
    ] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Keep each n-th frame.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides which drive goes into which split.")] = 7,
    force: ForceOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a dataset of another layout in: LeRobot v3, nuScenes, or plain Parquet with images.

    Its frames become the same samples as the lake's, split anew with the same proof. Frames whose state of personal
    data nobody declares are refused.
    """
    from platform_lib.datasets.exchange.importing import import_dataset
    from platform_lib.datasets.exchange.model import ImportOptions

    options = ImportOptions(
        pii_state=pii_state, camera=camera, columns=_renamed(column or []), command=command, every=every
    )
    where, manifest, skipped = import_dataset(
        open_home(home), folder, valid_name(name), layout=layout.value, options=options, seed=seed, force=force
    )
    _tell(DatasetOutcome(where, manifest, skipped), as_json=as_json)


@app.command("export")
def export(
    name: Annotated[str, typer.Argument(help="Name of the dataset.", show_default=False)],
    form: Annotated[_Form, typer.Option("--to", help="For which tool.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="A folder that does not exist yet.", show_default=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a dataset for other tools: LeRobot v3, or MCAP with one file a drive."""
    from platform_lib.datasets.exchange.importing import export_dataset

    counts = export_dataset(open_home(home), valid_name(name), out, form=form.value)
    if as_json:
        print_json({"out": str(out), "form": form.value, **counts})
    else:
        told = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        OUT.print(f"{out}: {told}", markup=False, highlight=False)


def _renamed(pairs: list[str]) -> dict[str, str]:
    found = dict(pair.partition("=")[::2] for pair in pairs)
    if wrong := [pair for pair in pairs if not all(pair.partition("=")[::2])]:
        raise ConfigError(f"{wrong[0]!r} renames nothing", where="--column", remedy="write OURS=THEIRS")
    return found


def _tell(outcome: DatasetOutcome, *, as_json: bool) -> None:
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
