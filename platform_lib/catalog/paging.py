"""Options that lists share: how many rows, where the page before ended, and which times and places."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_lib.catalog.filters import Key
from platform_lib.catalog.model import PII_STATES
from platform_lib.errors import ConfigError, UsageError
from platform_lib.logs.instants import parse_utc_ns, whole_ns

MOST_ROWS = 10_000

LimitOption = Annotated[int, typer.Option("--limit", min=1, max=MOST_ROWS, help="Most rows of a page.")]
AfterOption = Annotated[
    str | None,
    typer.Option("--after", metavar="KEY", help="Go on where a page ended: the key it gave.", show_default=False),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="That begin then or later, UTC (ISO 8601).", show_default=False),
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="That begin before, UTC (ISO 8601).", show_default=False)
]
StateOption = Annotated[
    str | None,
    typer.Option("--state", help=f"Whose least safe frame is: {', '.join(PII_STATES)}.", show_default=False),
]


def parse_key(text: str | None) -> Key | None:
    """Read the key of a page.

    Raises:
        ConfigError: It is none.
    """
    if text is None:
        return None
    first, _, second = text.partition("/")
    start_ns, number = whole_ns(first), whole_ns(second)
    if start_ns is None or number is None:
        raise ConfigError(f"'{text}' is no page's key", where="--after", remedy="give what the page before printed")
    return start_ns, number


def key_text(key: Key | None) -> str | None:
    """Write the key of the next page."""
    return None if key is None else f"{key[0]}/{key[1]}"


def parse_moment(text: str | None, *, where: str) -> int | None:
    """Read nanoseconds since 1970, or a moment as ISO 8601 (UTC unless it names a zone).

    Raises:
        ConfigError: It is neither.
    """
    if text is None:
        return None
    try:
        return parse_utc_ns(text)
    except UsageError as error:
        remedy = "write 2026-06-01T08:00:00Z, or nanoseconds since 1970"
        raise ConfigError(f"{text!r} is no time", where=where, remedy=remedy) from error


def known_state(state: str | None) -> str | None:
    """Return a state of personal data.

    Raises:
        ConfigError: There is no such state.
    """
    if state is not None and state not in PII_STATES:
        raise ConfigError(f"no state '{state}'", where="--state", remedy=f"name one of {', '.join(PII_STATES)}")
    return state
