"""`drivetrain jobs`: list, logs, cancel, resume."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_lib.console import ERR, OUT, print_json
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Jobs that were submitted.")
JobArgument = Annotated[str, typer.Argument(help="The job's id, its beginning, or its run's name.")]


@app.command("list")
def list_(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List jobs, the newest first: state, epochs, price, code."""
    from platform_lib.table import Column, print_table
    from ray_jobs.jobs import list_jobs

    found = list_jobs(open_home(home, make=False))
    if as_json:
        print_json(
            {
                "jobs": [
                    {
                        **line.record.model_dump(mode="json"),
                        "state": line.status.state,
                        "attempts": line.status.attempts,
                        "message": line.status.message,
                        "epochs": line.epochs,
                    }
                    for line in found
                ]
            }
        )
        return
    columns = (
        Column("job"),
        Column("state"),
        Column("recipe"),
        Column("cluster"),
        Column("epochs", right=True),
        Column("attempts", right=True),
        Column("submitted"),
        Column("code"),
    )
    rows = [
        [
            line.record.id,
            line.status.state,
            line.record.recipe,
            line.record.cluster,
            str(line.epochs),
            str(line.status.attempts),
            f"{line.record.submitted_utc:%Y-%m-%d %H:%M}",
            line.record.code_sha256[:12],
        ]
        for line in found
    ]
    print_table(columns, rows)


@app.command()
def logs(
    job: JobArgument,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the job is over.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a job said; also when its cluster is long gone."""
    from ray_jobs.jobs import follow as lines

    found = lines(open_home(home, make=False), job, wait=follow)
    if as_json:
        print_json({"job": job, "lines": list(found)})
        return
    for line in found:
        OUT.print(line, highlight=False, markup=False)


@app.command()
def cancel(job: JobArgument, *, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """End a job; its run keeps its checkpoints, and `resume` goes on from them."""
    from ray_jobs.jobs import cancel as end

    status = end(open_home(home, make=False), job)
    if as_json:
        print_json({"job": job, "state": status.state})
        return
    OUT.print(f"{job}: asked to end", highlight=False)


@app.command()
def resume(job: JobArgument, *, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Submit a job once more, with the code it had; its run goes on from the last checkpoint."""
    from ray_jobs.jobs import resume as again

    status = again(open_home(home, make=False), job)
    if as_json:
        print_json({"job": job, "state": status.state, "attempts": status.attempts})
        return
    OUT.print(f"{job}: {status.state}, attempt {status.attempts}", highlight=False)


@app.command("stop-cluster")
def stop_cluster(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """End the local cluster with all that runs there; it also ends itself after ten idle minutes."""
    from ray_jobs.local_cluster import stop_cluster as stop

    stopped = stop(open_home(home, make=False))
    if as_json:
        print_json({"stopped": stopped})
        return
    ERR.print("the local cluster is stopped" if stopped else "there is no local cluster", highlight=False)
