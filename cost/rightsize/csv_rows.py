"""CSV files row by row, with the line each stands on."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from platform_lib.errors import ConfigError


def read_rows(path: Path, columns: Sequence[str], *, remedy: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row); a field that a row lacks is empty.

    Args:
        path: The file, UTF-8.
        columns: That it must have.
        remedy: What to tell whoever gave another file.

    Raises:
        ConfigError: It cannot be read, or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines, restval="")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ConfigError(f"columns are missing: {', '.join(missing)}", where=path, remedy=remedy)
            for row in reader:
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot be read as CSV: {error}", where=path, remedy=remedy) from error


def time_of(text: str) -> float:
    """Return seconds since 1970 from such a number or from ISO 8601, UTC where it names no zone.

    Raises:
        ValueError: It is neither.
    """
    try:
        return float(text)
    except ValueError:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
