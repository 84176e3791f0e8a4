"""`drivetrain tune`: search a recipe's values."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_lib.console import ERR, OUT, print_json
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption


def tune(
    recipe: Annotated[str, typer.Argument(help="Recipe, or MODULE:FUNCTION of your own.")],
    study: Annotated[str, typer.Option("--study", help="Name of the study; one of that name goes on.")],
    dataset: Annotated[str | None, typer.Option("--dataset", help="Dataset of this home.", show_default=False)] = None,
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="How many in all, those of earlier visits counted.")
    ] = 20,
    space: Annotated[
        str | None,
        typer.Option(
            "--space", help="MODULE:FUNCTION of what is searched. Learning rate and weight decay.", show_default=False
        ),
    ] = None,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Trials at once.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is proposed.")] = 0,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search a recipe's values: Optuna proposes, Ray Tune runs, ASHA ends what falls behind.

    The study is kept in the home's PostgreSQL: killed, it goes on. A page shows the search.
    """
    from ray_jobs.search_space import space_named
    from ray_jobs.tune import PAGE
    from ray_jobs.tune import tune as search

    found = search(
        open_home(home),
        recipe,
        dataset=dataset,
        study=study,
        trials=trials,
        space=None if space is None else space_named(space),
        parallel=parallel,
        seed=seed,
    )
    page = found.folder / PAGE
    if as_json:
        print_json(
            {
                "study": study,
                "metric": found.metric,
                "best": {"value": found.value, "values": dict(found.best)},
                "trials": len(found.trials),
                "ran": found.ran,
                "page": page,
            }
        )
        return
    if not found.ran:
        ERR.print(f"study {study} has its {trials} trials already", highlight=False)
    OUT.print(f"best of {len(found.trials)}: {found.metric} {found.value:.4g}", highlight=False)
    for name, value in found.best.items():
        OUT.print(f"  {name} = {value}", highlight=False, markup=False)
    OUT.print(f"page: {page}", highlight=False, markup=False)
