"""What a command prints: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from platform_lib.errors import PlatformError

_WIDE_COLUMNS = 110  # where a long bar leaves room for what stands beside it
_LINE_EVERY_S = 10.0
_PIPE_COLUMNS = 160  # a pipe or a file has no width of its own: a table's row is to stay one line, for grep
OUT = Console(soft_wrap=True, emoji=False)
ERR = Console(stderr=True, soft_wrap=True, emoji=False)
for _console in (OUT, ERR):
    if not _console.is_terminal and "COLUMNS" not in os.environ:
        _console.width = _PIPE_COLUMNS
    if _console.width < 1:  # COLUMNS=0, as some terminals without a size say, would leave room for nothing
        _console.width = 80
# Control characters, and those that turn the writing direction: a name from a file is not to steer a terminal.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def can_show(text: str) -> bool:
    """Say whether standard output has every character of a text in its encoding."""
    try:
        text.encode(OUT.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


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


def one_line(text: str, most: int) -> str:
    """Return what somebody wrote over several lines as one of at most so many characters; a cut shows."""
    flat = plain_line(" ".join(text.split()))
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def size(count_bytes: int) -> str:
    """Return a size in bytes, kB, MB, GB or TB."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count_bytes >= factor:
            return f"{count_bytes / factor:.3g} {unit}"
    return "1 byte" if count_bytes == 1 else f"{count_bytes} bytes"


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
    """One line of progress; `advance` may also change what the line says.

    Where standard error is no terminal, a line is printed at most every ten seconds, so that a log file shows life.
    """

    def __init__(self, progress: Progress, number: Any) -> None:
        self._progress = progress
        self._number = number
        self._said_s = monotonic()
        self._lock = Lock()

    def expect(self, total: float) -> None:
        """Say how many steps there are, once that is known."""
        self._progress.update(self._number, total=total)

    @property
    def line(self) -> str:
        """Where the task stands, as one line of text."""
        (task,) = self._progress.tasks
        total = "?" if task.total is None else f"{task.total:g}"
        took = timedelta(seconds=int(task.elapsed or 0))
        return f"  {task.description} {task.completed:g}/{total} {took} {task.fields['note']}".rstrip()

    def advance(self, steps: float = 1, *, note: str | None = None) -> None:
        """Move on by `steps`; `note` replaces the text after the counter."""
        if note is not None:
            self._progress.update(self._number, note=plain_line(note))
        self._progress.update(self._number, advance=steps)
        if not ERR.is_terminal:
            self.say_in_time()

    def say_in_time(self) -> None:
        """Print the line if none was printed for ten seconds."""
        with self._lock:
            if monotonic() - self._said_s >= _LINE_EVERY_S:
                self.say()

    def say(self) -> None:
        """Print the line as it stands."""
        self._said_s = monotonic()
        ERR.print(self.line, markup=False, highlight=False)


@contextmanager
def progress(title: str, total: float | None) -> Iterator[Task]:
    """Show a progress bar on standard error; where that is no terminal, a line now and then and a closing one.

    Args:
        title: What is being done, in two or three words.
        total: How many steps there are; None if that is not known yet, see `Task.expect`.
    """
    wide = ERR.width >= _WIDE_COLUMNS
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(bar_width=24 if wide else 10),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(overflow="fold")),  # goes on below
    )
    with Progress(*columns, console=ERR, transient=False, disable=not ERR.is_terminal) as bar:
        task = Task(bar, bar.add_task(title, total=total, note=""))
        if ERR.is_terminal:
            yield task
            return
        with _heartbeat(task):
            try:
                yield task
            finally:
                task.say()


@contextmanager
def _heartbeat(task: Task) -> Iterator[None]:
    """Print a task's line every ten seconds though nothing moves: a first step can take minutes on a busy machine."""
    over = Event()

    def beat() -> None:
        while not over.wait(_LINE_EVERY_S / 10):
            task.say_in_time()

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
