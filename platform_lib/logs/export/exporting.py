"""One export: where it goes, and as what."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from platform_lib.errors import ConfigError, PlatformError
from platform_lib.logs.bytes_source import located
from platform_lib.logs.describing import Note
from platform_lib.logs.door import Log
from platform_lib.logs.export.mcap_file import write_mcap
from platform_lib.logs.export.model import Export, Form, Target
from platform_lib.logs.export.names import file_names
from platform_lib.logs.export.places import claimed
from platform_lib.logs.export.tables import write_tables
from platform_lib.logs.model import Stream, Window

_MCAP = ".mcap"
_ELSEWHERE = "or name another place with --out"
_FULL = {
    errno.ENOSPC: f"free some disk space, {_ELSEWHERE}",
    errno.EDQUOT: f"free some of the disk quota, {_ELSEWHERE}",
    errno.EFBIG: f"raise the limit of a file's size (`ulimit -f`), {_ELSEWHERE}",
}
_TABLE_FILES = {".parquet": Form.PARQUET, ".csv": Form.CSV}


def export_log(
    log: Log,
    streams: Sequence[Stream],
    out: Path,
    form: Form | None,
    *,
    window: Window,
    decode: bool,
    force: bool,
    note: Note,
) -> Export:
    """Write streams of a log to files.

    Args:
        log: The log.
        streams: Which of its streams.
        out: The folder to write into; for MCAP, and for one stream, also the file.
        form: As what; ``None`` goes by the name of `out`, Parquet if that does not say.
        window: Which times.
        decode: As in `Log.read`; topics only.
        force: Replace files that exist.
        note: Is told of every batch.

    Raises:
        ConfigError: Nothing to write, or a place where it cannot go.
        HomeBusyError: Another export is writing there.
        CorruptLog: As in `Log.read`; nothing is written.
        UnsupportedLog: What is in the log has no place in that form; nothing is written.
    """
    if not streams:
        raise ConfigError("the log has no streams", where=log.path, remedy="see `drivetrain log info`")
    if str(out).startswith("s3:"):
        remedy = "export, then `aws s3 cp`"
        raise ConfigError("exports are written to local folders", where=located(out), remedy=remedy)
    named_file = out.suffix == _MCAP and not out.is_dir()
    if named_file and form not in (None, Form.MCAP):
        raise _contradicts(out, Form.MCAP, form)
    if form is Form.MCAP or (form is None and named_file):
        path = out if named_file else out / f"{Path(log.path).stem}{_MCAP}"
        if path.exists() and isinstance(log.path, Path) and path.samefile(log.path):
            raise ConfigError("it is the log itself", where=path, remedy="name another place with --out")
        with claimed([path], force=force), _placed(path):
            return write_mcap(log, streams, path, window=window, note=note)
    said = None if out.is_dir() else _TABLE_FILES.get(out.suffix)
    form = form or said or Form.PARQUET
    targets = _targets(log, streams, out, form) if said is None else [_only_target(streams, out, form, said)]
    with claimed([item.path for item in targets], force=force), _placed(out):
        return write_tables(log, targets, form, window=window, decode=decode, note=note)


def _targets(log: Log, streams: Sequence[Stream], folder: Path, form: Form) -> list[Target]:
    names = [item.name for item in log.streams]
    files = dict(zip(names, file_names(names), strict=True))
    return [Target(item, folder / f"{files[item.name]}.{form}") for item in streams]


def _only_target(streams: Sequence[Stream], out: Path, form: Form, said: Form) -> Target:
    if len(streams) != 1:
        raise ConfigError(
            f"{len(streams)} streams do not fit into one file of rows",
            where=out,
            remedy="name a folder, or one stream behind the log",
        )
    if form is not said:
        raise _contradicts(out, said, form)
    return Target(streams[0], out)


def _contradicts(out: Path, said: Form, form: Form | None) -> ConfigError:
    return ConfigError(f"the file's name says {said}, the command {form}", where=out, remedy="leave out --to")


@contextmanager
def _placed(path: Path) -> Iterator[None]:
    """Say where it was that the system refused a write: a full disk names no file, and nobody knows an unfinished one."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            what, remedy = error.strerror or str(error), f"nothing was written: {_FULL[error.errno]}"
            raise PlatformError(what, where=path, remedy=remedy) from error
        if error.filename is None or Path(os.fsdecode(error.filename)).name.startswith(".tmp-"):
            error.filename = str(path)
        raise
