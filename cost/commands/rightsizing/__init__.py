"""`drivetrain cost rightsize`: what containers, GPU pools and nodes should be; one file a command."""

from __future__ import annotations

import typer

from cost.commands.rightsizing.gpus import gpus
from cost.commands.rightsizing.nodes import nodes
from cost.commands.rightsizing.requests import requests

app = typer.Typer(no_args_is_help=True, help="What containers, GPU pools and nodes should be, and what that saves.")
app.command()(gpus)
app.command()(nodes)
app.command()(requests)


@app.callback()
def _root() -> None:
    """Recommend sizes with a stated risk; what cannot be stated is refused, with the reason."""
