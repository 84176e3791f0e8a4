"""Where a compile works until it is published: one lock, one scratch folder, one log beside the result."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from platform_lib.errors import CompileError, ConfigError, HomeBusyError, IntegrityError
from platform_lib.manifest import read_manifest

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Workplace:
    """The scratch folder of one compile, the log that its tools write to, and the notes that outlive an ended search."""

    scratch: Path
    log: Path
    notes: Path

    @property
    def mixes(self) -> Path:
        """The notes of what the compiler said of a search's candidates."""
        return self.notes.with_suffix(".mixes.json")


@contextmanager
def open_workplace(out: Path) -> Iterator[Workplace]:
    """Give a scratch folder beside `out`, removed at the end; what an earlier killed command left is removed first.

    When the block fails, the tools' log is kept as ``<out>.compile-tools.log`` and the error names it.

    Raises:
        HomeBusyError: Another compile into `out` is running.
        ConfigError: The folder above `out` cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be made ({error.strerror})", where=out, remedy="name a writable --out") from error
    with _locked(out):
        sweep_killed(out)
        scratch = out.with_name(f".tmp-scratch-{uuid.uuid4().hex[:12]}-{out.name}")
        scratch.mkdir()
        log = scratch / "tools.log"
        log.touch()
        notes = out.with_name(f".search-{out.name}.jsonl")
        kept = out.with_name(f"{out.name}.compile-tools.log")
        try:
            workplace = Workplace(scratch, log, notes)
            yield workplace
            kept.unlink(missing_ok=True)
            notes.unlink(missing_ok=True)
            workplace.mixes.unlink(missing_ok=True)
        except CompileError as error:
            shutil.copyfile(log, kept)
            remedy = f"{error.remedy}; the tools' own words: {kept}" if error.remedy else f"read {kept}"
            raise type(error)(error.what, where=error.where, remedy=remedy) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def check_replaceable(out: Path) -> None:
    """Refuse to publish over anything that an earlier compile did not make.

    Raises:
        ConfigError: `out` is a file, or a folder with other content.
    """
    if not out.exists():
        return
    remedy = "name a new or empty folder"
    if not out.is_dir():
        raise ConfigError("is not a folder", where=out, remedy=remedy)
    if not any(out.iterdir()):
        return
    try:
        kind = read_manifest(out / MANIFEST).kind
    except (FileNotFoundError, IntegrityError):
        kind = "something else"
    if kind != "compile":
        raise ConfigError(f"holds {kind}, which a compile would replace", where=out, remedy=remedy)


def sweep_killed(out: Path) -> None:
    """Clear what killed commands that were to publish `out` left beside it; only for the holder of its lock.

    An older result that was moved aside, and never replaced, goes back to its name.
    """
    name = rf"{re.escape(out.name)}(\.manifest\.json)?"
    for item in sorted(out.parent.glob(".tmp-*")):
        found = re.fullmatch(rf"\.tmp-(old-|scratch-)?[0-9a-f]{{12}}-{name}", item.name)
        if found is None or item.is_symlink():
            continue
        if found[1] == "old-" and not out.exists():
            item.rename(out)
        elif item.is_dir():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    path = out.with_name(f".lock-{out.name}")
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"not writable ({error.strerror})", where=out.parent, remedy="name a writable --out"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise HomeBusyError(
                "another compile into this folder is running", where=out, remedy="wait for it, or name another folder"
            ) from None
        if _same_file(path, descriptor):
            break
        os.close(descriptor)  # the holder before us removed the file between our open and our lock
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
