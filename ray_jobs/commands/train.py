"""`drivetrain train`: one recipe on one dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_lib.console import ERR, OUT, print_json
from platform_lib.home import open_home
from platform_lib.manifest import up_to_date
from platform_lib.options import ForceOption, HomeOption, JsonOption


def train(
    recipe: Annotated[str, typer.Argument(help="Recipe: planner_tiny or ego_only_tiny.")],
    dataset: Annotated[str, typer.Option("--dataset", help="Dataset of this home.")],
    run: Annotated[str, typer.Option("--run", help="Name of the run; a killed run of the same name is resumed.")],
    *,
    force: ForceOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a planner on Ray Train, tracked in MLflow; resumes from its last checkpoint.

    The same recipe, dataset and code give the same weights, bit for bit, also when the run was killed in between.
    """
    from ray_jobs.train import train as run_training

    outcome = run_training(open_home(home), recipe, dataset=dataset, run=run, force=force)
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
    OUT.print(
        f"{recipe}: {metrics['epochs']} epochs, validation ADE {metrics['val_ade_m']:.3f} m, "
        f"{metrics['training_s']} s of training; {outcome.run}",
        highlight=False,
    )
