"""Whether a command line that a page or a script names is one that exists: parsed as the program would, and not run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parents[2]
_STOOD_FOR = re.compile(r"\"?\$\{?\w+\}?\"?|\$\([^)]*\)")


def refusal_of(line: str) -> str | None:
    """Return why `drivetrain LINE` does not parse, or None. Variables of a shell stand for any value."""
    from platform_lib.cli import app
    from platform_lib.errors import PlatformError

    words = shlex.split(_STOOD_FOR.sub("dev", line))
    command: Any = typer.main.get_command(app)
    context = None
    name = "drivetrain"
    try:
        while True:
            context = command.make_context(name, list(words), parent=context, resilient_parsing=False)
            if not hasattr(command, "resolve_command"):
                return None
            words = [*context._protected_args, *context.args]
            if not words:
                return f"{name} needs a command"
            name, command, words = command.resolve_command(context, words)
            if command is None:
                return f"{line}: no such command"
    except typer.TyperException as error:
        return f"{line}: {error.format_message()}"
    except PlatformError as error:  # a refusal by an option of our own
        return f"{line}: {error}"


def targets() -> set[str]:
    """Return what `make` can be asked for."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
