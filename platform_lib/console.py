"""What a command prints: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from platform_lib.errors import PlatformError

OUT = Console(soft_wrap=True, emoji=False)
ERR = Console(stderr=True, soft_wrap=True, emoji=False)
# Control characters, and those that turn the writing direction: a name from a file is not to steer a terminal.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document: paths, times, decimals and ids as text, array scalars as the numbers they are.

    Raises:
        TypeError: A value is none of these; written as some text it would pass for data.
        ValueError: A number is not finite.
    """
    text = json.dumps(document, indent=2, default=_plain, allow_nan=False) + "\n"
    sys.stdout.write(text)


def _plain(value: Any) -> Any:
    if isinstance(value, (PurePath, date, time, timedelta, Decimal, UUID)):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def plain_line(text: str) -> str:
    """Return `text` as one line without characters that would steer a terminal: each becomes its escape."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def print_error(error: PlatformError, *, as_json: bool) -> None:
    """Print an error for people on standard error, or for machines as ``{"error": ...}`` on standard output."""
    if as_json:
        kind = type(error).__name__
        print_json({"error": {"kind": kind, "what": error.what, "where": error.where, "remedy": error.remedy}})
        return
    # What was found in files and names is printed as it is: a bracket in it is no markup.
    what = "\n".join(map(plain_line, error.what.splitlines()))
    ERR.print(f"[bold red]error[/] {escape(what)}", highlight=False)
    if error.where is not None:
        ERR.print("  where:  ", plain_line(error.where), markup=False, highlight=False, sep="")
    if error.remedy is not None:
        ERR.print("  remedy: ", plain_line(error.remedy), markup=False, highlight=False, sep="")


class Task:
    """One line of progress; `advance` may also change what the line says."""

    def __init__(self, progress: Progress, number: Any) -> None:
        self._progress = progress
        self._number = number

    def advance(self, steps: float = 1, *, note: str | None = None) -> None:
        """Move on by `steps`; `note` replaces the text after the counter."""
        if note is not None:
            self._progress.update(self._number, note=note)
        self._progress.update(self._number, advance=steps)


@contextmanager
def progress(title: str, total: float | None) -> Iterator[Task]:
    """Show a progress bar on standard error; where that is no terminal, nothing but a closing line.

    Args:
        title: What is being done, in two or three words.
        total: How many steps there are, if it is known.
    """
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=ERR, transient=False) as bar:
        yield Task(bar, bar.add_task(title, total=total, note=""))
