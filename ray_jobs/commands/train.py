"""`drivetrain train`: one recipe on one dataset; `drivetrain train compare`: two runs side by side."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from platform_lib.console import ERR, OUT, print_json
from platform_lib.home import open_home
from platform_lib.manifest import up_to_date
from platform_lib.options import ForceOption, HomeOption, JsonOption


class _TrainUnlessNamed(TyperGroup):
    """``drivetrain train RECIPE`` trains; ``compare`` is the only first word that means another thing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


app = typer.Typer(
    cls=_TrainUnlessNamed,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train a planner: `drivetrain train RECIPE`. Compare two runs: `drivetrain train compare A B`. MLflow: `drivetrain train page`.",
)


@app.command("run")
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Recipe: planner_tiny, ego_only_tiny, bev_tiny, bev_base, bev_large, vla_tiny, vla_base; "
            "MODULE:FUNCTION is one of your own."
        ),
    ],
    run: Annotated[str, typer.Option("--run", help="Name of the run; a killed run of the same name is resumed.")],
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Dataset of this home; none for a recipe with its own.", show_default=False),
    ] = None,
    checkpoint_every_s: Annotated[
        float | None,
        typer.Option(
            "--checkpoint-every-s",
            min=0.0,
            help="Save the state so often, and only then; `drivetrain cost spot` says what is best. "
            "Default: after each epoch, and every 30 s of a longer one.",
            show_default=False,
        ),
    ] = None,
    checkpoint_every_steps: Annotated[
        int | None,
        typer.Option("--checkpoint-every-steps", min=1, help="The same, counted in steps.", show_default=False),
    ] = None,
    hang_s: Annotated[
        float,
        typer.Option("--hang-s", min=0.0, help="End and restart a process that takes no step for so long; 0: never."),
    ] = 900.0,
    *,
    force: ForceOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a planner on Ray Train, tracked in MLflow; resumes from its last checkpoint.

    The same recipe, dataset and code give the same weights, bit for bit, also when the run was killed in between.
    """
    from platform_lib.models.fitting import SaveRules
    from ray_jobs.train import train as run_training
    from ray_jobs.training_worker import RunRules

    save = SaveRules()
    if checkpoint_every_s is not None or checkpoint_every_steps is not None:
        every_s = float("inf") if checkpoint_every_s is None else checkpoint_every_s
        save = SaveRules(every_s=every_s, every_steps=checkpoint_every_steps, each_epoch=False)
    outcome = run_training(
        open_home(home), recipe, dataset=dataset, run=run, force=force, rules=RunRules(save=save, hang_s=hang_s)
    )
    metrics = outcome.manifest.metrics
    if as_json:
        print_json(
            {
                "run": outcome.run,
                "skipped": outcome.skipped,
                "resumed_epochs": outcome.resumed_epochs,
                "step_sha256": outcome.manifest.step_sha256,
                "weights_sha256": outcome.manifest.outputs["weights.pt"].sha256,
                "metrics": dict(metrics),
            }
        )
        return
    if outcome.skipped:
        ERR.print(up_to_date(outcome.manifest.step_sha256), highlight=False)
    elif outcome.resumed_epochs:
        ERR.print(f"resumed after epoch {outcome.resumed_epochs}", highlight=False)
    scored = f"validation ADE {metrics['val_ade_m']:.3f} m, " if "val_ade_m" in metrics else ""
    OUT.print(
        f"{recipe}: {metrics['epochs']} epochs, {scored}{metrics['training_s']} s of training; {outcome.run}",
        highlight=False,
    )


@app.command()
def compare(
    one: Annotated[str, typer.Argument(metavar="A", help="A finished run.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Two runs side by side: what differs in configuration, data and code, and what came of it."""
    from platform_lib.table import Column, print_table
    from ray_jobs.comparing import compare_runs

    found = compare_runs(open_home(home, make=False), one, other)
    if as_json:
        print_json(found.document)
        return
    for title, rows in found.tables.items():
        OUT.print(f"[bold]{title}[/]", highlight=False)
        print_table((Column(""), Column(one, right=True), Column(other, right=True)), [list(row) for row in rows])
    for line in found.curves:
        OUT.print(line, highlight=False, markup=False)


@app.command()
def page(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the loopback interface.")] = 5000,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve MLflow's page on the runs of this home, until Ctrl-C: curves, system metrics, artefacts."""
    from ray_jobs.tracking_page import serve

    def started(address: str) -> None:
        ERR.print(f"MLflow on {address}, in a moment; Ctrl-C ends it", markup=False, highlight=False)

    serve(open_home(home, make=False), port=port, started=started)
    if as_json:
        print_json({"port": port, "ended": True})
