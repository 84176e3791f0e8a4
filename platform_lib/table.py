"""Tables as a terminal or a pipe takes them: nothing is cut off, and nothing is padded to a width nobody has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from platform_lib.console import OUT, plain_line

_GAP = "  "
_INDENT = " " * 4
_WIDEST_CELLS = 64
"""A column is padded to this at most; a longer cell pushes the rest of its own row aside, not that of all rows. 64: a sha256."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, and whether its cells stand at the right, as numbers do."""

    title: str
    right: bool = False


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output: fitted to a terminal; one row a line where it is piped."""
    head, *body = layout(columns, rows, width=OUT.width if OUT.is_terminal else None)
    OUT.print(head, style="bold", markup=False, highlight=False)
    for line in body:
        OUT.print(line, markup=False, highlight=False)


def layout(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int | None) -> list[str]:
    """Lay out a table, its head first.

    Args:
        columns: At least one.
        rows: Cells as text, one a column.
        width: How many character cells a line has. The columns that fit stand side by side; those that do not follow
            below their row, indented and with their titles. None: one line a row, however long.
    """
    plain = [[plain_line(cell) for cell in row] for row in rows]
    widths = [_width(column, [row[index] for row in plain]) for index, column in enumerate(columns)]
    beside = len(columns) if width is None else _fitting(columns, widths, width)
    lines = list(_row(columns[:beside], widths, [column.title for column in columns], folds=False))
    for row in plain:
        own = beside
        if width is not None and own == len(columns) > 1 and not _last_fits(widths, row, width):
            own -= 1
        lines.extend(_row(columns[:own], widths, row, folds=width is not None))
        rest = zip(columns[own:], row[own:], strict=True)
        lines.extend(_below([f"{column.title}: {cell}" for column, cell in rest if cell], width or 0))
    return lines


def _width(column: Column, cells: Sequence[str]) -> int:
    widest = max((cell_len(cell) for cell in cells), default=0)
    return max(cell_len(column.title), min(widest, _WIDEST_CELLS))


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int) -> int:
    """Return how many of the first columns a line holds: at least one; the last needs room for its title only."""
    count, used = 0, -len(_GAP)
    for own in [*widths[:-1], cell_len(columns[-1].title)]:
        used += len(_GAP) + own
        if used > width:
            break
        count += 1
    return max(count, 1)


def _last_fits(widths: Sequence[int], row: Sequence[str], width: int) -> bool:
    return sum(widths[:-1]) + len(_GAP) * (len(widths) - 1) + cell_len(row[-1]) <= width


def _row(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str], *, folds: bool) -> Iterator[str]:
    """Yield one row's lines: one, or where it `folds` a further one after each cell that is wider than its column."""
    line, start = "", 0
    for column, own, cell in zip(columns, widths, cells, strict=False):
        if cell_len(line) > start:
            if folds:
                yield line.rstrip()
                line = ""
            else:
                line = line.rstrip() + _GAP
        line += " " * (start - cell_len(line))
        space = " " * (own - cell_len(cell))
        line += (space + cell if column.right else cell + space) + _GAP
        start += own + len(_GAP)
    yield line.rstrip()


def _below(items: Sequence[str], width: int) -> Iterator[str]:
    """Yield the columns that did not fit, as many to a line as it holds; one that is longer stays whole."""
    line = _INDENT
    for item in items:
        if line != _INDENT and cell_len(line) + cell_len(item) > width:
            yield line.rstrip()
            line = _INDENT
        line += item + _GAP
    if items:
        yield line.rstrip()
