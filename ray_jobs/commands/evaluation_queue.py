"""`drivetrain evaluate --queue | --watch | --history`: what has to be scored, scoring it, and what was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_lib.console import ERR, OUT, print_json
from platform_lib.errors import PlatformError
from platform_lib.home import Home
from platform_lib.table import Column, print_table
from ray_jobs import evaluation_queue
from ray_jobs.checkpoint_queue import waiting_checkpoints
from ray_jobs.evaluation_history import JUDGED, before_of, changes, not_scored, page_path
from ray_jobs.evaluation_history import history as read_history
from ray_jobs.evaluation_page import write_page
from ray_jobs.evaluation_queue import checkpoint_title

if TYPE_CHECKING:
    from ray_jobs.checkpoint_queue import Claim
    from ray_jobs.evaluate import EvaluationOutcome
    from ray_jobs.evaluation_history import Scored
    from ray_jobs.evaluation_queue import Waiting


def show_queue(home: Home, *, as_json: bool) -> None:
    """List what waits."""
    found = evaluation_queue.waiting(home)
    held = waiting_checkpoints(home)
    if as_json:
        names = ("run", "dataset", "why", "baseline", "blocked")
        document = {"waiting": [{name: getattr(item, name) for name in names} for item in found]}
        print_json({**document, "checkpoints": [claim.model_dump(mode="json") for claim in held]})
        return
    for claim in held:
        OUT.print(f"- checkpoint of {checkpoint_title(claim)}: not scored yet", markup=False, highlight=False)
    if not found:
        OUT.print("nothing waits: every finished run was scored on its dataset as it is now, by the present scorer")
        return
    columns = [Column("run"), Column("dataset"), Column("why"), Column("held against")]
    print_table(columns, [[item.run, item.dataset, item.why, item.baseline or "nothing yet"] for item in found])
    for item in found:
        if item.blocked is not None:
            OUT.print(f"- {item.run} cannot be scored: {item.blocked}", markup=False, highlight=False)


def watch(home: Home, *, closed: bool, poll_s: float, until_idle_s: float | None, as_json: bool) -> None:
    """Score what waits and what comes.

    Raises:
        PlatformError: Something could not be scored.
    """

    def begin(item: Waiting) -> None:
        ERR.print(f"scoring {item.run} on {item.dataset}: {item.why}", markup=False, highlight=False)

    def done(outcome: EvaluationOutcome) -> None:
        row = outcome.report.row(JUDGED, "all")
        ade = "unknown" if row is None else f"{row.metrics['ade_m'].value:.3f} m"
        ERR.print(
            f"scored {outcome.report.model_name}: ADE {ade}; page {write_page(home)}", markup=False, highlight=False
        )

    def checkpoint(claim: Claim, entry: Scored | None) -> None:
        if entry is None:
            told = "no score; the page says why"
        else:
            row = entry.value("open_loop", "ade_m")
            told = "ADE unknown" if row is None else f"ADE {row.metrics['ade_m'].value:.3f} m"
        page = write_page(home)
        ERR.print(f"checkpoint of {checkpoint_title(claim)}: {told}; page {page}", markup=False, highlight=False)

    ERR.print("watching the runs of this home; Ctrl-C ends it", markup=False, highlight=False)
    worked = evaluation_queue.watch(
        home, closed=closed, poll_s=poll_s, until_idle_s=until_idle_s, on_start=begin, on_done=done,
        on_checkpoint=checkpoint,
    )  # fmt: skip
    page = write_page(home)
    if as_json:
        print_json({"scored": list(worked.scored), "failed": list(worked.failed), "page": page})
    else:
        OUT.print(f"{len(worked.scored)} scored, {len(worked.failed)} failed; {page}", markup=False, highlight=False)
    if worked.failed:
        raise PlatformError(
            f"{len(worked.failed)} could not be scored: {', '.join(worked.failed)}",
            where="evaluate --watch",
            remedy="the messages above say why; `drivetrain evaluate --run RUN ...` repeats one",
        )


def show_history(home: Home, *, as_json: bool) -> None:
    """List every evaluation, the newest first, and write the page."""
    entries = read_history(home)
    page = write_page(home)
    if as_json:
        document = {"evaluations": [entry.model_dump(mode="json") for entry in entries], "page": page}
        print_json({**document, "not_scored": [item.model_dump(mode="json") for item in not_scored(home)]})
        return
    cells = []
    for place, entry in reversed(list(enumerate(entries))):
        before = before_of(entries, place)
        worse = [item for item in (changes(before, entry) if before else ()) if item.worse and item.beyond_doubt]
        figures = []
        for loop, metric in (("open_loop", "ade_m"), ("pseudo_closed_loop", "epdms"), ("closed_loop", "at_fault_rate")):
            row = entry.value(loop, metric)
            figures.append("not run" if row is None else f"{row.metrics[metric].value:.3f}")
        against = "-" if before is None else f"{before.title}: {len(worse)} worse"
        when = entry.created_utc.strftime("%Y-%m-%d %H:%M")
        cells.append([when, entry.title, f"{entry.dataset} {entry.dataset_sha256[:8]}", *figures, against])
    numbers = [Column(title, right=True) for title in ("ADE m", "EPDMS", "at fault")]
    print_table(
        [Column("when, UTC"), Column("run"), Column("dataset"), *numbers, Column("against the one before")], cells
    )
    for item in not_scored(home):
        told = f"- no score: {item.run}, step {item.step}: {item.why}"
        OUT.print(told, markup=False, highlight=False)
    OUT.print(str(page_path(home)), markup=False, highlight=False)
