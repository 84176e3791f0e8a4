"""What a search has measured, line by line in a file: a search that is killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

from edge_compile.precision_search import Closeness


def read_notes(path: Path, key: str) -> dict[str, Closeness]:
    """Return what an earlier search measured of single tensors.

    Nothing, if it was of another model; up to its last whole line, if it was killed while it wrote.
    """
    try:
        first, *rows = path.read_text().splitlines()
        if json.loads(first) != {"key": key}:
            return {}
    except (FileNotFoundError, ValueError):
        return {}
    found: dict[str, Closeness] = {}
    for text in rows:
        try:
            row = json.loads(text)
            ratio = inf if row["sqnr_db"] is None else float(row["sqnr_db"])
            loss = None if row["loss"] is None else float(row["loss"])
            found[str(row["tensor"])] = Closeness(ratio, loss, str(row["slice"]))
        except (ValueError, KeyError, TypeError):
            break
    return found


@contextmanager
def noting(path: Path, key: str, known: dict[str, Closeness], *, of: int) -> Iterator[Callable[[str, Closeness], None]]:
    """Give a function that notes one measurement at once; what was known is kept, anything else is left out.

    Args:
        path: The file.
        key: Of model, samples and tools.
        known: From `read_notes`.
        of: How many tensors there are.
    """
    with path.open("w") as stream:

        def note(tensor: str, closeness: Closeness) -> None:
            ratio = None if closeness.sqnr_db == inf else closeness.sqnr_db
            row = {"tensor": tensor, "sqnr_db": ratio, "loss": closeness.loss, "slice": closeness.slice, "of": of}
            stream.write(json.dumps(row) + "\n")
            stream.flush()

        stream.write(json.dumps({"key": key}) + "\n")
        for tensor, closeness in known.items():
            note(tensor, closeness)
        yield note


def said_of(path: Path) -> str | None:
    """Say how far a search is, None before its first measurement."""
    try:
        rows = path.read_text().splitlines()
        total = int(json.loads(rows[-1])["of"]) if len(rows) > 1 else 0
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return f"{len(rows) - 1} of {total} tensors measured" if total else None
