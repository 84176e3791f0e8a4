"""`drivetrain cost`: one file a command; each imports what is heavy only when it runs."""

from __future__ import annotations

import typer

from cost.commands import prices
from cost.commands.network import network
from cost.commands.plan import plan
from cost.commands.report import report
from cost.commands.rightsizing import app as rightsize
from cost.commands.showback import showback
from cost.commands.spot import spot
from cost.commands.tiering import tiering

app = typer.Typer(no_args_is_help=True, help="What the platform costs, and what would cost less.")
app.command()(network)
app.command()(plan)
app.add_typer(prices.app, name="prices")
app.command()(report)
app.add_typer(rightsize, name="rightsize")
app.command()(showback)
app.command()(spot)
app.command()(tiering)


@app.callback()
def _root() -> None:
    """Tell what the platform costs, and what would cost less; a price that is not known is never taken as 0."""
