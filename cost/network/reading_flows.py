"""Reads flow logs from files: text and gzipped text with their header, exports of CloudWatch Logs, Parquet."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cost.network.flow_format import DEFAULT, BrokenLine, FlowFormat, NoData, NoFormat, SkippedData, is_header
from cost.network.ledger import Ledger
from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.storage import sha256_file

_ENDS = (".log", ".txt", ".gz", ".parquet")
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z$")
_SHOWN = 5
_BATCH_ROWS = 65_536
_LONGEST_LINE = 65_536
"""A line of a flow log has some hundred characters; what has no line end is no flow log, and is not read into memory."""
_REMEDY = (
    "give files of a flow log as AWS delivers them, with their header line; of one without a header say --format "
    "'${version} ${account-id} ...'"
)


@dataclass
class ReadLogs:
    """What reading found, beside the records.

    Attributes:
        files: How many were read.
        records: Lines that were counted or rejected.
        no_data: Windows without traffic.
        skipped: Windows of which AWS left records out: what they held is unknown.
        broken: Lines that are no records, by reason.
        examples: Of the first of them: `file, line N: reason`.
        cut: Files that end in the middle: what follows is unknown.
        repeated: Files whose bytes another one had already; not read again.
    """

    files: int = 0
    records: int = 0
    no_data: int = 0
    skipped: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is known to be missing."""
        return not (self.skipped or self.broken or self.cut)

    def breaks(self, where: str, reason: str) -> None:
        """Count a broken line."""
        self.broken[reason] += 1
        if len(self.examples) < _SHOWN:
            self.examples.append(f"{where}: {reason}")


def read_logs(paths: Iterable[Path], ledger: Ledger, *, fields: str | None = None) -> ReadLogs:
    """Read files, and folders of files, into a ledger.

    Args:
        paths: Files; of folders all files below with `.log`, `.txt`, `.gz` or `.parquet`.
        ledger: Where records go.
        fields: Names of the fields, for files without a header.

    Raises:
        ConfigError: A file is missing or no flow log, or no record was found in all of them.
        MissingPartError: Parquet, and pyarrow is not installed.
    """
    found = ReadLogs()
    given = _format(fields.split(), "--format") if fields else None
    seen: set[str] = set()
    for path in _files(paths):
        digest = sha256_file(path)
        if digest in seen:
            found.repeated.append(str(path))
            continue
        seen.add(digest)
        found.files += 1
        if path.suffix == ".parquet":
            _read_parquet(path, ledger, found)
        else:
            _read_text(path, ledger, found, given)
    if not found.records:
        why = f"; broken lines: {sum(found.broken.values())}, the first: {found.examples[0]}" if found.broken else ""
        raise ConfigError(
            f"no record in {found.files} files, {found.no_data} windows without data{why}",
            where=", ".join(map(str, paths)),
            remedy=_REMEDY,
        )
    return found


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inner = sorted(item for item in path.rglob("*") if item.suffix in _ENDS and item.is_file())
            if not inner:
                raise ConfigError(f"no file with {', '.join(_ENDS)} below", where=path, remedy=_REMEDY)
            yield from inner
        elif path.is_file():
            yield path
        else:
            raise ConfigError("there is no such file", where=path, remedy=_REMEDY)


def _format(names: Sequence[str], where: object) -> FlowFormat:
    try:
        return FlowFormat.of(names)
    except NoFormat as error:
        raise ConfigError(
            str(error), where=where, remedy="make a flow log with these fields; docs: reference/cost-network.md"
        ) from error


def _read_text(path: Path, ledger: Ledger, found: ReadLogs, given: FlowFormat | None) -> None:
    form, number = given, 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", errors="replace") as stream:
            while line := stream.readline(_LONGEST_LINE):
                number += 1
                words = line.split()
                if not words:
                    continue
                if _STAMP.match(words[0]):  # CloudWatch Logs puts the time of the event before it
                    del words[0]
                if is_header(words):
                    form = _format(words, f"{path}, line {number}")
                    continue
                if form is None:
                    form = _without_header(words, path)
                _add(form, words, ledger, found, f"{path}, line {number}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        if number == 0:
            raise ConfigError(f"is no gzipped text: {error}", where=path, remedy=_REMEDY) from error
        found.cut.append(f"{path}, after line {number}")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error}", where=path) from error


def _without_header(words: Sequence[str], path: Path) -> FlowFormat:
    if len(words) == len(DEFAULT) and words[0] == "2":
        return FlowFormat.of(DEFAULT)
    raise ConfigError("has no header line, and is not in the default format", where=path, remedy=_REMEDY)


def _add(
    form: FlowFormat, values: Sequence[str | int | None], ledger: Ledger, found: ReadLogs, where: str
) -> None:  # fmt: skip
    try:
        ledger.add(form.record(values))
    except NoData as empty:
        found.no_data += 1
        ledger.cover(empty.start_s, empty.end_s)
    except SkippedData:
        found.skipped += 1
    except BrokenLine as error:
        found.breaks(where, str(error))
    except ValueError:
        found.breaks(where, "an address is none")
    else:
        found.records += 1


def _read_parquet(path: Path, ledger: Ledger, found: ReadLogs) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingPartError(
            "Parquet needs pyarrow", where=path, remedy="pip install 'drivetrain[cost]', or deliver text"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            form = _format(file.schema_arrow.names, path)
            number = 0
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in zip(*(_plain(column) for column in batch.columns), strict=True):
                    number += 1
                    _add(form, row, ledger, found, f"{path}, row {number}")
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigError(f"is no Parquet file: {error}", where=path, remedy=_REMEDY) from error


def _plain(column: Any) -> list[Any]:
    """Return a column's values; times become seconds, as some tables of Athena's have them as timestamps."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("s"), safe=False).cast(pyarrow.int64())
    values: list[Any] = column.to_pylist()
    return values
