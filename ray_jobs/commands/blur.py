"""`drivetrain blur`: frames, recall, expire."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from platform_lib.console import ERR, OUT, print_json, progress
from platform_lib.evidence import BlurRecall, write_evidence
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption
from platform_lib.privacy.config import read_config
from platform_lib.privacy.labels import measure_recall
from platform_lib.privacy.retention import RAW_RETENTION_DAYS, expire_raw
from ray_jobs.blur import BlurReport, blur

app = typer.Typer(add_completion=False, no_args_is_help=True)
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Detectors and parameters, YAML.", show_default="OpenCV's face and plate cascades"),
]


@app.callback()
def _group() -> None:
    """Blur people and plates in raw frames, and measure how well that works."""


@app.command()
def frames(
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Blur every raw frame of the lake: those whose pii_state is unknown or present.

    Blurred frames stand beside the raw ones and may enter datasets; raw ones never do. Run again, only what is new is
    blurred; with another configuration everything is, and takes the place of what was.
    """
    chosen, where = read_config(config), open_home(home, make=False)
    with progress("blurring", total=None) as bar:
        done = 0

        def moved(now: int, total: int) -> None:
            nonlocal done
            bar.expect(total)
            bar.advance(now - done)
            done = now

        report = blur(where, chosen, on_progress=moved)
    if as_json:
        print_json(asdict(report))
        return
    _show(report)


def _show(report: BlurReport) -> None:
    OUT.print(
        f"{report.frames} frames of {report.ingests} log files blurred, {report.regions} regions; "
        f"{report.skipped} files were blurred before (configuration {report.config_sha256[:12]})",
        highlight=False,
    )
    if report.kept:
        ERR.print(
            f"{report.kept} files stay as another configuration blurred them: some of their raw frames have expired",
            highlight=False,
        )
    if report.unreadable:
        ERR.print(f"{report.unreadable} frames cannot be decoded and stay raw", highlight=False)


@app.command()
def recall(
    labels: Annotated[Path, typer.Argument(help="Folder with labels.json and its images.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Where the evidence goes.")] = Path("blur-recall.json"),
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how many labelled faces and plates a configuration blurs, with the lower 95 % bound of that share."""
    found = measure_recall(labels, read_config(config))
    write_evidence(out, found)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    OUT.print(f"{found.labels_name} {found.labels_version}: {_origin(found)}", markup=False, highlight=False)
    for name, item in found.kinds.items():
        OUT.print(
            f"  {name}: {item.blurred} of {item.labelled} blurred, recall {item.recall:.3f}, "
            f"at least {item.lower_bound:.3f} (95 %)",
            markup=False,
            highlight=False,
        )
    OUT.print(f"evidence in {out}", markup=False, highlight=False)


@app.command()
def expire(
    days: Annotated[int, typer.Option("--days", min=0, help="How long raw frames are kept.")] = RAW_RETENTION_DAYS,
    home: HomeOption = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete raw frames that were recorded longer ago than they may be kept; what was blurred of them stays."""
    found = expire_raw(open_home(home, make=False), now_ns=time.time_ns(), days=days, dry_run=dry_run)
    if as_json:
        print_json({**asdict(found), "dry_run": dry_run})
        return
    verb = "would go" if dry_run else "went"
    OUT.print(f"{found.frames} raw frames older than {days} days {verb}, {found.kept} stay", highlight=False)
    if found.unblurred:
        ERR.print(f"{found.unblurred} of them were never blurred, and are lost", highlight=False)


def _origin(found: BlurRecall) -> str:
    drawn = "COMPOSED pictures, no proof for the road" if found.composed else "recorded pictures"
    return f"{found.frames} frames, {drawn}; {found.source}"
