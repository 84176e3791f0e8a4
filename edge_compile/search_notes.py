"""What a search has measured, line by line in a file: a search that is killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path


def read_notes(path: Path, key: str) -> dict[str, float]:
    """Return what an earlier search measured of single tensors, in dB.

    Nothing, if it was of another model; up to its last whole line, if it was killed while it wrote.
    """
    try:
        first, *rows = path.read_text().splitlines()
        if json.loads(first) != {"key": key}:
            return {}
    except (FileNotFoundError, ValueError):
        return {}
    found: dict[str, float] = {}
    for text in rows:
        try:
            row = json.loads(text)
            found[str(row["tensor"])] = inf if row["sqnr_db"] is None else float(row["sqnr_db"])
        except (ValueError, KeyError, TypeError):
            break
    return found


@contextmanager
def noting(path: Path, key: str, known: dict[str, float], *, of: int) -> Iterator[Callable[[str, float], None]]:
    """Give a function that notes one measurement at once; what was known is kept, anything else is left out.

    Args:
        path: The file.
        key: Of model, samples and tools.
        known: From `read_notes`.
        of: How many tensors there are.
    """
    with path.open("w") as stream:

        def note(tensor: str, sqnr_db: float) -> None:
            row = {"tensor": tensor, "sqnr_db": None if sqnr_db == inf else sqnr_db, "of": of}
            stream.write(json.dumps(row) + "\n")
            stream.flush()

        stream.write(json.dumps({"key": key}) + "\n")
        for tensor, sqnr_db in known.items():
            note(tensor, sqnr_db)
        yield note


def said_of(path: Path) -> str | None:
    """Say how far a search is, None before its first measurement."""
    try:
        rows = path.read_text().splitlines()
        total = int(json.loads(rows[-1])["of"]) if len(rows) > 1 else 0
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return f"{len(rows) - 1} of {total} tensors measured" if total else None
