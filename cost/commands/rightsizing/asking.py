"""Options that the commands of right-sizing share: where usage is read, and at which prices."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cost.prices.model import Book
    from cost.report.proposals import Proposal
    from cost.rightsize.model import BrokenRows
    from cost.rightsize.prometheus import Server, Span

UsageOption = Annotated[
    Path | None,
    typer.Option("--usage", help="CSV instead of Prometheus; its columns are documented.", show_default=False),
]
PrometheusOption = Annotated[
    str | None, typer.Option("--prometheus", help="Its address: http://prometheus:9090.", show_default=False)
]
TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", help="A bearer token; or DRIVETRAIN_PROMETHEUS_TOKEN.", show_default=False),
]
DaysOption = Annotated[float, typer.Option("--days", min=1, max=400, help="How far back Prometheus is asked.")]
UntilOption = Annotated[
    str | None, typer.Option("--until", help="ISO 8601: where the range ends. Default: now.", show_default=False)
]
StepOption = Annotated[float, typer.Option("--step", min=15, max=3600, help="Seconds from one window to the next.")]
NamespaceOption = Annotated[str, typer.Option("--namespace", help="A regular expression, as PromQL has them.")]
ProposalsOption = Annotated[
    Path | None,
    typer.Option("--proposals", help="Where to write them for `drivetrain cost report`.", show_default=False),
]
PricesOption = Annotated[
    Path | None,
    typer.Option("--prices", help="A snapshot of your own; this release's newest.", show_default=False),
]
RegionOption = Annotated[str, typer.Option("--region", help="Of the prices.")]


def server_of(url: str, token_file: Path | None) -> Server:
    """Return the server with its token, from a file or the environment.

    Raises:
        ConfigError: The file cannot be read, or the address is none.
    """
    from cost.rightsize.prometheus import TOKEN_VARIABLE, Server
    from platform_lib.errors import ConfigError

    try:
        token = os.environ.get(TOKEN_VARIABLE) if token_file is None else token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("the token cannot be read", where=token_file) from error
    return Server(url, token or None)


def span_of(until: str | None, days: float, step_s: float, namespace: str) -> Span:
    """Return the range to read.

    Raises:
        UsageError: `until` is no time, or the step does not divide a day.
    """
    from cost.rightsize.prometheus import Span
    from platform_lib.errors import UsageError

    check_step(step_s)
    try:
        end = datetime.now(UTC) if until is None else datetime.fromisoformat(until)
    except ValueError as error:
        raise UsageError(f"'{until}' is no time", where="--until", remedy="such as 2026-11-30T00:00:00Z") from error
    return Span((end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp(), days, step_s, namespace)


def check_step(step_s: float) -> None:
    """Refuse a step that does not divide a day.

    Raises:
        UsageError: It does not.
    """
    from platform_lib.errors import UsageError

    if 86400 % step_s:
        raise UsageError(f"{step_s:g} s does not divide a day", where="--step", remedy="such as 60, 300, 900 or 3600")


def neither(what: str) -> Exception:
    """Return the error of a command that was told of no usage, or of two."""
    from platform_lib.errors import UsageError

    return UsageError(
        f"{what} is read from one place",
        where="--usage, --prometheus",
        remedy="name one: --usage FILE or --prometheus URL",
    )


def book_of(prices: Path | None) -> Book:
    """Return the prices."""
    from cost.prices.snapshot import load, read_snapshot

    return load() if prices is None else read_snapshot(prices)


def write_proposals(path: Path | None, what: str, proposals: Iterable[Proposal], prices: Iterable[str] = ()) -> None:
    """Write proposals for the report, where a file is named."""
    from cost.rightsize.proposing import file_of
    from platform_lib.storage import publish_bytes

    if path is not None:
        publish_bytes(path, (file_of(what, proposals, prices).model_dump_json(indent=2) + "\n").encode())


def tell_broken(*all_broken: BrokenRows) -> None:
    """Tell people what was left out."""
    from platform_lib.console import ERR

    for broken in all_broken:
        for reason, count in broken.counts.items():
            ERR.print(f"left out, {reason}: {count} ({', '.join(broken.first[reason])})", markup=False, highlight=False)
