"""`drivetrain submit train`: hand a training to a cluster, after its price was shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from platform_lib.console import ERR, OUT, print_json
from platform_lib.errors import UsageError
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Hand work to a cluster, and be free to leave.")


@app.callback()
def _group() -> None:
    """Hand work to a cluster, and be free to leave."""


@app.command("train")
def train(
    recipe: Annotated[str, typer.Argument(help="Recipe, or MODULE:FUNCTION of your own.")],
    run: Annotated[str, typer.Option("--run", help="Name of the run.")],
    dataset: Annotated[str | None, typer.Option("--dataset", help="Dataset of the home.", show_default=False)] = None,
    cluster: Annotated[str, typer.Option("--cluster", help="`local`, or an environment: dev, prod.")] = "local",
    pool: Annotated[
        str | None, typer.Option("--pool", help="Pool of a named cluster. The first that can.", show_default=False)
    ] = None,
    code: Annotated[
        Path | None,
        typer.Option("--code", help="Git working tree that runs. The one you are in.", show_default=False),
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", min=0.0, help="How long, for the price.", show_default=False)
    ] = None,
    spot: Annotated[
        Path | None,
        typer.Option("--spot", help="What `drivetrain cost spot --job` wrote.", show_default=False),
    ] = None,
    nodes: Annotated[
        int, typer.Option("--nodes", min=1, max=16, help="Node processes of a local cluster that is started for it.")
    ] = 1,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Launch without asking.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pack the working tree, check quotas and versions, show the price, then launch.

    Nothing is launched before the price was shown: it asks, or wants --yes. The job goes on when this command ends;
    `drivetrain jobs` follows it. A named cluster gets a RayJob for Kueue, written as a file to apply.
    """
    from platform_lib.cli import answer_of
    from ray_jobs.packaging import working_tree
    from ray_jobs.submit import Request, document_of, launch, lines_of_plan, plan

    opened = open_home(home)
    request = Request(
        recipe=recipe,
        dataset=dataset,
        run=run,
        cluster=cluster,
        code=working_tree(code or Path.cwd()),
        pool=pool,
        hours=hours,
        spot=spot,
        nodes=nodes,
    )
    planned = plan(opened, request, answer_of)
    if not as_json:
        for line in lines_of_plan(planned):
            OUT.print(line, highlight=False, markup=False)
    planned.checked.refuse("drivetrain submit train")
    if not yes:
        _ask(as_json=as_json)
    record, status = launch(opened, planned)
    if as_json:
        told: dict[str, Any] = {**document_of(planned), "job": record.id, "state": status.state}
        print_json({**told, "manifest": status.message or None})
        return
    OUT.print(f"job {record.id}: {status.state}", highlight=False)
    if status.state == "rendered":
        _tell_rendered(Path(status.message), planned.package.path)
    else:
        ERR.print(f"follow it: drivetrain jobs logs -f {record.id}", highlight=False)


def _ask(*, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise UsageError(
            "nothing was launched: the price is to be accepted", where="drivetrain submit train", remedy="add --yes"
        )
    typer.confirm("launch?", abort=True, err=True)


def _tell_rendered(manifest: Path, package: Path) -> None:
    import yaml

    uri = yaml.safe_load(yaml.safe_load(manifest.read_text())["spec"]["runtimeEnvYAML"])["working_dir"]
    OUT.print("the RayJob is written, not applied:", highlight=False)
    OUT.print(f"  aws s3 cp {package} {uri}", highlight=False, markup=False)
    OUT.print(f"  kubectl apply --server-side --dry-run=server -f {manifest}", highlight=False, markup=False)
    OUT.print(f"  kubectl apply --server-side -f {manifest}", highlight=False, markup=False)
